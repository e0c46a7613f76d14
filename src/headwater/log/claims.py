"""Claim checks: what is too large for a record lies in a folder, under its digest, and the record says so.

Nothing in the folder is ever changed or removed: what the log replays must still be there.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from headwater.clock import Ids
from headwater.errors import Reject, Retry
from headwater.log.codecs.oversized import Claim, claim_of, claimed, met, size_of, unmet
from headwater.log.port import LogWriter, SourcePosition
from headwater.model.change import Outgoing, Record

#: What a reader holds at a time of what it fetched; one larger change alone is not too much.
HELD_BYTES = 8 << 20


class ClaimFolder:
    """A folder that all workers and publishers see. It is never made: one that is not there may not be mounted yet."""

    def __init__(self, root: Path, ids: Ids) -> None:
        self._root = root
        self._ids = ids

    def __repr__(self) -> str:
        return f"ClaimFolder({str(self._root)!r})"

    def put(self, value: bytes) -> Claim:
        """Keep bytes, durably. Raise Retry when the folder is away or full."""
        claim = Claim(hashlib.sha256(value).hexdigest(), len(value))
        try:
            self._check()
            if self._read(claim) != value:
                self._write(claim, value)
        except OSError as error:
            raise self._away(error) from error
        return claim

    def get(self, claim: Claim) -> bytes:
        """Return the bytes. Raise Reject when they are not there or damaged, Retry when the folder is away."""
        try:
            value = self._read(claim)
            if value is None:
                self._check()
                raise Reject(f"its bytes are not in the claim check's folder: sha256:{claim.digest}")
        except OSError as error:
            raise self._away(error) from error
        if hashlib.sha256(value).hexdigest() != claim.digest:
            raise Reject(f"its bytes in the claim check's folder are damaged: sha256:{claim.digest}")
        return value

    def _check(self) -> None:
        if not self._root.is_dir():
            raise Retry(f"the claim check's folder {self._root}", "it is not there: make it, or mount it")

    def _read(self, claim: Claim) -> bytes | None:
        try:
            with (self._root / claim.digest).open("rb") as file:
                return file.read(claim.size + 1)
        except FileNotFoundError:
            return None

    def _write(self, claim: Claim, value: bytes) -> None:
        unfinished = self._root / f".{claim.digest}.{self._ids.identity()}"
        try:
            with unfinished.open("xb") as file:
                file.write(value)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self._root / claim.digest)
        finally:
            unfinished.unlink(missing_ok=True)
        folder = os.open(self._root, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _away(self, error: OSError) -> Retry:
        return Retry(f"the claim check's folder {self._root}", error.strerror or type(error).__name__)


class LimitedWriter:
    """A LogWriter for records of a limited size.

    With a folder, what is larger lies there. Without one `append` raises Reject with the index of what is too large,
    and has appended nothing.
    """

    def __init__(self, inner: LogWriter, largest: int, folder: ClaimFolder | None) -> None:
        self._inner = inner
        self._largest = largest
        self._folder = folder

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        await self._inner.append([await self._fitting(it, change) for it, change in enumerate(changes)], position)

    async def _fitting(self, index: int, change: Outgoing) -> Outgoing:
        size = size_of(change)
        if size <= self._largest:
            return change
        if self._folder is None or change.value is None:
            limit = f"log.largest is {self._largest:,}: raise it, or set log.oversized.claim_check"
            raise Reject(f"{size:,} bytes, and {limit}", index)
        # The bytes first: a record never names what is not there.
        return claimed(change, await asyncio.to_thread(self._folder.put, change.value))

    async def position(self, source: str) -> tuple[int, dict[bytes, bytes]]:
        return await self._inner.position(source)

    async def close(self) -> None:
        await self._inner.close()


class Claims:
    """Fetches what records claim, for one reader: a bounded number of bytes at a time."""

    def __init__(self, folder: ClaimFolder) -> None:
        self._folder = folder
        self._found: dict[Claim, bytes | Reject] = {}

    async def fetch(self, records: Sequence[Record]) -> None:
        """Fetch what the first of these records claim, one at least. Raise Retry when the folder is away."""
        wanted: dict[Claim, None] = {}
        size = 0
        for claim in filter(None, map(claim_of, records)):
            size += claim.size if claim not in wanted else 0
            if wanted and size > HELD_BYTES:
                break
            wanted[claim] = None
        self._found = {claim: it for claim, it in self._found.items() if claim in wanted}
        for claim in wanted:
            if claim not in self._found:
                self._found[claim] = await asyncio.to_thread(self._get, claim)

    def _get(self, claim: Claim) -> bytes | Reject:
        try:
            return self._folder.get(claim)
        except Reject as error:
            return error

    def whole(self, record: Record) -> Record | None:
        """Return a record with all that belongs to it. None: it was not fetched yet."""
        claim = claim_of(record) if record.headers else None
        if claim is None:
            return record
        found = self._found.get(claim)
        if found is None:
            return None
        return unmet(record, found.reason) if isinstance(found, Reject) else met(record, found)
