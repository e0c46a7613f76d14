"""Windows are exact at their edges, and agree with a count of everything at every moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.rehearsal.plan import Limit, WindowKind
from headwater.rehearsal.windows import Account, FixedWindow, SlidingWindow, Window

LENGTH = 100
KINDS: dict[WindowKind, type[FixedWindow] | type[SlidingWindow]] = {
    WindowKind.FIXED: FixedWindow,
    WindowKind.SLIDING: SlidingWindow,
}
STEPS = st.lists(st.tuples(st.integers(0, 70), st.integers(0, 12)), min_size=1, max_size=60)


def holds(kind: WindowKind, taken_us: int, now_us: int) -> bool:
    """Whether what was taken at a time is in the window that holds now."""
    if kind is WindowKind.FIXED:
        return taken_us // LENGTH == now_us // LENGTH
    return now_us - LENGTH < taken_us <= now_us


def test_a_fixed_window_forgets_at_the_multiple_of_its_length() -> None:
    window = FixedWindow(5, LENGTH)
    window.take(99, 5)
    assert (window.used(99), window.wait_us(99, 1), window.reset_us(99)) == (5, 1, 1)
    assert (window.used(100), window.wait_us(100, 5), window.reset_us(100)) == (0, 0, 0)
    window.take(100, 5)
    assert window.wait_us(100, 1) == 100


def test_a_sliding_window_forgets_exactly_one_length_later() -> None:
    window = SlidingWindow(5, LENGTH)
    window.take(30, 3)
    window.take(50, 2)
    assert (window.used(129), window.wait_us(129, 1), window.wait_us(129, 4)) == (5, 1, 21)
    assert (window.used(130), window.wait_us(130, 3), window.wait_us(130, 4)) == (2, 0, 20)
    assert (window.reset_us(130), window.reset_us(150)) == (20, 0)


@pytest.mark.parametrize("kind", WindowKind)
def test_what_is_more_than_the_limit_never_fits(kind: WindowKind) -> None:
    window: Window = KINDS[kind](5, LENGTH)
    assert window.wait_us(0, 5) == 0
    assert window.wait_us(0, 6) is None


@pytest.mark.parametrize("kind", WindowKind)
@given(steps=STEPS, amount=st.integers(1, 20))
def test_windows_agree_with_a_plain_count(kind: WindowKind, steps: list[tuple[int, int]], amount: int) -> None:
    window: Window = KINDS[kind](20, LENGTH)
    taken: list[tuple[int, int]] = []
    now = 0
    for step, used in steps:
        now += step

        def count(at: int) -> int:
            return sum(each for when, each in taken if holds(kind, when, at))

        assert window.used(now) == count(now)
        wait = window.wait_us(now, amount)
        assert wait is not None
        # It fits when it says so, and a microsecond earlier it does not.
        assert count(now + wait) + amount <= 20
        assert wait == 0 or count(now + wait - 1) + amount > 20
        assert count(now + window.reset_us(now)) == 0 or not window.reset_us(now)
        if wait == 0:
            window.take(now, min(used, 20))
            taken.append((now, min(used, 20)))


@given(steps=STEPS)
def test_an_account_is_admitted_by_all_of_its_windows_or_counted_by_none(steps: list[tuple[int, int]]) -> None:
    limits = (
        Limit(window_s=100e-6, requests=3),
        Limit(window_s=70e-6, tokens=20, kind=WindowKind.FIXED),
        Limit(window_s=350e-6, tokens=60),
    )
    account = Account(limits)
    admitted: list[tuple[int, int]] = []
    now = 0
    for step, tokens in steps:
        now += step
        if account.exceeded(now, tokens) is None:
            account.take(now, tokens)
            admitted.append((now, tokens))
    for now, _ in admitted:
        assert sum(1 for at, _ in admitted if now - 100 < at <= now) <= 3
        assert sum(tokens for at, tokens in admitted if at // 70 == now // 70) <= 20
        assert sum(tokens for at, tokens in admitted if now - 350 < at <= now) <= 60


def test_the_limit_that_must_be_waited_for_the_longest_is_told() -> None:
    account = Account([Limit(window_s=1, requests=1), Limit(window_s=60, tokens=10)])
    account.take(0, 8)
    exceeded = account.exceeded(250_000, 5)
    assert exceeded is not None
    assert (exceeded.of, exceeded.limit, exceeded.used, exceeded.requested) == ("tokens", 10, 8, 5)
    assert exceeded.wait_us == 59_750_000
    never = account.exceeded(250_000, 11)
    assert never is not None
    assert never.wait_us is None


def test_refused_requests_count_where_the_service_counts_them() -> None:
    lenient, strict = (Account([Limit(window_s=1, requests=2, counts_refused=flag)]) for flag in (False, True))
    for account in (lenient, strict):
        account.take(0, 1)
        account.take(1, 1)
        account.take_refused(500_000)
    assert lenient.exceeded(1_000_000, 1) is None
    again = strict.exceeded(1_000_000, 1)
    assert again is not None
    assert again.wait_us == 1
    standing = strict.standing(500_000, "requests")
    assert standing is not None
    assert (standing.limit, standing.left) == (2, 0)
