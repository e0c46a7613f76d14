"""What waits, and in which order it is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.engine.ordering import Chain, Ordering
from headwater.errors import Halt
from headwater.model.change import Change, Op, digest
from headwater.model.version import Place, Version


def change(document: str, offset: int, *, partition: int = 0, size: int = 10, text: str = "x") -> Change:
    return Change(
        id=document,
        op=Op.UPSERT,
        version=Version(1, 0, partition, offset),
        place=Place(partition, offset),
        body={"text": text},
        digest=digest(text),
        time_us=0,
        appended_us=0,
        size_bytes=size,
    )


def ordering(*changes: Change) -> Ordering:
    made = Ordering()
    for it in changes:
        made.arrive(it)
    return made


def offsets(chain: Chain) -> list[int]:
    return [it.version.offset for it in chain.changes]


def test_the_newest_comes_first_whatever_the_order_of_arrival() -> None:
    made = ordering(change("a", 2), change("a", 5), change("a", 3))
    (chain,) = made.take(10, 1000)
    assert offsets(chain) == [5, 3, 2]
    assert (len(made), made.size_bytes) == (0, 0)


def test_a_document_that_is_worked_on_waits() -> None:
    made = ordering(change("a", 1))
    made.take(10, 1000)
    made.arrive(change("a", 2))
    made.arrive(change("b", 3))
    assert [chain.id for chain in made.take(10, 1000)] == ["b"]
    assert made.take(10, 1000) == []
    made.finish("a")
    assert [offsets(chain) for chain in made.take(10, 1000)] == [[2]]


def test_documents_take_turns_by_their_oldest_change() -> None:
    made = ordering(change("a", 1), change("b", 2), change("c", 3), change("a", 4))
    assert [chain.id for chain in made.take(2, 1000)] == ["a", "b"]
    assert [chain.id for chain in made.take(2, 1000)] == ["c"]


def test_work_is_bounded_by_the_newest_changes_sizes() -> None:
    made = ordering(change("a", 1, size=500), change("b", 2, size=60), change("c", 3, size=60))
    assert [chain.id for chain in made.take(10, 100)] == ["a"]  # one larger alone
    assert [chain.id for chain in made.take(10, 100)] == ["b"]
    made = ordering(change("a", 1, size=500), change("a", 2, size=1), change("b", 3, size=1))
    assert len(made.take(10, 100)) == 2


def test_a_removal_overtakes_what_is_not_newer() -> None:
    made = ordering(change("a", 1), change("a", 3), change("a", 5), change("b", 2))
    assert [it.version.offset for it in made.overtake(change("a", 4))] == [3, 1]
    assert made.overtake(change("nobody", 4)) == ()
    assert made.size_bytes == 20
    assert sorted(offsets(chain)[0] for chain in made.take(10, 1000)) == [2, 5]


def test_what_belongs_to_another_worker_is_forgotten() -> None:
    made = ordering(change("a", 1), change("b", 1, partition=1), change("c", 2))
    made.forget(frozenset({0}), keep={Place(0, 2)})
    assert [chain.id for chain in made.take(10, 1000)] == ["b", "c"]


def test_an_equal_version_with_another_body_halts() -> None:
    made = ordering(change("a", 1), change("a", 2))
    made.arrive(change("a", 1))  # the same again: harmless
    with pytest.raises(Halt, match="log-rewind"):
        made.arrive(change("a", 1, text="other"))
    with pytest.raises(Halt, match="identity-collision"):
        made.arrive(change("a", 1, partition=1))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.sampled_from(["take", "finish", "arrive"]))))
def test_nothing_is_lost_and_nothing_worked_on_twice(steps: list[tuple[str, int, str]]) -> None:
    made = Ordering()
    waiting: dict[str, list[int]] = {}
    busy: set[str] = set()
    for document, offset, step in steps:
        if step == "arrive":
            made.arrive(change(document, offset))
            waiting.setdefault(document, []).append(offset)
        elif step == "finish":
            made.finish(document)
            busy.discard(document)
        else:
            for chain in made.take(2, 1000):
                assert chain.id not in busy
                assert offsets(chain) == sorted(waiting.pop(chain.id), reverse=True)
                busy.add(chain.id)
        assert made.size_bytes == 10 * sum(map(len, waiting.values()))
        assert len(made) == len(waiting)
