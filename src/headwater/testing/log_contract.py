"""The contract of the log's ports as tests, for whoever writes an adapter.

Subclass `LogContract`, give it the factory method `log`, and what else `Contract` asks of an adapter that is slow or
has gaps, and let pytest collect the subclass. A test that the adapter cannot pass is overridden with
`pytest.mark.xfail(strict=True)` and a reason, so that the gap stays known.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise

import msgspec
import pytest

from headwater.clock import SystemClock
from headwater.errors import Halt, Lost, Misconfigured
from headwater.log.port import SourcePosition, Watermarks
from headwater.log.rules import FRESH
from headwater.model.change import Outgoing
from headwater.model.manifest import Outcome
from headwater.model.receipt import DeadLetter, DeadState, Settlement, Usage, day_of
from headwater.model.registry import Epoch, StreamState
from headwater.model.version import Place, Version
from headwater.testing.log_bench import (
    EVERY_STATE,
    MANY,
    MUCH,
    Bench,
    Contract,
    by_place,
    now_s,
    offsets,
    played,
    receipt,
)


class PollContract(Contract):
    """LogReader: poll, close."""

    @played
    async def test_the_first_news_assigns_every_partition_from_its_start(self, bench: Bench) -> None:
        assert await bench.assigned(bench.reader(partitions=3)) == {0: 0, 1: 0, 2: 0}

    @played
    async def test_a_record_comes_as_it_was_appended(self, bench: Bench) -> None:
        headers = (("one", b"\x00\xff"), ("one", b""))
        await bench.writer().append([Outgoing(b"\xffkey", b"value\x00", headers), Outgoing(b"key", None)])
        first, second = await bench.drain(bench.reader())
        assert (first.key, first.value, first.headers) == (b"\xffkey", b"value\x00", headers)
        assert (second.key, second.value, second.headers) == (b"key", None, ())
        assert first.time_us > 0

    @played
    async def test_records_come_in_order_and_only_once(self, bench: Bench) -> None:
        await bench.fill(*(f"k{number}" for number in range(100)), partitions=3)
        reader = bench.reader(partitions=3)
        records = [record for some in await bench.drained(reader, 7) for record in some]
        for partition in range(3):
            mine = [record.offset for record in records if record.partition == partition]
            assert mine == list(range(len(mine)))
        assert len(records) == 100
        assert not (await reader.poll(MANY, MUCH, 0)).records

    @played
    async def test_a_poll_keeps_to_its_number_of_records(self, bench: Bench) -> None:
        await bench.fill(*(f"k{number}" for number in range(50)), partitions=3)
        reader = bench.reader(partitions=3)
        await bench.at_hand(reader, 50)
        sizes = [len(some) for some in await bench.drained(reader, 8)]
        assert sizes == [8] * 6 + [2]

    @played
    async def test_a_poll_keeps_to_its_number_of_bytes(self, bench: Bench) -> None:
        await bench.writer(3).append([Outgoing(b"k%d" % number, b"x" * 1000) for number in range(50)])
        polls = await bench.drained(bench.reader(partitions=3), MANY, 10_000)
        assert sum(len(some) for some in polls) == 50
        assert max(sum(record.size_bytes for record in some) for some in polls) <= 10_000

    @played
    async def test_one_larger_record_comes_alone(self, bench: Bench) -> None:
        await bench.writer().append([Outgoing(b"a", b"x" * 5000), Outgoing(b"b", b"y")])
        reader = bench.reader()
        assert [record.key for record in await bench.taken(reader, MANY, 100)] == [b"a"]
        assert [record.key for record in await bench.taken(reader, MANY, 1000)] == [b"b"]

    @played
    async def test_a_full_partition_does_not_starve_the_others(self, bench: Bench) -> None:
        everything = await bench.fill(*(f"k{number}" for number in range(200)), partitions=2)
        reader = bench.reader(partitions=2)
        await bench.at_hand(reader, 200)
        records = [record for _ in range(4) for record in await bench.taken(reader, 10)]
        assert {record.partition for record in everything} == {0, 1}
        for partition in (0, 1):
            assert sum(record.partition == partition for record in records) >= 10

    @played
    async def test_every_partition_has_its_turn_in_small_polls(self, bench: Bench) -> None:
        await bench.fill(*(f"k{number}" for number in range(60)), partitions=3)
        reader = bench.reader(partitions=3)
        await bench.at_hand(reader, 60)
        records = [record for _ in range(6) for record in await bench.taken(reader, 1)]
        assert {record.partition for record in records} == {0, 1, 2}

    @played
    async def test_an_empty_poll_waits_and_no_longer_than_told(self, bench: Bench) -> None:
        reader = bench.reader()
        await bench.assigned(reader)
        start_s = now_s()
        assert not any(await reader.poll(MANY, MUCH, 0.3))
        assert 0.2 < now_s() - start_s < 5

    @played
    async def test_a_waiting_poll_ends_with_the_first_record(self, bench: Bench) -> None:
        reader, writer = bench.reader(), bench.writer()
        await bench.assigned(reader)
        start_s = now_s()
        waiting = asyncio.ensure_future(reader.poll(MANY, MUCH, 30))
        await writer.append([Outgoing(b"a", b"1")])
        assert [record.key for record in (await waiting).records] == [b"a"]
        assert now_s() - start_s < 5

    @played
    async def test_settling_does_not_wait_for_a_waiting_poll(self, bench: Bench) -> None:
        await bench.fill("a")
        reader = bench.reader()
        await bench.drain(reader)
        waiting = asyncio.ensure_future(reader.poll(MANY, MUCH, 30))
        await asyncio.wait_for(reader.settle(Settlement({0: 1})), 5)
        await reader.close()
        assert (await asyncio.wait_for(waiting, 5)).records in ([], ())

    @played
    async def test_a_cancelled_poll_has_read_nothing(self, bench: Bench) -> None:
        reader, writer = bench.reader(), bench.writer()
        await bench.assigned(reader)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.poll(MANY, MUCH, 30), 0.1)
        await writer.append([Outgoing(b"a", b"1")])
        assert [record.key for record in (await reader.poll(MANY, MUCH, 5)).records] == [b"a"]

    @played
    async def test_a_poll_for_no_records_brings_none_and_loses_none(self, bench: Bench) -> None:
        await bench.fill("a")
        reader = bench.reader()
        assert await bench.assigned(reader) == {0: 0}
        assert not any(await reader.poll(0, 0, 0 if bench.prompt else 0.5))
        assert [record.key for record in await bench.taken(reader)] == [b"a"]

    @played
    async def test_the_end_behind_a_gap_is_told(self, bench: Bench) -> None:
        await bench.fill("a")
        await bench.gap()
        high = (await bench.history().watermarks())[0].high
        assert high > 1
        reader = bench.reader()
        assert offsets(await bench.drain(reader)) == [0]
        assert reader.next == {0: high}
        await bench.gap()
        higher = (await bench.history().watermarks())[0].high
        batch = await bench.polled(reader, any)
        assert (list(batch.records), batch.ends) == ([], {0: higher})
        await reader.settle(Settlement({0: higher}))
        assert (await bench.history().watermarks())[0].committed == higher
        await bench.fill("b")
        assert offsets(await bench.taken(reader)) == [higher]

    @played
    async def test_the_end_behind_a_gap_is_told_to_whom_nothing_else_is(self, bench: Bench) -> None:
        await bench.fill("a")
        reader = bench.reader()
        await bench.drain(reader)
        await reader.settle(Settlement({0: 1}))
        await reader.close()
        await bench.gap()
        high = (await bench.history().watermarks())[0].high
        again = bench.reader()
        assert await bench.assigned(again) == {0: 1}
        assert (await bench.polled(again, any)).ends == {0: high}
        assert not any(await again.poll(MANY, MUCH, 0))

    @played
    async def test_no_end_comes_before_the_records_that_lie_before_it(self, bench: Bench) -> None:
        await bench.fill("a", "b", "c")
        await bench.gap()
        reader = bench.reader()
        for expected in (0, 1, 2):
            batch = await bench.polled(reader, lambda it: it.records, 1)
            assert offsets(batch.records) == [expected]
            assert not batch.ends or expected == 2
        await bench.drain(reader)

    @played
    async def test_closing_settles_nothing(self, bench: Bench) -> None:
        await bench.fill("a", "b")
        reader = bench.reader()
        await bench.drain(reader)
        await reader.close()
        assert offsets(await bench.drain(bench.reader())) == [0, 1]

    @played
    async def test_a_closed_reader_brings_nothing(self, bench: Bench) -> None:
        await bench.fill("a")
        reader, unused = bench.reader(), bench.reader()
        await bench.assigned(reader)
        for it in (reader, unused):
            await it.close()
            assert not any(await it.poll(MANY, MUCH, 5))

    @played
    async def test_another_number_of_partitions_is_refused(self, bench: Bench) -> None:
        await bench.fill("a", partitions=2)
        with pytest.raises(Misconfigured, match=r"2.*3"):
            await bench.reader(partitions=3).poll(MANY, MUCH, 0)


class SettleContract(Contract):
    """LogReader: settle, and losing partitions."""

    @played
    async def test_a_group_goes_on_where_it_settled(self, bench: Bench) -> None:
        await bench.fill("a", "b", "c")
        reader = bench.reader()
        await bench.drain(reader)
        await reader.settle(Settlement({0: 2}))
        await reader.close()
        heir = bench.reader()
        assert await bench.assigned(heir) == {0: 2}
        assert offsets(await bench.drain(heir)) == [2]

    @played
    async def test_another_group_has_its_own_offsets(self, bench: Bench) -> None:
        await bench.fill("a")
        reader = bench.reader()
        await bench.drain(reader)
        await reader.settle(Settlement({0: 1}))
        assert offsets(await bench.drain(bench.reader(group="replay"))) == [0]
        assert offsets(await bench.drain(reader)) == []

    @played
    async def test_an_offset_never_goes_back(self, bench: Bench) -> None:
        await bench.fill("a", "b", "c")
        reader = bench.reader()
        await bench.drain(reader)
        for offset in (3, 1):
            await reader.settle(Settlement({0: offset}))
        assert (await bench.history().watermarks())[0].committed == 3

    @played
    async def test_a_repeated_settlement_has_no_effect(self, bench: Bench) -> None:
        (record,) = await bench.fill("a")
        reader = bench.reader()
        await bench.drain(reader)
        for _ in range(2):
            await reader.settle(Settlement({0: 1}, (receipt(record),), Usage(1, 2, 3, 4)))
        totals = await bench.ledger().totals()
        assert (totals.outcomes, totals.usage) == ({"indexed": 1}, Usage(1, 2, 3, 4))
        assert await bench.ledger().receipts("a") == [receipt(record)]

    @played
    async def test_what_tells_receipts_apart(self, bench: Bench) -> None:
        (record,) = await bench.fill("a")
        reader = bench.reader()
        first = receipt(record)
        others = (
            receipt(record, revision=2),
            receipt(record, recipe=2),
            *(
                msgspec.structs.replace(first, version=Version(*version))
                for version in ((2, 0, 0, 0), (1, 5, 0, 0), (1, 0, 7, 0))
            ),
        )
        await reader.settle(Settlement({}, (first, *others, receipt(record, Outcome.STALE))))
        assert await bench.ledger().receipts("a") == [first, *others]

    @played
    async def test_a_receipt_may_lie_beyond_the_frontier(self, bench: Bench) -> None:
        first, second = await bench.fill("a", "b")
        reader = bench.reader()
        await bench.drain(reader)
        await reader.settle(Settlement({0: 0}, (receipt(second, Outcome.DELETED),)))
        await reader.settle(Settlement({0: 2}, (receipt(first),)))
        assert (await bench.ledger().totals()).outcomes == {"deleted": 1, "indexed": 1}

    @played
    async def test_usage_counts_without_receipts(self, bench: Bench) -> None:
        reader = bench.reader()
        await reader.settle(Settlement({}, (), Usage(1, 1, 3, 0, 1, 2)))
        await reader.settle(Settlement({}, (), Usage(1, 1, 3, 5, 2, 1)))
        assert (await bench.ledger().totals()).usage == Usage(2, 2, 6, 5, 3, 3)

    @played
    async def test_usage_is_told_by_the_day_on_which_it_was_settled(self, bench: Bench) -> None:
        first, second = await bench.fill("a", "b")
        reader, ledger = bench.reader(), bench.ledger()
        await bench.drain(reader)
        days = {day_of(SystemClock().now_us())}
        await reader.settle(Settlement({0: 1}, (receipt(first),), Usage(1, 2, 3, 4)))
        days.add(day_of(SystemClock().now_us()))  # midnight may pass at any time
        assert (await ledger.totals()).daily.keys() <= days
        repeated = Settlement({0: 1}, (receipt(first),), Usage(7, 7, 7, 7))
        for settlement in (repeated, Settlement({0: 2}, (receipt(second),), Usage(1, 1, 9, 0, 5, 4))):
            await reader.settle(settlement)
        days.add(day_of(SystemClock().now_us()))
        totals = await ledger.totals()
        assert totals.daily.keys() <= days
        assert sum(totals.daily.values(), start=Usage()) == totals.usage == Usage(2, 3, 12, 4, 5, 4)
        assert totals.outcomes == {"indexed": 2}
        assert await bench.ledger().totals() == totals

    @played
    async def test_a_zombie_writes_nothing(self, bench: Bench) -> None:
        (record,) = await bench.fill("a")
        zombie, heir = bench.line(2)
        await bench.drain(zombie)
        assert offsets(await bench.drain(heir)) == [0]
        with pytest.raises(Lost) as caught:
            await zombie.settle(Settlement({0: 1}, (receipt(record, Outcome.DEAD),), Usage(1, 1, 1, 1)))
        assert caught.value.partitions == {0}
        ledger = bench.ledger()
        assert (await ledger.totals()).outcomes == {}
        assert (await ledger.totals()).usage == Usage()
        assert await ledger.dead(EVERY_STATE) == []
        assert (await bench.history().watermarks())[0].committed == 0
        await heir.settle(Settlement({0: 1}, (receipt(record),)))

    @played
    async def test_a_reader_learns_by_a_poll_what_it_lost(self, bench: Bench) -> None:
        first, second = bench.reader(partitions=2), bench.reader(partitions=2)
        await bench.drain(first)
        joined = await bench.joining(second)
        lost = (await bench.polled(first, any)).revoked
        assert lost
        assert first.next.keys() == {0, 1} - lost
        assert not any(await first.poll(MANY, MUCH, 0))
        assert (await joined).assigned == dict.fromkeys(lost, 0)
        everything = await bench.fill(*(f"k{number}" for number in range(20)), partitions=2)
        of_first = await bench.drain(first) if first.next else []
        of_second = await bench.drain(second)
        assert {record.partition for record in of_second} == lost
        assert sorted(of_first + of_second, key=by_place) == sorted(everything, key=by_place)

    @played
    async def test_what_was_revoked_is_settled_until_the_next_poll(self, bench: Bench) -> None:
        records = await bench.fill(*(f"k{number}" for number in range(20)), partitions=2)
        first, second = bench.reader(partitions=2), bench.reader(partitions=2)
        await bench.drain(first)
        joined = await bench.joining(second)
        lost = (await bench.polled(first, any)).revoked
        frontier = {at: sum(record.partition == at for record in records) for at in lost}
        of_lost = tuple(receipt(record) for record in records if record.partition in lost)
        await asyncio.wait_for(first.settle(Settlement(frontier, of_lost)), 5)
        assert not any(await first.poll(MANY, MUCH, 0))
        assert (await joined).assigned == frontier
        with pytest.raises(Lost):
            await first.settle(Settlement(frontier))

    @played
    async def test_an_heir_of_heirs_goes_on_where_the_last_one_settled(self, bench: Bench) -> None:
        await bench.fill("a", "b", "c")
        first, second, third = bench.line(3)
        await bench.drain(first)
        await first.settle(Settlement({0: 1}))
        await bench.drain(second)
        await second.settle(Settlement({0: 2}))
        with pytest.raises(Lost):
            await first.settle(Settlement({0: 3}))
        assert await bench.assigned(third) == {0: 2}
        assert offsets(await bench.drain(third)) == [2]
        for it in (first, second):
            with pytest.raises(Lost):
                await it.settle(Settlement({0: 3}))
        assert (await bench.history().watermarks())[0].committed == 2

    @played
    async def test_a_partition_that_was_never_assigned_is_not_settled(self, bench: Bench) -> None:
        reader = bench.reader()
        with pytest.raises(Lost):
            await reader.settle(Settlement({0: 1}))
        await bench.drain(reader)
        with pytest.raises(Lost):
            await reader.settle(Settlement({5: 1}))

    @played
    async def test_index_generations_have_books_of_their_own(self, bench: Bench) -> None:
        (record,) = await bench.fill("a")
        await bench.reader(generation=1).settle(Settlement({}, (receipt(record),)))
        await bench.reader("replay", generation=2).settle(Settlement({}, (receipt(record, Outcome.DEAD),)))
        assert (await bench.ledger(1).totals()).outcomes == {"indexed": 1}
        assert (await bench.ledger(2).totals()).outcomes == {"dead": 1}
        assert await bench.ledger(1).dead(EVERY_STATE) == []


async def letters_of(bench: Bench) -> list[tuple[str, int, DeadState]]:
    """Return document, offset and state of every letter."""
    return [(it.document, it.version.offset, it.state) for it in await bench.ledger().dead(EVERY_STATE)]


class DeadLetterContract(Contract):
    """Dead letters: how settle and move change them."""

    @played
    async def test_a_dead_receipt_opens_a_letter(self, bench: Bench) -> None:
        (record,) = await bench.fill("a")
        await bench.reader().settle(Settlement({}, (receipt(record, Outcome.DEAD, reason="no text"),)))
        letter = await bench.letter()
        assert letter.opened_us > 0
        assert letter == DeadLetter(
            generation=1,
            document="a",
            version=Version(1, 0, 0, 0),
            place=Place(0, 0),
            reason="no text",
            state=DeadState.OPEN,
            opened_us=letter.opened_us,
        )

    @played
    async def test_a_repeat_finds_the_letter_as_it_is(self, bench: Bench) -> None:
        (record,) = await bench.fill("a")
        reader, ledger = bench.reader(), bench.ledger()
        dead = Settlement({}, (receipt(record, Outcome.DEAD),))
        await reader.settle(dead)
        before = await bench.letter()
        await reader.settle(dead)
        assert await bench.letter() == before
        assert await ledger.move("a", before.version, DeadState.OPEN, DeadState.DISCARDED)
        await reader.settle(dead)
        assert (await bench.letter()).state is DeadState.DISCARDED  # C14

    @played
    async def test_a_failed_retry_opens_the_letter_again(self, bench: Bench) -> None:
        (record,) = await bench.fill("a")
        reader = bench.reader()
        await reader.settle(Settlement({}, (receipt(record, Outcome.DEAD, reason="one"),)))
        opened = await bench.letter()
        await bench.ledger().move("a", opened.version, DeadState.OPEN, DeadState.RETRYING)
        await reader.settle(Settlement({}, (receipt(record, Outcome.DEAD, revision=2, reason="two"),)))
        letter = await bench.letter()
        assert (letter.state, letter.attempts, letter.reason) == (DeadState.OPEN, 2, "two")
        assert letter.opened_us == opened.opened_us

    @played
    async def test_every_other_outcome_settles_the_letter(self, bench: Bench) -> None:
        records = await bench.fill(*(f"k{number}" for number in range(2 * len(Outcome))))
        reader, ledger = bench.reader(), bench.ledger()
        others = [outcome for outcome in Outcome if outcome is not Outcome.DEAD]
        for outcome, open_one, retried in zip(others, records[::2], records[1::2], strict=False):
            both = (open_one, retried)
            await reader.settle(Settlement({}, tuple(receipt(it, Outcome.DEAD) for it in both)))
            await ledger.move(retried.key.decode(), receipt(retried).version, DeadState.OPEN, DeadState.RETRYING)
            await reader.settle(Settlement({}, tuple(receipt(it, outcome, revision=2) for it in both)))
        letters = await ledger.dead(EVERY_STATE)
        assert len(letters) == 2 * len(others)
        assert {letter.state for letter in letters} == {DeadState.SETTLED}

    @played
    async def test_one_settlement_may_open_and_settle_a_letter(self, bench: Bench) -> None:
        (record,) = await bench.fill("a")
        both = (receipt(record, Outcome.DEAD), receipt(record, Outcome.INDEXED, revision=2))
        await bench.reader().settle(Settlement({}, both))
        assert (await bench.letter()).state is DeadState.SETTLED

    @played
    async def test_what_is_settled_or_discarded_stays(self, bench: Bench) -> None:
        (record,) = await bench.fill("a")
        reader, ledger = bench.reader(), bench.ledger()
        await reader.settle(Settlement({}, (receipt(record, Outcome.DEAD),)))
        version = receipt(record).version
        before = DeadState.OPEN
        for revision, state in enumerate((DeadState.DISCARDED, DeadState.SETTLED), start=2):
            assert await ledger.move("a", version, before, state)
            for outcome in (Outcome.DEAD, Outcome.INDEXED):
                await reader.settle(Settlement({}, (receipt(record, outcome, revision=10 * revision),)))
                assert (await bench.letter()).state is state
            before = state

    @played
    async def test_another_version_is_another_letter(self, bench: Bench) -> None:
        first, second = await bench.fill("a", "a")
        reader = bench.reader()
        await reader.settle(Settlement({}, (receipt(second, Outcome.DEAD), receipt(first, Outcome.DEAD))))
        await reader.settle(Settlement({}, (receipt(first, revision=2),)))
        assert await letters_of(bench) == [("a", 0, DeadState.SETTLED), ("a", 1, DeadState.OPEN)]
        assert [letter.version.offset for letter in await bench.ledger().dead(frozenset({DeadState.OPEN}))] == [1]
        assert await bench.ledger().dead(frozenset()) == []

    @played
    async def test_a_newer_version_in_the_index_closes_the_letters_of_older_ones(self, bench: Bench) -> None:
        for outcome in Outcome:
            name, other = str(outcome), f"beside {outcome}"
            opened, retried, discarded, newer, beside = (await bench.fill(*[name] * 4, other))[-5:]
            dead = [receipt(it, Outcome.DEAD) for it in (opened, retried, discarded, beside)]
            await bench.reader().settle(Settlement({}, tuple(dead)))
            ledger = bench.ledger()
            assert await ledger.move(name, dead[1].version, DeadState.OPEN, DeadState.RETRYING)
            assert await ledger.move(name, dead[2].version, DeadState.OPEN, DeadState.DISCARDED)
            # Another worker's: it has to learn of the letters first.
            await bench.reader().settle(Settlement({}, (receipt(newer, outcome),)))
            closed = outcome in FRESH
            expected = {
                (name, opened.offset): DeadState.SETTLED if closed else DeadState.OPEN,
                (name, retried.offset): DeadState.SETTLED if closed else DeadState.RETRYING,
                (name, discarded.offset): DeadState.DISCARDED,
                (other, beside.offset): DeadState.OPEN,
            }
            found = {(document, offset): state for document, offset, state in await letters_of(bench)}
            assert {at: found[at] for at in expected} == expected, outcome

    @played
    async def test_a_letter_that_was_overtaken_stays_closed(self, bench: Bench) -> None:
        first, second = await bench.fill("a", "a")
        reader = bench.reader()
        dead, good = receipt(first, Outcome.DEAD), receipt(second)
        await reader.settle(Settlement({}, (dead, good)))
        for repeat in ((dead,), (good,), (dead, good)):
            assert await letters_of(bench) == [("a", 0, DeadState.SETTLED)]
            await reader.settle(Settlement({}, repeat))
        await reader.settle(Settlement({}, (receipt(first, Outcome.DEAD, revision=2),)))
        assert await letters_of(bench) == [("a", 0, DeadState.SETTLED)]

    @played
    async def test_a_settlement_that_was_refused_closes_no_letter_until_it_comes_again(self, bench: Bench) -> None:
        first, second = await bench.fill("a", "a")
        zombie, heir = bench.line(2)
        await bench.drain(zombie)
        await zombie.settle(Settlement({}, (receipt(first, Outcome.DEAD),)))
        assert len(await bench.drain(heir)) == 2
        with pytest.raises(Lost):
            await zombie.settle(Settlement({0: 2}, (receipt(second),)))
        assert await letters_of(bench) == [("a", 0, DeadState.OPEN)]
        await zombie.settle(Settlement({}, (receipt(second),)))
        assert await letters_of(bench) == [("a", 0, DeadState.SETTLED)]

    @played
    async def test_a_letter_moves_by_compare_and_set(self, bench: Bench) -> None:
        (record,) = await bench.fill("a")
        await bench.reader().settle(Settlement({}, (receipt(record, Outcome.DEAD),)))
        version = receipt(record).version
        ledgers = [bench.ledger() for _ in range(4)]
        moves = [it.move("a", version, DeadState.OPEN, DeadState.RETRYING) for it in ledgers]
        assert sorted(await asyncio.gather(*moves)) == [False, False, False, True]
        assert not await ledgers[0].move("b", version, DeadState.RETRYING, DeadState.OPEN)
        assert not await bench.ledger(2).move("a", version, DeadState.RETRYING, DeadState.OPEN)
        assert (await bench.letter()).state is DeadState.RETRYING


class WriteContract(Contract):
    """LogWriter and LogHistory."""

    @played
    async def test_a_key_keeps_its_partition_and_its_order(self, bench: Bench) -> None:
        changes = [Outgoing(b"k%d" % (number % 7), b"%d" % number) for number in range(70)]
        for some in (changes[:30], [], changes[30:]):
            await bench.writer(4).append(some)
        records = await bench.fill(partitions=4)
        for key in {change.key for change in changes}:
            mine = [record for record in records if record.key == key]
            assert len({record.partition for record in mine}) == 1
            assert [it.value for it in mine] == [it.value for it in changes if it.key == key]
        assert len({record.partition for record in records}) > 1

    @played
    async def test_writers_beside_each_other_lose_nothing(self, bench: Bench) -> None:
        async def write(name: int) -> None:
            writer = bench.writer()
            for number in range(20):
                await writer.append([Outgoing(b"%d" % name, b"%d" % number), Outgoing(b"%d" % name, None)])

        await asyncio.gather(*(write(name) for name in range(3)))
        records = await bench.fill()
        assert offsets(records) == list(range(120))
        for name in range(3):
            mine = [record.value for record in records if record.key == b"%d" % name]
            assert mine == [value for number in range(20) for value in (b"%d" % number, None)]

    @played
    async def test_an_append_stays_whole(self, bench: Bench) -> None:
        async def write(name: int) -> None:
            writer = bench.writer()
            for number in range(20):
                await writer.append([Outgoing(b"%d" % name, b"%d" % number), Outgoing(b"%d" % name, None)])

        await asyncio.gather(*(write(name) for name in range(3)))
        for first, second in pairwise(await bench.fill()):
            assert first.value is None or (second.value is None and first.key == second.key)

    @played
    async def test_a_position_moves_with_its_changes(self, bench: Bench) -> None:
        writer = bench.writer()
        assert await writer.position("p") == (0, {})
        await writer.append([Outgoing(b"a", b"1")], SourcePosition("p", 0, {b"x": b"1", b"y": b"2"}))
        await writer.append([], SourcePosition("p", 1, {b"x": None, b"z": b"", b"w": None, b"y": b"3"}))
        assert await bench.writer().position("p") == (2, {b"y": b"3", b"z": b""})
        assert await writer.position("q") == (0, {})

    @played
    async def test_an_outdated_position_appends_nothing(self, bench: Bench) -> None:
        writer = bench.writer()
        await writer.append([], SourcePosition("p", 0, {b"x": b"1"}))
        for serial in (0, 2):
            with pytest.raises(Halt, match="snapshot-race"):
                await writer.append([Outgoing(b"a", b"1")], SourcePosition("p", serial, {b"x": b"2"}))
        assert await writer.position("p") == (1, {b"x": b"1"})
        assert await bench.fill() == []

    @played
    async def test_the_identity_stays_the_same(self, bench: Bench) -> None:
        await bench.fill("a")
        identities = {await bench.history().identity() for _ in range(3)}
        assert len(identities) == 1
        assert identities != {""}

    @played
    async def test_watermarks_of_every_partition(self, bench: Bench) -> None:
        assert await bench.history(2).watermarks() == {0: Watermarks(0, 0, 0), 1: Watermarks(0, 0, 0)}
        records = await bench.fill(*(f"k{number}" for number in range(10)), partitions=2)
        high = [sum(record.partition == partition for record in records) for partition in (0, 1)]
        reader = bench.reader(partitions=2)
        await bench.drain(reader)
        await reader.settle(Settlement({1: 1}))
        assert await bench.history(2).watermarks() == {0: Watermarks(0, high[0], 0), 1: Watermarks(0, high[1], 1)}

    @played
    async def test_a_log_that_keeps_everything_has_no_life_of_markers(self, bench: Bench) -> None:
        await bench.fill("a")
        assert await bench.history().marker_life_s() is None

    @played
    async def test_history_reads_ranges(self, bench: Bench) -> None:
        await bench.fill(*(f"k{number}" for number in range(1200)))
        history = bench.history()
        for start, end in ((0, 1200), (3, 5), (1199, 5000), (5, 5), (7, 3), (2000, 3000)):
            found = [record.offset async for record in history.read(0, start, end)]
            assert found == list(range(start, min(end, 1200)))


class LedgerContract(Contract):
    """Ledger and Registry."""

    @played
    async def test_the_books_of_an_unused_stream_are_empty(self, bench: Bench) -> None:
        ledger = bench.ledger()
        assert await ledger.receipts("a") == []
        assert await ledger.freshness(5) == []
        assert await ledger.dead(EVERY_STATE) == []
        totals = await ledger.totals()
        assert (totals.outcomes, totals.usage, totals.daily) == ({}, Usage(), {})
        assert not await ledger.move("a", Version(1, 0, 0, 0), DeadState.OPEN, DeadState.RETRYING)

    @played
    async def test_receipts_come_whole_and_in_the_order_of_writing(self, bench: Bench) -> None:
        first, other, second = await bench.fill("a", "b", "a")
        overtaken = receipt(
            first, Outcome.SUPERSEDED, applied_us=0, overtaken_by=receipt(second).version, body_digest=b"\x00\xff"
        )
        reader = bench.reader()
        await reader.settle(Settlement({}, (receipt(second, Outcome.UNCHANGED), receipt(other))))
        await reader.settle(Settlement({}, (overtaken,)))
        assert await bench.ledger().receipts("a") == [receipt(second, Outcome.UNCHANGED), overtaken]
        assert await bench.ledger().receipts("c") == []

    @played
    async def test_freshness_is_about_what_a_search_finds(self, bench: Bench) -> None:
        (record,) = await bench.fill("a")
        searchable = {"indexed", "unchanged", "payload-only", "deleted", "filtered"}
        receipts = [
            receipt(record, outcome, revision=revision, changed_us=revision, applied_us=100 + revision)
            for revision, outcome in enumerate(Outcome, start=1)
        ]
        unapplied = receipt(record, revision=99, applied_us=0)
        await bench.reader().settle(Settlement({}, (*receipts, unapplied)))
        expected = [(it.changed_us, it.applied_us) for it in reversed(receipts) if it.outcome in searchable]
        assert await bench.ledger().freshness(100) == expected
        assert await bench.ledger().freshness(2) == expected[:2]

    @played
    async def test_the_first_advance_wins(self, bench: Bench) -> None:
        registry = bench.registry()
        assert await registry.read("s") == StreamState()
        wishes = [StreamState(recipe=number, epochs=(Epoch(1, "id", 2, {0: 5}),)) for number in range(4)]
        won = await asyncio.gather(*(bench.registry().advance("s", wish) for wish in wishes))
        assert sorted(won) == [False, False, False, True]
        stored = await registry.read("s")
        assert (stored.serial, stored.recipe, stored.epochs) == (1, won.index(True), wishes[0].epochs)
        assert await registry.advance("s", stored)
        assert not await registry.advance("s", stored)
        assert await registry.read("other") == StreamState()

    @played
    async def test_everything_is_there_after_opening_again(self, bench: Bench) -> None:
        (record,) = await bench.fill("a")
        reader = bench.reader()
        await bench.drain(reader)
        await reader.settle(Settlement({0: 1}, (receipt(record, Outcome.DEAD),), Usage(1, 1, 1, 1)))
        await bench.writer().append([Outgoing(b"b", b"2")], SourcePosition("p", 0, {b"x": b"1"}))
        await bench.registry().advance("s", StreamState(recipe=3))
        identity = await bench.history().identity()
        await bench.reopen()
        assert await bench.history().identity() == identity
        assert [it.key for it in await bench.drain(bench.reader())] == [b"b"]
        assert await bench.ledger().receipts("a") == [receipt(record, Outcome.DEAD)]
        assert (await bench.letter()).state is DeadState.OPEN
        assert (await bench.ledger().totals()).usage == Usage(1, 1, 1, 1)
        assert await bench.writer().position("p") == (1, {b"x": b"1"})
        assert (await bench.registry().read("s")).recipe == 3


class LogContract(PollContract, SettleContract, DeadLetterContract, WriteContract, LedgerContract):
    """The whole contract."""
