"""What the gateway's figures are made of, on records that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.gateway_lanes import replayed
from bench.gateway_site import CEILING, Span, part
from bench.gateway_speed import WINDOW_S, spent_in_windows
from headwater.embedding.port import PROBE
from headwater.rehearsal.plan import Plan
from headwater.rehearsal.record import Entry, Opening, Record, digest_of

WINDOW_US = int(WINDOW_S * 1e6)
SECOND_US = 1_000_000


def entry(number: int, at_us: int, *, took_us: int = 0, tokens: int = 0, digests: Sequence[str] = ()) -> Entry:
    return Entry(
        number=number,
        account=0,
        at_us=at_us,
        start_us=at_us,
        end_us=at_us + took_us,
        status=200,
        texts=len(digests),
        tokens=tokens,
        admitted=True,
        embedded=True,
        digests=tuple(digests),
    )


def record(entries: Sequence[Entry]) -> Record:
    return Record(Opening(0, Plan()), entries)


@pytest.mark.parametrize("begins_us", [0, WINDOW_US // 3, WINDOW_US - 1])
def test_a_burst_a_window_counts_the_same_wherever_the_span_begins(begins_us: int) -> None:
    bursts = record([entry(at, at * WINDOW_US + WINDOW_US // 2, tokens=700) for at in range(10)])
    assert spent_in_windows(bursts, begins_us, begins_us + 4 * WINDOW_US) == pytest.approx(3 * 700)


def test_what_was_refused_is_not_spent() -> None:
    whole = record([entry(0, 2 * WINDOW_US, tokens=700)])
    none = part(whole, [])
    assert spent_in_windows(whole, 0, 4 * WINDOW_US) == 700
    assert spent_in_windows(none, 0, 4 * WINDOW_US) == 0


def test_the_probe_that_travels_along_is_no_text_of_a_stream() -> None:
    sent = record([entry(0, SECOND_US, took_us=100, digests=["a", "b", digest_of(PROBE)])])
    assert Span(0, 2 * SECOND_US, 0.0).texts_per_s(sent) == pytest.approx(1.0)


def test_a_replay_is_held_to_what_live_requests_and_the_reserve_leave() -> None:
    """Eight places for a second: live requests take one of them, a quarter is kept."""
    live = entry(0, 0, took_us=SECOND_US, digests=["live"])
    replay = entry(1, 0, took_us=SECOND_US, digests=[f"replay {number}" for number in range(128)])
    figure = replayed("", record([live, replay]), {"live"}, [Span(0, SECOND_US, 0.0)], 0.25)
    assert figure.ours == pytest.approx(128)
    assert figure.baseline == pytest.approx((1 - 0.25 - 1 / 8) * CEILING)
