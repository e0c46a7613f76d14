"""What the contract of the log's ports is tried on: one log, what a test opened of it, and words for waiting.

A log in one process answers at once, one on a network in its own time. `Bench` waits as long as the adapter's
`patience_s` says, and with none it looks exactly once: so one suite is as strict with the one as it can be, and right
for the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from headwater.log.port import Batch, Ledger, LogHistory, LogReader, LogWriter, Registry
from headwater.model.change import Outgoing, Record
from headwater.model.manifest import Outcome
from headwater.model.receipt import DeadLetter, DeadState, Receipt, Settlement
from headwater.model.version import Version

MANY = 1000
MUCH = 1 << 20
EVERY_STATE = frozenset(DeadState)
#: How long one poll of a log waits that has patience.
_STEP_S = 0.2


class Log(Protocol):
    """What an adapter's factory gives: the ports of one log. `group` is the one whose offsets the history tells."""

    def reader(self, stream: str, group: str, generation: int, partitions: int) -> LogReader:
        """Return a new reader. Without others it has every partition; among others it has its share, or all."""
        ...

    def writer(self, stream: str, partitions: int) -> LogWriter:
        """Return a new writer."""
        ...

    def history(self, stream: str, group: str, partitions: int) -> LogHistory:
        """Return the history."""
        ...

    def ledger(self, stream: str, generation: int) -> Ledger:
        """Return the ledger of one index generation."""
        ...

    def registry(self) -> Registry:
        """Return the registry."""
        ...


class Reading:
    """A reader, and how far it is in each of its partitions."""

    def __init__(self, reader: LogReader, settled: Callable[[], Awaitable[None]], partitions: int = 1) -> None:
        self.inner = reader
        self.partitions = partitions
        self._settled = settled
        self.next: dict[int, int] = {}

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        """Poll, and check what holds of every batch."""
        batch = await self.inner.poll(max_records, max_bytes, wait_s)
        assert not batch.revoked & batch.assigned.keys()
        assert len(batch.records) <= max_records
        self.next = {at: offset for at, offset in self.next.items() if at not in batch.revoked} | dict(batch.assigned)
        for record in batch.records:
            assert record.offset >= self.next[record.partition], "a record before its turn, or of another's partition"
            self.next[record.partition] = record.offset + 1
        for partition, end in batch.ends.items():
            assert end > self.next[partition], "an end that is none"
            self.next[partition] = end
        return batch

    async def settle(self, settlement: Settlement) -> None:
        """Settle, and wait until it can be read."""
        await self.inner.settle(settlement)
        await self._settled()

    async def close(self) -> None:
        """Close."""
        await self.inner.close()


class _Closable(Protocol):
    async def close(self) -> None: ...


_Port = TypeVar("_Port", bound=_Closable)


class Contract:
    """What every part of the contract needs of the adapter."""

    #: How long the log may take for what one in this process does at once.
    patience_s = 0.0

    def log(self, folder: Path) -> Log:
        """Return the log that lives in this folder: a new one in a new folder, the same one in the same folder."""
        raise NotImplementedError

    def line(self, log: Log, count: int) -> Sequence[LogReader]:
        """Return readers of stream s and group g. Each one, with its first poll, has all that the one before it had,
        which has not heard of it.
        """
        return [log.reader("s", "g", 1, 1) for _ in range(count)]

    async def settled(self, log: Log) -> None:
        """Wait until what was settled can be read: a log may show it a moment after it was acknowledged."""

    async def at_hand(self, reader: LogReader, records: int) -> None:
        """Wait until so many records have come to the reader's side."""

    async def gap(self, log: Log) -> None:  # noqa: ARG002 (adapters whose offsets have gaps need it)
        """Make a gap at the end of partition 0 of stream s. Skip the test where offsets have none."""
        pytest.skip("this log's offsets have no gaps")


