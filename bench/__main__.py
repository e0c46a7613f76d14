"""`python -m bench [NAME ...]`: all measurements, or those named. Prints a table and writes build/bench.json."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from bench import (
    folder,
    freshness,
    gateway_cost,
    gateway_lanes,
    gateway_speed,
    incremental,
    kafka_backlog,
    kafka_loading,
    kafka_skipping,
    kafka_workers,
    loading,
    memory,
    newcomer,
    searching,
    startup,
)
from bench.report import Figure, report


def main() -> int:
    measurements: dict[str, Callable[[], list[Figure]]] = {
        "memory": lambda: asyncio.run(memory.measure()),
        "static": lambda: asyncio.run(loading.measure("static", ">= 0.8")),
        "hash": _hash,
        "incremental": lambda: asyncio.run(incremental.measure()),
        "freshness": lambda: asyncio.run(freshness.measure()),
        "folder-edit": lambda: asyncio.run(folder.edit()),
        "folder-burst": lambda: asyncio.run(folder.burst()),
        "folder-rescan": lambda: asyncio.run(folder.rescan()),
        "search": lambda: asyncio.run(searching.measure()),
        "startup": startup.measure,
        "newcomer": newcomer.measure,
        "kafka-skipping": kafka_skipping.measure,
        "kafka-loading": lambda: asyncio.run(kafka_loading.measure()),
        "kafka-workers": kafka_workers.measure,
        "kafka-backlog": kafka_backlog.measure,
        "gateway-capacity": lambda: asyncio.run(gateway_speed.capacity()),
        "gateway-budget": lambda: asyncio.run(gateway_speed.budget()),
        "gateway-lending": lambda: asyncio.run(gateway_speed.lending()),
        "gateway-storm": lambda: asyncio.run(gateway_speed.storm()),
        "gateway-failing": lambda: asyncio.run(gateway_speed.failing()),
        "gateway-cost": lambda: asyncio.run(gateway_cost.measure()),
        "gateway-lanes": lambda: asyncio.run(gateway_lanes.freshness()),
        "gateway-minimum": lambda: asyncio.run(gateway_lanes.minimum()),
    }
    chosen = sys.argv[1:] or list(measurements)
    figures: list[Figure] = []
    for name in chosen:
        if name not in measurements:
            print(f"no measurement is called {name}; there are {', '.join(measurements)}", file=sys.stderr)
            return 2
        print(f"measuring: {name}", flush=True)
        figures += measurements[name]()
    report(figures)
    return 0


def _hash() -> list[Figure]:
    figures = asyncio.run(loading.measure("hash", ">= 0.3"))
    asyncio.run(loading.profile("hash"))
    return figures


if __name__ == "__main__":
    sys.exit(main())
