"""How current a place in a compacted log is, by table: what may be gone unread halts, and nothing else does."""

from __future__ import annotations

import pytest

from headwater.engine.markers import Trail, check, resumed
from headwater.errors import Halt
from headwater.model.receipt import CaughtUp

S = 1_000_000
OLD = CaughtUp(5 * S, 7)


@pytest.mark.parametrize(
    ("case", "stood", "known", "end", "caught"),
    [
        ("the index has nothing of it: a pass begins", None, None, 9, CaughtUp(50 * S, 0)),
        ("a new index, whatever the group had", None, OLD, 9, CaughtUp(50 * S, 0)),
        ("at the end nothing is behind it", 9, None, 9, CaughtUp(50 * S, 9)),
        ("at the end, however long it was there", 9, OLD, 9, CaughtUp(50 * S, 9)),
        ("it goes on where it was", 8, OLD, 9, OLD),
        ("exactly where it was", 7, OLD, 9, OLD),
        ("in the middle of its first pass", 1, CaughtUp(5 * S, 0), 9, CaughtUp(5 * S, 0)),
        ("an older index than the one that was there", 6, OLD, 9, None),
        ("nobody wrote down when it was there", 6, None, 9, None),
    ],
)
def test_taking_up_a_partition(
    case: str, stood: int | None, known: CaughtUp | None, end: int, caught: CaughtUp | None
) -> None:
    if caught is None:
        with pytest.raises(Halt, match=r"missed-delete-marker: .*partition 3"):
            resumed(3, stood, known, end, 50 * S)
    else:
        assert resumed(3, stood, known, end, 50 * S) == caught, case


def test_a_place_is_as_current_as_the_last_end_that_it_reached() -> None:
    trail = Trail(3, CaughtUp(0, 0))
    trail.look(10 * S, 8)
    trail.move(7)
    assert trail.caught == CaughtUp(0, 0)
    trail.look(20 * S, 12)
    assert trail.after(8) == CaughtUp(10 * S, 8), "the end that was seen first is reached first"
    assert trail.caught == CaughtUp(0, 0), "asking moves nothing"
    trail.move(8)
    assert trail.caught == CaughtUp(10 * S, 8)
    trail.move(30)
    assert trail.caught == CaughtUp(10 * S, 8), "what was written after that look is not known to be all"
    trail.look(30 * S, 30)
    assert trail.caught == CaughtUp(30 * S, 30), "at the end already"
    trail.look(90 * S, 30)
    assert trail.caught == CaughtUp(90 * S, 30), "idle at the end"


def test_it_does_not_go_back() -> None:
    trail = Trail(8, CaughtUp(0, 0))
    trail.look(10 * S, 8)
    trail.move(5)
    assert (trail.offset, trail.caught) == (8, CaughtUp(10 * S, 8))


@pytest.mark.parametrize(("now_s", "halts"), [(5, False), (65, False), (65.1, True), (10**6, True), (1, False)])
def test_a_marker_lives_so_long(now_s: float, halts: bool) -> None:
    if not halts:
        check(3, 7, OLD, int(now_s * S), 60)
        return
    with pytest.raises(Halt, match=r"partition 3 .*delete\.retention\.ms.* offset 7"):
        check(3, 7, OLD, int(now_s * S), 60)
