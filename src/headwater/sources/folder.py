"""A folder of files as a source: each file is a document, its path below the root is the id."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from headwater.clock import Clock
from headwater.documents.identity import documents_identity
from headwater.documents.plain import plain
from headwater.documents.port import Extracted, Reader
from headwater.errors import Reject, Retry, Unreachable
from headwater.log.codecs.json import delete, unreadable, upsert
from headwater.log.codecs.oversized import refused
from headwater.log.port import DOUBTFUL, LogWriter, SourcePosition
from headwater.log.redaction import REFUSED
from headwater.model.change import Outgoing, digest, digest_value
from headwater.recipe.redact.redactor import Redactor
from headwater.sources.port import Pass
from headwater.sources.reading import Asked, Outcome, Reading
from headwater.sources.scan import Found, Walk, read_file
from headwater.sources.selecting import Choice
from headwater.sources.stillness import QUIET_S, Stillness
from headwater.sources.watching import FolderWatch

#: The position's name. Not the root's: a folder that was moved holds the same documents.
SOURCE = "folder"
BATCH_FILES = 500
BATCH_BYTES = 8 << 20
#: A file this young may change again within one tick of its file system's clock, so its stamp is not trusted yet.
_YOUNG_NS = 2_000_000_000


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What the position remembers of a file. `ctime_ns` is 0 when the next pass shall read the file again.

    `digest` is that of what went into the log, `rules` name what was taken out of that, and `reader` what made text of
    the file: by others it is read again. Older versions wrote neither these nor `ctime_ns` and the inode: then it is
    read once more.
    """

    size: int
    mtime_ns: int
    digest: bytes
    ctime_ns: int = 0
    inode: int = 0
    rules: str = ""
    reader: str = ""

    def tells_of(self, found: Found) -> bool:
        """Tell whether this is the file as it was found."""
        return (self.size, self.mtime_ns, self.ctime_ns, self.inode) == found[1:]

    def made_by(self, rules: str, readers: Collection[str]) -> bool:
        """Tell whether what is in the log was made by these rules and one of these readers."""
        return self.rules == rules and self.reader in readers


#: Stands before a file's digest when its content is not in the log: which the log did not take, or nobody could read.
_REFUSED = b"refused "
_UNREADABLE = b"unreadable "
#: Who reads text files. Raise it when another body comes out of the same bytes.
_PLAIN = "plain 1"

_ENTRIES = msgspec.msgpack.Decoder(Entry)
#: Of no file: whatever is found is news.
_UNKNOWN = Entry(-1, 0, b"")


def _known(stored: Mapping[bytes, bytes]) -> dict[str, Entry]:
    return {key.decode(): _ENTRIES.decode(value) if value != DOUBTFUL else _UNKNOWN for key, value in stored.items()}


class _Step:
    """One append to be: changes, and the position's entries that move with them."""

    def __init__(self) -> None:
        self.changes: list[Outgoing] = []
        self.entries: dict[bytes, bytes | None] = {}
        self.upserts = 0
        self.deletes = 0
        self.size_bytes = 0
        self.skipped: list[tuple[str, str]] = []
        self.again_s: float | None = None

    def full(self, more_bytes: int = 0) -> bool:
        """Tell whether so much more would be too much. One larger file alone is not."""
        held = self.size_bytes + more_bytes
        return len(self.entries) >= BATCH_FILES or (bool(self.entries) and held > BATCH_BYTES)

    def put(self, document: str, outcome: Extracted | Reject, entry: Entry, before: Entry | None, time_us: int) -> None:
        """Tell what was read of a file, or that nobody can read it, if that is news."""
        if before is not None and before.digest == entry.digest:
            if before != entry:
                self.move(document, entry)
            return
        if isinstance(outcome, Reject):
            change = unreadable(document, outcome.reason, time_us)
        else:
            body = outcome.body(document)
            change = upsert(document, body.pop("text"), time_us, body)
            self.upserts += 1
        self.changes.append(change)
        self.size_bytes += len(change.value or b"")
        self.move(document, entry)

    def refuse(self, index: int, reason: str, known: Mapping[str, Entry], now_us: int) -> None:
        """Put into the place of a change that the log does not take one that says so, unless the log has it already.

        The file is to be read again: the limit may have been raised. A delete is left to the next pass.
        """
        change = self.changes[index]
        document = change.key.decode()
        self.skipped.append((document, reason))
        kept = self.entries[change.key]
        if kept is None:
            self.deletes -= 1
            del self.changes[index], self.entries[change.key]
            return
        self.upserts -= 1
        entry = _ENTRIES.decode(kept)
        entry = msgspec.structs.replace(entry, mtime_ns=0, ctime_ns=0, digest=digest(_REFUSED + entry.digest))
        before = known.get(document)
        if before is not None and before.digest == entry.digest:
            del self.changes[index], self.entries[change.key]
        else:
            self.changes[index] = refused(change, now_us)
            self.move(document, entry)

    def leave(self, wait_s: float) -> None:
        """Leave a file to a later pass."""
        self.again_s = max(self.again_s or 0.0, wait_s)

    def delete(self, document: str, now_us: int) -> None:
        self.changes.append(delete(document, now_us))
        self.entries[document.encode()] = None
        self.deletes += 1

    def move(self, document: str, entry: Entry) -> None:
        self.entries[document.encode()] = msgspec.msgpack.encode(entry)


