"""Claim checks: what is too large for a record lies in a folder, under its digest, and the record says so.

Nothing in the folder is ever changed or removed: what the log replays must still be there.

Where nothing is mounted there is still a folder, an empty one. So the real one holds a marker, which a person makes and
Headwater never does: whatever made it by itself would sooner or later make it beneath a share that is away.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from headwater.clock import Ids
from headwater.errors import Reject, Retry
from headwater.log.codecs.oversized import Claim, claim_of, claimed, met, size_of, unmet
from headwater.log.health import FoundClaims
from headwater.log.port import LogWriter, SourcePosition
from headwater.model.change import Outgoing, Record

#: What a reader holds at a time of what it fetched; one larger change alone is not too much.
HELD_BYTES = 8 << 20
#: A file of this name says that the folder is the one that is meant.
MARKER = ".headwater-claims"


def look(root: Path) -> FoundClaims:
    """Return what there is of a folder. Writes nothing."""
    fault, writable = "", False
    try:
        with _opened(root) as folder:
            writable = os.access(".", os.W_OK | os.X_OK, dir_fd=folder)
    except OSError as error:
        fault = _told(error)
    return FoundClaims(str(root), fault, _cure(root), writable)


class ClaimFolder:
    """A folder that all workers and publishers see. Without its marker it is away."""

    def __init__(self, root: Path, ids: Ids) -> None:
        self._root = root
        self._ids = ids

    def __repr__(self) -> str:
        return f"ClaimFolder({str(self._root)!r})"

    def put(self, value: bytes) -> Claim:
        """Keep bytes, durably. Raise Retry when the folder is away or full."""
        claim = Claim(hashlib.sha256(value).hexdigest(), len(value))
        try:
            with _opened(self._root) as folder:
                if _read(folder, claim) != value:
                    self._write(folder, claim, value)
        except OSError as error:
            raise self._away(error) from error
        return claim

    def get(self, claim: Claim) -> bytes:
        """Return the bytes. Raise Reject when they are not there or damaged, Retry when the folder is away."""
        try:
            with _opened(self._root) as folder:
                value = _read(folder, claim)
        except OSError as error:
            raise self._away(error) from error
        if value is None:
            raise Reject(f"its bytes are not in the claim check's folder: sha256:{claim.digest}")
        if hashlib.sha256(value).hexdigest() != claim.digest:
            raise Reject(f"its bytes in the claim check's folder are damaged: sha256:{claim.digest}")
        return value

    def _write(self, folder: int, claim: Claim, value: bytes) -> None:
        unfinished = f".{claim.digest}.{self._ids.identity()}"
        try:
            with _file(folder, unfinished, "xb") as file:
                file.write(value)
                file.flush()
                os.fsync(file.fileno())
            os.rename(unfinished, claim.digest, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(unfinished, dir_fd=folder)
            raise
        os.fsync(folder)

    def _away(self, error: OSError) -> Retry:
        said = _told(error)
        if isinstance(error, FileNotFoundError):
            said += f". {_cure(self._root)}"
        return Retry(f"the claim check's folder {self._root}", said)


@contextmanager
def _opened(root: Path) -> Iterator[int]:
    """Open a folder that has its marker; else raise OSError. What is done in it stays in it, whatever is mounted or
    unmounted meanwhile.
    """
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            os.stat(MARKER, dir_fd=folder)
        except FileNotFoundError as error:
            what = f"there is no {MARKER} in it, as where nothing is mounted"
            raise FileNotFoundError(errno.ENOENT, what) from error
        yield folder
    finally:
        os.close(folder)


def _file(folder: int, name: str, mode: str) -> IO[bytes]:
    return open(name, mode, opener=partial(os.open, mode=0o666, dir_fd=folder))


def _read(folder: int, claim: Claim) -> bytes | None:
    try:
        with _file(folder, claim.digest, "rb") as file:
            return file.read(claim.size + 1)
    except FileNotFoundError:
        return None


def _told(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _cure(root: Path) -> str:
    """Return what a person does about a folder that is away."""
    new = f"mkdir -p {shlex.quote(str(root))} && touch {shlex.quote(str(root / MARKER))}"
    return f"Mount it. Only a new one is made, once for all machines: `{new}`"


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
