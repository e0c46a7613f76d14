"""What was settled, and the registry, in a SQLite file."""

from __future__ import annotations

from sqlite3 import Connection

import msgspec

from headwater.log.port import Totals
from headwater.log.rules import first_day
from headwater.log.sqlite_books import letter_key, move_letter
from headwater.log.sqlite_schema import LogFile, find_stream, name_digest, secret
from headwater.model.receipt import DeadLetter, DeadState, Receipt, Usage
from headwater.model.registry import StreamState
from headwater.model.version import Place, Version

_RECEIPTS = msgspec.msgpack.Decoder(Receipt)
_STATES = msgspec.json.Decoder(StreamState)


class SqliteLedger:
    """A Ledger. A stream that was never used has an empty one."""

    def __init__(self, file: LogFile, stream: str, generation: int) -> None:
        self._file = file.open()
        self._clock = file.clock
        self._stream = stream
        self._generation = generation

    def __repr__(self) -> str:
        return f"SqliteLedger({self._stream!r}, generation {self._generation})"

    async def receipts(self, document: str) -> list[Receipt]:
        def read(connection: Connection) -> list[bytes]:
            rows = connection.execute(
                "SELECT body FROM log_receipt WHERE document = ? AND stream = ? AND generation = ? ORDER BY id",
                (name_digest(document, secret(connection)), *self._owner(connection)),
            )
            return [row[0] for row in rows]

        bodies = await self._file.read(read)
        return [msgspec.structs.replace(_RECEIPTS.decode(body), document=document) for body in bodies]

    async def freshness(self, last: int) -> list[tuple[int, int]]:
        def read(connection: Connection) -> list[bytes]:
            rows = connection.execute(
                "SELECT body FROM log_receipt WHERE stream = ? AND generation = ? AND fresh = 1"
                " ORDER BY id DESC LIMIT ?",
                (*self._owner(connection), last),
            )
            return [row[0] for row in rows]

        receipts = map(_RECEIPTS.decode, await self._file.read(read))
        return [(receipt.changed_us, receipt.applied_us) for receipt in receipts]

    async def totals(self) -> Totals:
        first = first_day(self._clock.now_us())

        def read(connection: Connection) -> Totals:
            owner = self._owner(connection)
            counts = connection.execute(
                "SELECT outcome, count FROM log_outcome WHERE stream = ? AND generation = ?", owner
            ).fetchall()
            usage = connection.execute(
                "SELECT day, calls, texts, tokens, reused, replay_tokens, batch_tokens FROM log_usage"
                " WHERE stream = ? AND generation = ?",
                owner,
            ).fetchall()
            days = {day: Usage(*sums) for day, *sums in usage}
            daily = {day: used for day, used in days.items() if day >= first}
            return Totals(dict(counts), sum(days.values(), start=Usage()), daily)

        return await self._file.read(read)

    async def dead(self, states: frozenset[DeadState]) -> list[DeadLetter]:
        def read(connection: Connection) -> list[DeadLetter]:
            rows = connection.execute(
                "SELECT document, epoch, ord, version_partition, version_offset, place_partition, place_offset, reason,"
                f" state, opened_us, attempts FROM log_dead WHERE stream = ? AND generation = ?"
                f" AND state IN ({', '.join('?' * len(states))})"
                " ORDER BY epoch, ord, version_offset, version_partition, document",
                (*self._owner(connection), *sorted(states)),
            )
            return [self._letter(row) for row in rows]

        return await self._file.read(read)

    def _letter(self, row: tuple[bytes, int, int, int, int, int, int, str, str, int, int]) -> DeadLetter:
        document, *numbers, reason, state, opened_us, attempts = row
        epoch, order, partition, offset, *place = numbers
        return DeadLetter(
            generation=self._generation,
            document=document.decode(),
            version=Version(epoch, order, partition, offset),
            place=Place(*place),
            reason=reason,
            state=DeadState(state),
            opened_us=opened_us,
            attempts=attempts,
        )

    async def move(self, document: str, version: Version, expected: DeadState, state: DeadState) -> bool:
        key = letter_key(document, version)
        return await self._file.write(
            lambda connection: move_letter(connection, self._owner(connection), key, expected, state)
        )

    async def close(self) -> None:
        await self._file.close()

    def _owner(self, connection: Connection) -> tuple[int, int]:
        found = find_stream(connection, self._stream)
        return (found[0] if found else 0, self._generation)  # no stream has the number 0


class SqliteRegistry:
    """A Registry."""

    def __init__(self, file: LogFile) -> None:
        self._file = file.open()

    async def read(self, stream: str) -> StreamState:
        return await self._file.read(lambda connection: _state(connection, stream))

    async def advance(self, stream: str, state: StreamState) -> bool:
        after = msgspec.structs.replace(state, serial=state.serial + 1)

        def write(connection: Connection) -> bool:
            if _state(connection, stream).serial != state.serial:
                return False
            connection.execute(
                "INSERT INTO log_registry VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET serial = excluded.serial, body = excluded.body",
                (stream, after.serial, msgspec.json.encode(after)),
            )
            return True

        return await self._file.write(write)

    async def close(self) -> None:
        await self._file.close()


def _state(connection: Connection, stream: str) -> StreamState:
    row = connection.execute("SELECT body FROM log_registry WHERE stream = ?", (stream,)).fetchone()
    return _STATES.decode(row[0]) if row else StreamState()
