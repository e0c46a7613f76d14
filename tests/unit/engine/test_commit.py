"""The frontier against a naive model: never past a change that is not settled (G1), and as far as that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.engine.commit import Frontier, Positions
from headwater.model.generation import Position
from headwater.model.manifest import Answer, Verdict
from headwater.model.registry import Epoch
from headwater.model.version import Place

EPOCHS = (Epoch(1, "log", 2), Epoch(2, "log", 2, {0: 3, 1: 3}))


def body(offset: int) -> bytes:
    return b"body of %d" % offset


class Naive:
    """What a frontier must say, by looking at everything each time."""

    def __init__(self, start: int) -> None:
        self.opened: list[int] = []
        self.done: set[int] = set()
        self.committed = start

    def prefix(self, also: set[int] | frozenset[int] = frozenset()) -> tuple[int, bytes] | None:
        left = [offset for offset in self.opened if offset not in self.done | also]
        end = left[0] if left else max([offset + 1 for offset in self.opened], default=self.committed)
        before = [offset for offset in self.opened if offset < end]
        return (end, body(before[-1]) if before else b"") if end > self.committed else None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(1, 3)),
        st.tuples(st.just("settle"), st.integers(0, 12)),
        st.tuples(st.just("commit"), st.just(0)),
        st.tuples(st.just("ask"), st.integers(0, 12)),
        st.tuples(st.just("repeat"), st.integers(0, 12)),
    )
)


@given(st.integers(0, 5), STEPS)
def test_the_frontier_says_what_the_naive_model_says(start: int, steps: list[tuple[str, int]]) -> None:
    frontier, naive = Frontier(), Naive(start)
    frontier.assign(0, start)
    head = start
    for step, number in steps:
        if step == "open":
            head += number - 1  # gaps are nobody's change
            assert frontier.open(Place(0, head), body(head), head)
            naive.opened.append(head)
            head += 1
        elif step == "repeat" and start + number < head:
            assert not frontier.open(Place(0, start + number), b"?", 0)
        elif step == "settle" and start + number in naive.opened:
            frontier.settle(Place(0, start + number))
            if start + number >= naive.committed:
                naive.done.add(start + number)
        elif step == "commit" and (prefix := naive.prefix()):
            frontier.commit({0: prefix[0]})
            naive.committed = prefix[0]
        elif step == "ask":
            expected = naive.prefix({start + number})
            assert frontier.settled([Place(0, start + number)]) == ({0: expected} if expected else {})
        expected = naive.prefix()
        assert frontier.settled() == ({0: expected} if expected else {})
        assert frontier.reached({0: naive.committed})
        assert not frontier.reached({0: naive.committed + 1})
        assert frontier.open_count == sum(offset >= naive.committed for offset in naive.opened)


def test_what_is_not_ours_is_never_committed() -> None:
    frontier = Frontier()
    assert not frontier.open(Place(0, 0), b"", 0)
    frontier.assign(0, 0)
    frontier.assign(1, 0)
    frontier.open(Place(0, 0), b"a", 7)
    frontier.open(Place(1, 0), b"b", 7)
    frontier.settle(Place(0, 0))
    frontier.revoke(0)
    assert frontier.settle(Place(0, 0)) is None
    frontier.commit({0: 1})
    assert frontier.settled() == {}
    assert frontier.settled([Place(0, 0), Place(1, 0)]) == {1: (1, b"b")}


def test_an_assignment_begins_anew() -> None:
    frontier = Frontier()
    frontier.assign(0, 0)
    frontier.open(Place(0, 0), b"a", 7)
    frontier.settle(Place(0, 0))
    frontier.assign(0, 0)
    assert frontier.settled() == {}
    assert frontier.open(Place(0, 0), b"a", 8)
    assert frontier.settle(Place(0, 0)) == 8


def test_a_goal_counts_what_others_have_committed() -> None:
    frontier = Frontier()
    assert frontier.reached({0: 0})
    assert not frontier.reached({0: 1})
    frontier.assign(1, 5)
    assert frontier.reached({1: 5})
    assert not frontier.reached({0: 1, 1: 5})
    frontier.note_elsewhere({0: 1, 1: 2})
    assert frontier.reached({0: 1, 1: 5})
    assert not frontier.reached({0: 1, 1: 6})


def _two_open() -> tuple[Frontier, Positions]:
    frontier = Frontier()
    frontier.assign(0, 0)
    for offset in range(4):
        frontier.open(Place(0, offset), body(offset), 0)
    return frontier, Positions(frontier, EPOCHS)


def test_positions_hold_once_the_writes_are_in() -> None:
    _, positions = _two_open()
    assert positions.assuming([Place(0, 1)]) == []
    assert positions.assuming([Place(0, 0), Place(0, 1)]) == [Position(0, 1, 2, body(1))]
    # The epoch is that of the change before the offset, not of the one to come.
    assert positions.assuming([Place(0, offset) for offset in range(3)]) == [Position(0, 1, 3, body(2))]
    assert positions.assuming([Place(0, offset) for offset in range(4)]) == [Position(0, 2, 4, body(3))]


def test_what_the_index_did_not_write_down_is_owed_before_the_commit() -> None:
    frontier, positions = _two_open()
    frontier.settle(Place(0, 0))
    owed = positions.owed()
    assert owed == [Position(0, 1, 1, body(0))]
    for verdict, left in ((Verdict.CONFLICT, owed), (Verdict.REJECTED, owed), (Verdict.STALE, [])):
        positions.record(owed, [Answer(Verdict.APPLIED), Answer(verdict)])
        assert positions.owed() == left
    positions.forget(0)
    assert positions.owed() == owed


def test_after_a_commit_the_digest_before_the_frontier_is_still_known() -> None:
    frontier, _ = _two_open()
    for offset in range(4):
        frontier.settle(Place(0, offset))
    frontier.commit({0: 2})
    assert frontier.settled() == {0: (4, body(3))}
    assert frontier.open_count == 2