class FolderSource:
    """A Source. It reads whole passes; what changed while it was read is left for the next one.

    A file that changed a moment ago is left too, until it stands still: it may not be whole yet. One that never does
    is reported, and its last good version stays.

    What is more than plain text goes to the reader, and no pass waits for it: a later one appends what became of it.
    A document that the reader rejects becomes a dead letter, once until it changes or parsers do, and so does one that
    the log does not take: its last good version stays, and is known to be old. A file that cannot be opened, or is too
    large, is no change: it is reported by every pass, and its last good version stays.

    Symbolic links are not followed. A folder that is away is waited for (Retry), but if neither this source nor its
    position ever saw it, it is a mistake (Unreachable). Writer and reader belong to the source, which closes them.

    `redactor` is what the writer takes out, if anything: what the position remembers of a file and what is said of one
    must not hold it either.
    """

    def __init__(
        self,
        root: Path,
        choice: Choice,
        writer: LogWriter,
        clock: Clock,
        reader: Reader,
        watch: FolderWatch | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self._root = root
        self._choice = choice
        self._writer = writer
        self._clock = clock
        self._redactor = redactor
        self._rules = redactor.name if redactor else ""
        self._watch = watch
        self._reading = Reading(reader)
        self._parsers = digest(documents_identity()).hex()[:16]
        #: What the log did not take after it was read: not again by this process, whose limits stay as they are.
        self._turned_away: dict[str, tuple[Found, str]] = {}
        self._stillness = Stillness()
        #: When the last pass of this process began: 0 before there was one.
        self._passed_ns = 0

    def __repr__(self) -> str:
        return f"FolderSource({str(self._root)!r})"

    async def synchronise(self) -> Pass:
        serial, stored = await self._writer.position(SOURCE)
        known = await asyncio.to_thread(_known, stored)
        began_ns = self._clock.now_us() * 1000
        self._stillness.turn()
        walk = await asyncio.to_thread(self._walk, seen=bool(serial))
        if self._watch is not None and walk.again_s is None:  # else it did not see all the folders
            self._watch.cover(walk.folders, walk.selection.matters)
        outcomes = await self._reading.take()
        upserts = deletes = 0
        again_s = walk.again_s
        skipped = list(walk.skipped)
        # Removals first: what is gone from the folder must not wait for what is large in it.
        steps = (
            self._delete_steps(walk, known),
            self._outcome_steps(outcomes, walk.files, known),
            self._upsert_steps(walk.files, known, skipped),
        )
        for some in steps:
            while step := await asyncio.to_thread(next, some, None):
                if await self._append(step, serial, known):
                    serial += 1
                upserts += step.upserts
                deletes += step.deletes
                skipped += step.skipped
                again_s = max(filter(None, (again_s, step.again_s)), default=None)
        self._reading.gather()
        self._passed_ns = began_ns
        told = tuple((self._clean(name), reason) for name, reason in skipped)
        return Pass(upserts, deletes, told, again_s, len(self._reading))

    async def changed(self) -> None:
        waits = [asyncio.ensure_future(self._reading.answered())]
        if self._watch is not None:
            waits.append(asyncio.ensure_future(self._watch.changed()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def close(self) -> None:
        if self._watch is not None:
            await self._watch.close()
        await self._reading.close()
        await self._writer.close()

    async def _append(self, step: _Step, serial: int, known: dict[str, Entry]) -> bool:
        """Append a step, but for what the log does not take. Tell whether the position moved.

        What it moves is `known` from then on.
        """
        while step.entries:
            try:
                await self._writer.append(step.changes, SourcePosition(SOURCE, serial, step.entries))
            except Reject as error:
                if error.index is None:
                    raise
                self._turn_away(step, error.index, error.reason)
                step.refuse(error.index, error.reason, known, self._clock.now_us())
            else:
                known |= {key.decode(): _ENTRIES.decode(it) for key, it in step.entries.items() if it is not None}
                return True
        return False

    def _turn_away(self, step: _Step, index: int, reason: str) -> None:
        key = step.changes[index].key
        kept = step.entries[key]
        if kept is None:
            return  # a delete: the next pass tries it again
        entry = _ENTRIES.decode(kept)
        if entry.reader == self._parsers:
            found = Found(key.decode(), entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode)
            self._turned_away[found.id] = found, reason

    def _walk(self, *, seen: bool) -> Walk:
        """Walk the folder; `seen` tells whether the stream ever held anything from it."""
        try:
            return Walk(self._root, self._choice, self._moving_s).run()
        except Retry as away:
            if seen or self._passed_ns or not isinstance(away.__cause__, FileNotFoundError):
                raise
            cure = "Make it, or mend `source.folder` in the configuration"
            raise Unreachable(away.dependency, away.cause, cure, code="source-unusable") from away

    def _delete_steps(self, walk: Walk, known: dict[str, Entry]) -> Iterator[_Step]:
        present = {found.id for found in walk.files}
        self._turned_away = {it: told for it, told in self._turned_away.items() if it in present}
        step = _Step()
        for document in sorted(known.keys() - present):
            if walk.left(document):
                step.delete(document, self._clock.now_us())
            if step.full():
                yield step
                step = _Step()
        yield step

    def _outcome_steps(
        self, outcomes: Iterable[Outcome], files: Iterable[Found], known: Mapping[str, Entry]
    ) -> Iterator[_Step]:
        """Take what was read since the last pass, but not of files that changed meanwhile, or that another worker's
        pass has told of.
        """
        step = _Step()
        present = set(files) if outcomes else set()
        for (found, time_us), outcome in outcomes:
            before = known.get(found.id)
            if found not in present or (before and self._is_current(before, found)):
                continue
            if isinstance(outcome, Extracted) and step.full(len(outcome.text)):
                yield step
                step = _Step()
            if isinstance(outcome, Extracted | Reject):
                step.put(found.id, outcome, self._entry(found, outcome, self._parsers), before, time_us)
            elif outcome is not None:
                step.skipped.append((found.id, str(outcome)))
                step.leave(1.0)  # the machine may do better by then
        yield step

    def _upsert_steps(
        self, files: Iterable[Found], known: Mapping[str, Entry], skipped: Iterable[tuple[str, str]]
    ) -> Iterator[_Step]:
        """Look at what is new. What this pass has skipped by the time that this begins is the next one's."""
        told = {name for name, _ in skipped}
        step = _Step()
        for found in files:
            if found.id in told:
                continue
            before = known.get(found.id)
            if (before and self._is_current(before, found)) or self._reading.awaits(found):
                continue
            if step.full(found.size):
                yield step
                step = _Step()
            try:
                self._visit(found, before, step)
            except Reject as error:
                step.skipped.append((found.id, error.reason))
        yield step

    def _is_current(self, entry: Entry, found: Found) -> bool:
        return entry.tells_of(found) and entry.made_by(self._rules, (_PLAIN, self._parsers))

    def _visit(self, found: Found, before: Entry | None, step: _Step) -> None:
        """Put a file's change into the step, if it has one, or have it read. Raise Reject when it cannot be used."""
        if self._clean(found.id) != found.id:
            raise Reject(REFUSED)
        turned_away, reason = self._turned_away.get(found.id, (None, ""))
        if turned_away == found:
            raise Reject(reason)
        # From before it is read: what changes meanwhile, within one tick of its time stamp, is found by the next pass.
        age_ns = self._age_ns(found)
        if wait_s := self._moving_s(found):
            step.leave(wait_s)
            return
        data = read_file(self._root, found)
        if data is None:
            step.leave(QUIET_S)
            return
        time_us = self._changed_us(found, before)
        text = plain(found.id, data)
        if text is not None:
            # Its stamp is not trusted yet, so the next pass reads it once more.
            seen = found._replace(ctime_ns=0) if age_ns < _YOUNG_NS else found
            step.put(found.id, text, self._entry(seen, text, _PLAIN), before, time_us)
        elif 0 <= age_ns < _YOUNG_NS:
            step.leave((_YOUNG_NS - age_ns) / 1e9)  # reading it twice costs more than waiting
        else:
            self._reading.ask(Asked(found, time_us), partial(self._load, found))

    def _load(self, found: Found) -> bytes | None:
        """Read a file whose turn has come. What cannot be opened now is the next pass's to tell."""
        try:
            return read_file(self._root, found)
        except Reject:
            return None

    def _entry(self, found: Found, outcome: Extracted | Reject, reader: str) -> Entry:
        if isinstance(outcome, Reject):
            held = digest(_UNREADABLE + outcome.reason.encode())
        else:
            # Beside the rest of a text, the digest of the whole is as good as a short secret in it.
            held = digest_value(self._cleaned(outcome.body(found.id)))
        return Entry(found.size, found.mtime_ns, held, found.ctime_ns, found.inode, self._rules, reader)

    def _cleaned(self, body: dict[str, Any]) -> dict[str, Any]:
        return {key: self._redactor.value(it, key) for key, it in body.items()} if self._redactor else body

    def _clean(self, text: str) -> str:
        return self._redactor.text(text) if self._redactor else text

    def _age_ns(self, found: Found) -> int:
        return self._clock.now_us() * 1000 - found.ctime_ns

    def _moving_s(self, found: Found) -> float:
        """Return how long a file is to be left alone. Raise Reject when it never stands still."""
        now_s = self._clock.monotonic()
        wait_s = self._stillness.wait_s(found.id, found, self._age_ns(found) / 1e9, now_s)
        if wait_s and self._stillness.restless(found.id, now_s):
            raise Reject("is being written all the time")
        return wait_s

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
