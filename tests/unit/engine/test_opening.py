"""How a worker begins with a stream: from the right place, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from headwater.engine.opening import Opening, Situation, fed_from, open_stream
from headwater.errors import Halt
from headwater.log.port import Watermarks
from headwater.model.document import Fingerprints
from headwater.model.generation import Generation, GenerationState, Position, Seen
from headwater.model.registry import Epoch, StreamState, epoch_of
from headwater.model.version import Place

LOG = Epoch(1, "log", 1)
BODY = b"body before the position"


def generation(*positions: Position, log: str = "log", epoch: int = 1) -> Generation:
    return Generation(
        stream="s",
        number=1,
        state=GenerationState.SERVING,
        recipe=1,
        fingerprints=Fingerprints("t", "c", "m", "p"),
        model="m",
        dimensions=2,
        incarnation="i",
        log_identity=log,
        log_epoch=epoch,
        created_us=0,
        positions=positions,
    )


def at(offset: int, epoch: int = 1, partition: int = 0) -> Position:
    return Position(partition, epoch, offset, BODY)


def opened(
    marks: Mapping[int, Watermarks] | Watermarks,
    built: Generation | None,
    *epochs: Epoch,
    identity: str = "log",
    before: Mapping[int, bytes | None] | None = None,
    witnesses: Mapping[int, bytes | None] | None = None,
    accept: bool = False,
    apart: bool = False,
) -> Opening:
    if before is None:
        before = {position.partition: BODY for position in built.positions} if built else {}
    return open_stream(
        Situation(
            state=StreamState(epochs=epochs, accept_epoch=accept),
            identity=identity,
            watermarks={0: marks} if isinstance(marks, Watermarks) else marks,
            generation=built,
            before=before,
            witnesses=witnesses or {},
            offsets_apart=apart,
        )
    )


def test_a_new_log() -> None:
    opening = opened(Watermarks(0, 5, 0), None)
    assert opening == Opening((LOG,), True, False, {0: 0})


def test_a_worker_that_died_before_it_made_the_index() -> None:
    assert opened(Watermarks(0, 5, 0), None, LOG) == Opening((LOG,), False, False, {0: 0})


def test_going_on() -> None:
    assert opened(Watermarks(0, 9, 7), generation(at(7)), LOG) == Opening((LOG,), False, False, {0: 7})
    # The index is ahead of the commit after a crash between apply and settle (C11).
    assert opened(Watermarks(0, 9, 5), generation(at(7)), LOG).starts == {0: 5}


def test_an_index_that_was_restored_from_a_backup_goes_back() -> None:
    assert opened(Watermarks(2, 9, 7), generation(at(4)), LOG).starts == {0: 4}


def test_an_index_that_was_lost_begins_with_the_log() -> None:
    assert opened(Watermarks(0, 9, 7), None, LOG).starts == {0: 0}
    assert opened(Watermarks(3, 9, 7), None, LOG).starts == {0: 3}
    assert opened(Watermarks(0, 9, 7), generation(), LOG).starts == {0: 0}


def test_an_index_behind_what_the_log_still_holds_halts() -> None:
    with pytest.raises(Halt, match="log-truncation-gap"):
        opened(Watermarks(6, 9, 7), generation(at(4)), LOG)
    with pytest.raises(Halt, match="log-truncation-gap"):
        opened(Watermarks(6, 9, 5), generation(at(7)), LOG)
    # The cure is a new index. It begins with what is there, wherever the old one's worker stood.
    assert opened(Watermarks(6, 9, 5), None, LOG).starts == {0: 6}


def test_new_partitions_make_a_new_epoch() -> None:
    marks = {0: Watermarks(0, 9, 7), 1: Watermarks(0, 2, 0)}
    opening = opened(marks, generation(at(7)), LOG)
    # What stands in the old partition stays in its epoch; the new one has nothing of the old number.
    assert opening == Opening((LOG, Epoch(2, "log", 2, {0: 9, 1: 0})), True, True, {0: 7, 1: 0})
    assert epoch_of(opening.epochs, Place(0, 8)) == 1
    assert epoch_of(opening.epochs, Place(1, 0)) == 2
    again = opened(marks, generation(at(7)), *opening.epochs)  # it crashed before the index was told
    assert again == Opening(opening.epochs, False, True, {0: 7, 1: 0})


REWINDS: list[tuple[str, dict[str, Any]]] = [
    ("another log", {"marks": Watermarks(0, 9, 0), "identity": "other"}),
    ("its end lies before the position", {"marks": Watermarks(0, 6, 5)}),
    ("another body before the position", {"marks": Watermarks(0, 9, 5), "before": {0: b"other"}}),
]


@pytest.mark.parametrize(("name", "log"), REWINDS, ids=[name for name, _ in REWINDS])
def test_a_log_that_is_not_the_one_halts_until_it_is_accepted(name: str, log: dict[str, Any]) -> None:
    with pytest.raises(Halt, match="log-rewind") as halted:
        open_(log)
    assert "--accept-log-epoch" in halted.value.cure
    opening = open_(log, accept=True)
    assert opening.minted
    assert opening.adopt
    assert opening.epochs[-1].number == 2
    start = opening.starts[0]
    # From the start on everything is newer than anything that the index holds.
    assert epoch_of(opening.epochs, Place(0, start)) == 2


def open_(log: dict[str, Any], *, accept: bool = False) -> Opening:
    options = {key: value for key, value in log.items() if key != "marks"}
    return opened(log["marks"], generation(at(7)), LOG, accept=accept, **options)


def test_without_a_digest_or_a_record_nothing_is_claimed() -> None:
    assert not opened(Watermarks(0, 9, 7), generation(at(7)), LOG, before={0: None}).minted
    blank = generation(Position(0, 1, 7))
    assert not opened(Watermarks(0, 9, 7), blank, LOG, before={0: b"other"}).minted


def test_another_log_that_was_accepted_is_read_from_its_beginning() -> None:
    marks = Watermarks(0, 60, 50)  # another index was built from it
    opening = opened(marks, generation(at(100)), LOG, identity="other", accept=True)
    assert opening == Opening((LOG, Epoch(2, "other", 1, {0: 0})), True, True, {0: 0})
    # It crashed before the index was told, and after that before anything was settled.
    assert opened(marks, generation(at(100)), *opening.epochs, identity="other") == Opening(
        opening.epochs, False, True, {0: 0}
    )
    told = generation(at(100), log="other", epoch=2)
    assert opened(marks, told, *opening.epochs, identity="other") == Opening(opening.epochs, False, False, {0: 0})
    moved = generation(at(8, 2), log="other", epoch=2)
    assert opened(marks, moved, *opening.epochs, identity="other").starts == {0: 8}


def test_another_log_that_was_accepted_and_is_trimmed_is_read_from_what_it_holds() -> None:
    opening = opened(Watermarks(20, 60, 50), generation(at(100)), LOG, identity="other", accept=True)
    told = generation(at(100), log="other", epoch=2)
    assert opened(Watermarks(20, 60, 50), told, *opening.epochs, identity="other").starts == {0: 20}


def test_a_restored_log_that_was_accepted_goes_on_where_it_was_committed() -> None:
    marks = Watermarks(0, 6, 5)
    opening = opened(marks, generation(at(7)), LOG, accept=True)
    assert opening == Opening((LOG, Epoch(2, "log", 1, {0: 5})), True, True, {0: 5})
    # Crashed before the index was told; the log grew past the old position meanwhile.
    grown = Watermarks(0, 20, 5)
    again = opened(grown, generation(at(7)), *opening.epochs, before={0: b"other"})
    assert again == Opening(opening.epochs, False, True, {0: 5})
    # Told, crashed before anything was settled.
    told = generation(at(7), epoch=2)
    assert opened(grown, told, *opening.epochs, before={0: b"other"}) == Opening(opening.epochs, False, False, {0: 5})
    # Settled in the new epoch: compared again.
    with pytest.raises(Halt, match="log-rewind"):
        opened(grown, generation(at(12, 2), epoch=2), *opening.epochs, before={0: b"other"})


def test_a_log_from_before_an_epoch_that_the_index_knows_halts() -> None:
    # Otherwise all that comes would be older than what the index holds, and lost.
    with pytest.raises(Halt, match="log-rewind"):
        opened(Watermarks(0, 9, 7), generation(at(7, 2), epoch=2), LOG)
    opening = opened(Watermarks(0, 9, 7), generation(at(7, 2), epoch=2), LOG, accept=True)
    assert opening.epochs[-1].number == 3


def test_an_accepted_log_gets_a_number_above_all_that_the_index_saw() -> None:
    built = generation(at(7, 4), epoch=4)
    opening = opened(Watermarks(0, 3, 0), built, identity="other", accept=True)  # the registry went with the log
    assert opening.epochs == (Epoch(5, "other", 1, {0: 0}),)
    assert opening.starts == {0: 0}


def test_a_log_that_lost_what_was_applied_ahead_halts() -> None:
    # Removals never wait: the index was fed from offset 9 while only what lies before 3 was settled.
    ahead = msgspec.structs.replace(generation(at(3)), seen=(Seen(0, 1, 9, b"witness"),))
    with pytest.raises(Halt, match="offset 9"):
        opened(Watermarks(0, 9, 3), ahead, LOG)
    with pytest.raises(Halt, match="offset 9"):
        opened(Watermarks(0, 12, 3), ahead, LOG, witnesses={0: b"other"})
    assert not opened(Watermarks(0, 12, 3), ahead, LOG, witnesses={0: b"witness"}).minted
    accepted = opened(Watermarks(0, 9, 3), ahead, LOG, accept=True)
    assert accepted.epochs[-1] == Epoch(2, "log", 1, {0: 3})
    told = msgspec.structs.replace(ahead, log_epoch=2)
    assert not opened(Watermarks(0, 9, 3), told, *accepted.epochs).minted, "what lies behind the boundary is history"


def test_a_persons_word_begins_an_epoch_even_where_nothing_looks_wrong() -> None:
    # A record met a manifest of its own version with another body: only the person knows.
    opening = opened(Watermarks(0, 9, 7), generation(at(7)), LOG, accept=True)
    assert opening == Opening((LOG, Epoch(2, "log", 1, {0: 7})), True, True, {0: 7})
    behind = opened(Watermarks(0, 9, 7), generation(at(4)), LOG, accept=True)
    assert behind.epochs[-1] == Epoch(2, "log", 1, {0: 4})
    assert opened(Watermarks(0, 9, 7), None, LOG, accept=True).epochs == (LOG,), "no index, nothing to disagree with"


def test_what_an_index_may_hold_of_a_log() -> None:
    fed = msgspec.structs.replace(generation(at(7)), seen=(Seen(1, 1, 3, b"witness"),))
    assert fed_from(None, (LOG,), LOG.identity) == frozenset()
    assert fed_from(fed, (LOG,), LOG.identity) == {0, 1}, "removals go ahead of what is settled"
    assert fed_from(fed, (LOG,), "other") == frozenset()
    anew = Epoch(2, LOG.identity, 2, {0: 0, 1: 3})
    assert fed_from(fed, (LOG, anew), LOG.identity) == {1}, "of partition 0 it has another log's changes"


def test_of_a_rewound_log_whose_offsets_are_kept_apart_all_is_read_again() -> None:
    # It was restored from a backup of when it ended at 3, and has grown again; the group still stands at 7.
    marks = Watermarks(0, 20, 7)
    opening = opened(marks, generation(at(7)), LOG, before={0: b"other"}, accept=True, apart=True)
    assert opening.epochs[-1] == Epoch(2, "log", 1, {0: 0})
    assert opening.starts == {0: 0}
    assert opened(marks, generation(at(7)), LOG, before={0: b"other"}, accept=True).starts == {0: 7}
