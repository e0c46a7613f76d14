"""What headers say of limits, and of when to come again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.embedding.port import Allowance
from headwater.embedding.providers.rate_limits import after_s, allowances, duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360),
        ("12ms", 0.012),
        ("1s", 1),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400),
        ("350µs", 0.00035),
        ("0s", 0),
        ("0", 0),
        ("59", 59),
        ("1.5", 1.5),
        (" 20 ", 20),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "-1", "soon", "1x", "s", "6m and more", "1e3", "nan", "inf", "1718045012", "9" * 40, "400d", "6\nm"]
)
def test_what_is_no_duration(text: str) -> None:
    assert duration_s(text) is None


@given(st.text(max_size=40))
def test_any_text_is_a_duration_or_none(text: str) -> None:
    seconds = duration_s(text)
    assert seconds is None or seconds >= 0


def limits(**values: str) -> dict[str, str]:
    return {f"x-ratelimit-{name.replace('_', '-')}": value for name, value in values.items()}


def test_openai_tells_of_both() -> None:
    headers = limits(
        limit_requests="3000",
        limit_tokens="1000000",
        remaining_requests="2999",
        remaining_tokens="0",
        reset_requests="20ms",
        reset_tokens="6m0s",
    )
    assert allowances(headers) == (Allowance(3000, 2999, 0.02), Allowance(1_000_000, 0, 360.0))


def test_azure_tells_what_is_left_alone() -> None:
    assert allowances(limits(remaining_requests="79", remaining_tokens="61353")) == (
        Allowance(None, 79),
        Allowance(None, 61353),
    )


@pytest.mark.parametrize("unknown", ["-1", "0", "", "many"])
def test_azure_that_does_not_know_its_limit_tells_nothing(unknown: str) -> None:
    headers = limits(limit_tokens=unknown, remaining_tokens="0", reset_tokens="0")
    assert allowances(headers) == (Allowance(), Allowance())


def test_azure_that_does_not_know_what_is_left() -> None:
    headers = limits(limit_tokens="10000", remaining_tokens="-1", reset_tokens="59")
    assert allowances(headers)[1] == Allowance(10_000)


def test_no_headers_tell_nothing() -> None:
    assert (allowances({}), after_s({})) == ((Allowance(), Allowance()), None)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        (limits(remaining_requests="0", reset_requests="2s", remaining_tokens="0", reset_tokens="1m0s"), 60),
        (limits(remaining_requests="5", reset_requests="2m", remaining_tokens="0", reset_tokens="1s"), 1),
        (limits(reset="3"), 3),
    ],
)
def test_when_to_come_again(headers: dict[str, str], seconds: float) -> None:
    assert after_s(headers) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"},  # our own clock may be wrong
        {"retry-after": "Wed, 21 Oct 2099 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"},
        {"retry-after": "whenever", "date": "today"},
        {"retry-after": "99999999"},
        limits(remaining_requests="5", reset_requests="2m"),
    ],
)
def test_what_says_nothing_of_when(headers: dict[str, str]) -> None:
    assert after_s(headers) is None
