"""A folder of text files as a source: each file is a document, its path below the root is the id."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from headwater.clock import Clock
from headwater.errors import Reject, Retry, Unreachable
from headwater.log.codecs.json import delete, upsert
from headwater.log.codecs.oversized import refused
from headwater.log.port import DOUBTFUL, LogWriter, SourcePosition
from headwater.log.redaction import REFUSED
from headwater.model.change import Outgoing, digest
from headwater.recipe.redact.redactor import Redactor
from headwater.sources.patterns import matcher
from headwater.sources.port import Pass
from headwater.sources.scan import Content, Found, Walk, gone, read_file

#: The position's name. Not the root's: a folder that was moved holds the same documents.
SOURCE = "folder"
BATCH_FILES = 500
BATCH_BYTES = 8 << 20
#: A file this young may change again without a new time stamp, so its stamp is not trusted yet.
_YOUNG_NS = 2_000_000_000


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What the position remembers of a file. `mtime_ns` is 0 when the next pass shall read the file again.

    `digest` is that of what went into the log. `rules` name what was taken out of that: by
    others the file is read again.
    """

    size: int
    mtime_ns: int
    digest: bytes
    rules: str = ""


#: Stands before a file's digest when its content is not in the log.
_REFUSED = b"refused "

_ENTRIES = msgspec.msgpack.Decoder(Entry)
#: Of no file: whatever is found is news.
_UNKNOWN = Entry(-1, 0, b"")


class _Step:
    """One append to be: changes, and the position's entries that move with them."""

    def __init__(self) -> None:
        self.changes: list[Outgoing] = []
        self.entries: dict[bytes, bytes | None] = {}
        self.upserts = 0
        self.deletes = 0
        self.size_bytes = 0
        self.skipped: list[tuple[str, str]] = []

    def full(self, more_bytes: int = 0) -> bool:
        """Tell whether so much more would be too much. One larger file alone is not."""
        held = self.size_bytes + more_bytes
        return len(self.entries) >= BATCH_FILES or (bool(self.entries) and held > BATCH_BYTES)

    def upsert(self, content: Content, entry: Entry, time_us: int) -> None:
        change = upsert(content.found.id, content.text, time_us)
        self.changes.append(change)
        self.size_bytes += len(change.value or b"")
        self.upserts += 1
        self.move(content.found.id, entry)

    def refuse(self, index: int, reason: str, known: dict[str, Entry], now_us: int) -> None:
        """Put into the place of a change that the log does not take one that says so, unless the log has it already.

        The next passes read the file again: the limit may have been raised.
        """
        change = self.changes[index]
        document = change.key.decode()
        self.skipped.append((document, reason))
        self.upserts -= 1
        entry = _ENTRIES.decode(self.entries[change.key] or b"")
        entry = Entry(entry.size, 0, digest(_REFUSED + entry.digest), entry.rules)
        before = known.get(document)
        if before is not None and before.digest == entry.digest:
            del self.changes[index], self.entries[change.key]
        else:
            self.changes[index] = refused(change, now_us)
            self.move(document, entry)

    def delete(self, document: str, now_us: int) -> None:
        self.changes.append(delete(document, now_us))
        self.entries[document.encode()] = None
        self.deletes += 1

    def move(self, document: str, entry: Entry) -> None:
        self.entries[document.encode()] = msgspec.msgpack.encode(entry)


