"""Correctness drills: real workers on real brokers, harmed without a pause, and judged by what they leave behind.

    python -m tests.drills workers --seconds 60 --seed 7        # or `make drills`

A drill publishes the documentation's history while workers are killed, stopped past their session and woken, added and
removed, brokers die and answers are lost. Then all is whole again, the workers catch up by themselves, and the judge
looks: `verify`, the oracle, and a receipt for every record. A drill that did no harm proves nothing, so it fails when
there was no rebalance, no fenced settlement or no stale write.
"""