class Bench:
    """One log, and what a test opened of it: all is closed at the end."""

    def __init__(self, contract: Contract, folder: Path) -> None:
        self._contract = contract
        self._folder = folder
        self._log = contract.log(folder)
        self._open: list[_Closable] = []
        self._looking: dict[int, LogHistory] = {}

    @property
    def prompt(self) -> bool:
        """Whether the log does at once what it does."""
        return self._contract.patience_s == 0

    def reader(self, group: str = "g", generation: int = 1, partitions: int = 1) -> Reading:
        """Open a reader."""
        return self._keep(Reading(self._log.reader("s", group, generation, partitions), self._settled, partitions))

    def line(self, count: int) -> list[Reading]:
        """Open zombies to be, and an heir."""
        return [self._keep(Reading(reader, self._settled)) for reader in self._contract.line(self._log, count)]

    async def _settled(self) -> None:
        await self._contract.settled(self._log)

    def writer(self, partitions: int = 1) -> LogWriter:
        """Open a writer."""
        return self._keep(self._log.writer("s", partitions))

    def history(self, partitions: int = 1) -> LogHistory:
        """Open the history."""
        return self._keep(self._log.history("s", "g", partitions))

    def ledger(self, generation: int = 1) -> Ledger:
        """Open a ledger."""
        return self._keep(self._log.ledger("s", generation))

    def registry(self) -> Registry:
        """Open the registry."""
        return self._keep(self._log.registry())

    def _keep(self, port: _Port) -> _Port:
        self._open.append(port)
        return port

    async def close(self) -> None:
        """Close all that was opened, some of it for the second time: that is allowed."""
        for port in self._open:
            await port.close()
            await port.close()
        self._open.clear()
        self._looking.clear()

    async def reopen(self) -> None:
        """Go on with nothing but what is stored."""
        await self.close()
        self._log = self._contract.log(self._folder)

    async def gap(self) -> None:
        """Make a gap at the end of partition 0."""
        await self._contract.gap(self._log)

    async def fill(self, *keys: str, partitions: int = 1) -> list[Record]:
        """Append a record for each key, and return all that the log holds now."""
        await self.writer(partitions).append([Outgoing(key.encode(), key.encode()) for key in keys])
        history = self.history(partitions)
        marks = await history.watermarks()
        return [record for at, mark in marks.items() async for record in history.read(at, mark.low, mark.high)]

    async def letter(self) -> DeadLetter:
        """Return the only dead letter."""
        (letter,) = await self.ledger().dead(EVERY_STATE)
        return letter

    # --- waiting

    async def polled(
        self, reader: Reading, wanted: Callable[[Batch], object], max_records: int = MANY, max_bytes: int = MUCH
    ) -> Batch:
        """Poll until a batch is as wanted, and return that one."""
        deadline_s = now_s() + self._contract.patience_s
        while True:
            batch = await reader.poll(max_records, max_bytes, min(_STEP_S, self._contract.patience_s))
            if wanted(batch):
                return batch
            assert now_s() < deadline_s, f"the log's patience is over, and the last batch was {batch}"

    async def assigned(self, reader: Reading) -> dict[int, int]:
        """Poll for news until partitions are assigned, and return where they start."""
        batch = await self.polled(reader, lambda it: it.assigned, 0, 0)
        assert not batch.records
        return dict(batch.assigned)

    async def joining(self, reader: Reading) -> asyncio.Future[Batch]:
        """Let a second reader join. Return its first assignment, to wait for: the first one may have to hand over."""
        joined = asyncio.ensure_future(self.polled(reader, lambda it: it.assigned, 0, 0))
        if self.prompt:
            await joined
        return joined

    async def taken(self, reader: Reading, max_records: int = MANY, max_bytes: int = MUCH) -> list[Record]:
        """Poll until records come, and return them. One poll of a prompt log brings them."""
        return list((await self.polled(reader, lambda it: it.records, max_records, max_bytes)).records)

    async def at_hand(self, reader: Reading, records: int) -> None:
        """Wait until so many records have come to the reader's side. A prompt log is asked when it is polled."""
        if not self.prompt:
            await self.assigned(reader)
            await self._contract.at_hand(reader.inner, records)

    async def drained(self, reader: Reading, max_records: int = MANY, max_bytes: int = MUCH) -> list[list[Record]]:
        """Poll until the reader has come to the end of its partitions, and a poll brings nothing more. Return what each
        poll brought.
        """
        deadline_s = now_s() + self._contract.patience_s
        polls: list[list[Record]] = []
        wait_s = min(_STEP_S, self._contract.patience_s)
        while True:
            batch = await reader.poll(max_records, max_bytes, wait_s)
            if batch.records:
                polls.append(list(batch.records))
            if any(batch):
                continue
            if await self._is_at_the_end(reader):
                return polls
            assert now_s() < deadline_s, f"the reader got stuck at {reader.next}"

    async def _is_at_the_end(self, reader: Reading) -> bool:
        count = reader.partitions
        history = self._looking[count] = self._looking.get(count) or self.history(count)
        marks = await history.watermarks()
        return bool(reader.next) and all(at >= marks[partition].high for partition, at in reader.next.items())

    async def drain(self, reader: Reading) -> list[Record]:
        """Poll until nothing more comes, and return the records."""
        return [record for records in await self.drained(reader) for record in records]


_Test = TypeVar("_Test", bound=Contract)


def played(test: Callable[[_Test, Bench], Coroutine[Any, Any, None]]) -> Callable[[_Test, Path], None]:
    """Run a test on a loop of its own, with a new log.

    Not with `functools.wraps`: pytest would look for the signature of what is wrapped.
    """

    def run(self: _Test, tmp_path: Path) -> None:
        async def scenario() -> None:
            bench = Bench(self, tmp_path)
            try:
                await asyncio.wait_for(test(self, bench), 60)
            finally:
                await bench.close()

        asyncio.run(scenario())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def receipt(record: Record, outcome: Outcome = Outcome.INDEXED, revision: int = 1, **more: Any) -> Receipt:
    """Return a receipt of a record's change. `more` are fields of a receipt, whatever their types."""
    version = Version(1, 0, record.partition, record.offset)
    fields = {"recipe": 1, "changed_us": 10, "applied_us": 20, **more}
    return Receipt(
        document=record.key.decode(), version=version, place=record.place, outcome=outcome, revision=revision, **fields
    )


def offsets(records: Iterable[Record]) -> list[int]:
    """Return the records' offsets."""
    return [record.offset for record in records]


def by_place(record: Record) -> tuple[int, int]:
    """Sort records by this."""
    return record.partition, record.offset


def now_s() -> float:
    """Return the loop's time."""
    return asyncio.get_running_loop().time()