class FolderSource:
    """A Source. It reads whole passes; what changed while it was read is left for the next one.

    A file that cannot be read, or is no text any more, is reported by every pass, and its last good version stays.
    One that the log does not take becomes a dead letter: its last good version stays too, and is known to be old.

    Symbolic links are not followed. A folder that is away is waited for (Retry), but if neither this source nor its
    position ever saw it, it is a mistake (Unreachable). The writer belongs to the source, which closes it.

    `redactor` is what the writer takes out, if anything: what the position remembers of a file and what is said of one
    must not hold it either.
    """

    def __init__(
        self, root: Path, include: Sequence[str], writer: LogWriter, clock: Clock, redactor: Redactor | None = None
    ) -> None:
        self._root = root
        self._wanted = matcher(include)
        self._writer = writer
        self._clock = clock
        self._redactor = redactor
        self._rules = redactor.name if redactor else ""
        #: When the last pass of this process began: 0 before there was one.
        self._passed_ns = 0

    def __repr__(self) -> str:
        return f"FolderSource({str(self._root)!r})"

    async def synchronise(self) -> Pass:
        serial, stored = await self._writer.position(SOURCE)
        known = {
            key.decode(): _ENTRIES.decode(value) if value != DOUBTFUL else _UNKNOWN for key, value in stored.items()
        }
        began_ns = self._clock.now_us() * 1000
        walk = await asyncio.to_thread(self._walk, seen=bool(serial))
        upserts = deletes = 0
        skipped = list(walk.skipped)
        # Removals first: what is gone from the folder must not wait for what is large in it.
        steps = (self._delete_steps(walk, known), self._upsert_steps(walk.files, known))
        for some in steps:
            while step := await asyncio.to_thread(next, some, None):
                if await self._append(step, serial, known):
                    serial += 1
                upserts += step.upserts
                deletes += step.deletes
                skipped += step.skipped
        self._passed_ns = began_ns
        return Pass(upserts, deletes, tuple((self._clean(name), reason) for name, reason in skipped))

    async def close(self) -> None:
        await self._writer.close()

    async def _append(self, step: _Step, serial: int, known: dict[str, Entry]) -> bool:
        """Append a step, but for what the log does not take. Tell whether the position moved."""
        while step.entries:
            try:
                await self._writer.append(step.changes, SourcePosition(SOURCE, serial, step.entries))
            except Reject as error:
                if error.index is None:
                    raise
                step.refuse(error.index, error.reason, known, self._clock.now_us())
            else:
                return True
        return False

    def _walk(self, *, seen: bool) -> Walk:
        """Walk the folder; `seen` tells whether the stream ever held anything from it."""
        try:
            return Walk(self._root, self._wanted).run()
        except Retry as away:
            if seen or self._passed_ns or not isinstance(away.__cause__, FileNotFoundError):
                raise
            cure = "Make it, or mend `source.folder` in the configuration"
            raise Unreachable(away.dependency, away.cause, cure) from away

    def _delete_steps(self, walk: Walk, known: dict[str, Entry]) -> Iterator[_Step]:
        present = {found.id for found in walk.files}
        step = _Step()
        for document in sorted(known.keys() - present):
            if self._left(document):
                step.delete(document, self._clock.now_us())
            if step.full():
                yield step
                step = _Step()
        yield step

    def _left(self, document: str) -> bool:
        """Look again at what the walk did not see: files move between folders, and disks go away, while one walks."""
        return not self._wanted(document) or gone(self._root, document)

    def _upsert_steps(self, files: Iterable[Found], known: dict[str, Entry]) -> Iterator[_Step]:
        step = _Step()
        for found in files:
            before = known.get(found.id)
            if before and (before.size, before.mtime_ns, before.rules) == (found.size, found.mtime_ns, self._rules):
                continue
            if step.full(found.size):
                yield step
                step = _Step()
            try:
                self._visit(found, before, step)
            except Reject as error:
                step.skipped.append((found.id, error.reason))
        yield step

    def _visit(self, found: Found, before: Entry | None, step: _Step) -> None:
        """Put a file's change into the step, if it has one. Raise Reject when it cannot be used."""
        if self._clean(found.id) != found.id:
            raise Reject(REFUSED)
        content = read_file(self._root, found)
        if content is None:
            return
        young = self._clock.now_us() * 1000 - found.mtime_ns < _YOUNG_NS
        # Beside the rest of a text, the digest of the whole is as good as a short secret in it.
        held = digest(self._clean(content.text)) if self._redactor else content.digest
        entry = Entry(found.size, 0 if young else found.mtime_ns, held, self._rules)
        if before is None or before.digest != held:
            step.upsert(content, entry, self._changed_us(found, before))
        elif before != entry:
            step.move(found.id, entry)

    def _clean(self, text: str) -> str:
        return self._redactor.text(text) if self._redactor else text

    def _changed_us(self, found: Found, before: Entry | None) -> int:
        """Tell when a changed file came to be as it is.

        A time stamp says when a known file was edited. Of a new one it may be years old, and of one that was copied
        here with its old stamp (`rsync -a`) too: then it lies before a pass that did not see the change, and the change
        came when it is seen.
        """
        edited = before is not None and found.mtime_ns > before.mtime_ns
        if edited and found.mtime_ns >= self._passed_ns - _YOUNG_NS:
            return found.mtime_ns // 1000
        return self._clock.now_us()
