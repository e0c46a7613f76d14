"""Redaction on the way into the log and out of it.

What Headwater appends is redacted first, so the log never holds it. The records of another system's topic are its own:
they are redacted when they are read, before anything is decided by them, so that nothing that is written afterwards
(receipts, digests, dead letters, the index, log lines) has seen them.

An id is not redacted: two documents could become one. A change whose id holds what is taken out is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from headwater.errors import Reject
from headwater.log.codecs import records
from headwater.log.codecs.json import parse
from headwater.log.port import LogWriter, SourcePosition
from headwater.model.change import Change, Outgoing, Record, Undecodable, digest, digest_value
from headwater.model.registry import Epoch
from headwater.recipe.redact.redactor import Redactor

Decode = Callable[[Record, tuple[Epoch, ...]], Change | Undecodable]

REFUSED = "its id holds what the recipe takes out (`redact`), and an id is not redacted: name the document otherwise"


class RedactingWriter:
    """A LogWriter that takes what a redactor finds out of each change.

    `append` raises Reject with the index of a change whose id holds such a thing.
    """

    def __init__(self, inner: LogWriter, redactor: Redactor) -> None:
        self._inner = inner
        self._redactor = redactor

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        # Ids first: whoever appends the others again has not paid for them yet.
        for index, change in enumerate(changes):
            if self._redactor.find(change.key.decode("utf-8", "replace")):
                raise Reject(REFUSED, index)
        await self._inner.append([redacted(change, self._redactor) for change in changes], position)

    async def position(self, source: str) -> tuple[int, dict[bytes, bytes]]:
        return await self._inner.position(source)

    async def close(self) -> None:
        await self._inner.close()


def redacted(change: Outgoing, redactor: Redactor) -> Outgoing:
    """Return a change without what the redactor finds; its id stays.

    It is written anew even where nothing is found: of a key that stands twice only the last value is read.
    """
    if change.value is None:
        return change
    fields = parse(change.value)
    cleaned = {key: it if key == "id" else redactor.value(it, key) for key, it in fields.items()}
    return change._replace(value=msgspec.json.encode(cleaned))


def redacting(decode: Decode, redactor: Redactor) -> Decode:
    """Return what reads records as `decode` does, without what the redactor finds."""

    def read(record: Record, epochs: tuple[Epoch, ...]) -> Change | Undecodable:
        change = decode(record, epochs)
        if redactor.find(change.id):
            reason = change.reason if isinstance(change, Undecodable) else REFUSED
            change = records.undecodable(record, change.version, records.name_of(record), reason)
        if isinstance(change, Undecodable):
            # Beside the rest of its text, the digest of a short secret is as good as the secret.
            value = (record.value or b"").decode("utf-8", "backslashreplace")
            return msgspec.structs.replace(change, digest=digest(redactor.text(value)))
        if change.body is None:
            return change
        body = redactor.value(change.body)
        return change if body == change.body else msgspec.structs.replace(change, body=body, digest=digest_value(body))

    return read
