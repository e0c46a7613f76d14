"""Redaction on the way into the log and out of it.

What Headwater appends is redacted first, so the log never holds it. The records of another system's topic are its own:
they are redacted when they are read, before anything is decided by them, so that nothing that is written afterwards
(receipts, digests, dead letters, the index, log lines) has seen them.

An id is not redacted: two documents could become one. A change whose id holds what is taken out is refused, but for a
delete: the log may hold that id from before, and nothing else would ever take the document away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from headwater.errors import Reject
from headwater.log.codecs import records
from headwater.log.codecs.json import parse
from headwater.log.port import LogWriter, SourcePosition
from headwater.model.change import Change, Op, Outgoing, Record, Undecodable, digest, digest_value
from headwater.model.registry import Epoch
from headwater.recipe.redact.redactor import Redactor

Decode = Callable[[Record, tuple[Epoch, ...]], Change | Undecodable]

#: Of what cannot be read: beside the rest of a record, the digest of a short secret in it is as good as the secret.
_UNTOLD = digest(b"")

REFUSED = "its id holds what the recipe takes out (`redact`), and an id is not redacted: name the document otherwise"


class RedactingWriter:
    """A LogWriter that takes what a redactor finds out of each change.

    `append` raises Reject with the index of a change whose id holds such a thing, unless it is a delete. It works on a
    thread: what stands in a text decides how long that takes.
    """

    def __init__(self, inner: LogWriter, redactor: Redactor) -> None:
        self._inner = inner
        self._redactor = redactor

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        await self._inner.append(await asyncio.to_thread(self._cleaned, changes), position)

    def _cleaned(self, changes: Sequence[Outgoing]) -> list[Outgoing]:
        # Ids first: whoever appends the others again has not paid for them yet.
        for index, change in enumerate(changes):
            if self._redactor.find(change.key.decode("utf-8", "replace")) and not _deletes(change):
                raise Reject(REFUSED, index)
        return [redacted(change, self._redactor) for change in changes]

    async def position(self, source: str) -> tuple[int, dict[bytes, bytes]]:
        return await self._inner.position(source)

    async def close(self) -> None:
        await self._inner.close()


def _deletes(change: Outgoing) -> bool:
    return change.value is None or parse(change.value).get("op") == "delete"


def redacted(change: Outgoing, redactor: Redactor) -> Outgoing:
    """Return a change without what the redactor finds; its id stays.

    It is written anew even where nothing is found: of a key that stands twice only the last value is read.
    """
    if change.value is None:
        return change
    fields = parse(change.value)
    named = {"id": fields.pop("id")} if "id" in fields else {}
    value = msgspec.json.encode({**named, **redactor.value(fields)})
    return change._replace(value=value, headers=tuple(_told(name, it, redactor) for name, it in change.headers))


def _told(name: str, value: bytes, redactor: Redactor) -> tuple[str, bytes]:
    """Return a header. Only that which tells why a document cannot be read holds words."""
    reason = records.unreadable_for([(name, value)])
    return name, value if reason is None else redactor.text(reason).encode()


def redacting(decode: Decode, redactor: Redactor) -> Decode:
    """Return what reads records as `decode` does, without what the redactor finds."""

    def read(record: Record, epochs: tuple[Epoch, ...]) -> Change | Undecodable:
        change = decode(record, epochs)
        if redactor.find(change.id):
            name = records.name_of(record)
            if isinstance(change, Change) and change.op is not Op.DELETE:
                change = records.undecodable(record, change.version, name, REFUSED)
            else:
                # No index that was built with this redaction has a document of that id: its delete deletes nothing.
                change = msgspec.structs.replace(change, id=name)
        if isinstance(change, Undecodable):
            return msgspec.structs.replace(change, digest=_UNTOLD, reason=redactor.text(change.reason))
        if change.body is None:
            return change
        body = redactor.value(change.body)
        return change if body == change.body else msgspec.structs.replace(change, body=body, digest=digest_value(body))

    return read
