"""Verification: derives again what the index must hold, and compares.

The newest change of each document before a frontier, the committed offsets, decides. Three passes: one over the log,
which keeps no more of a document than where its newest good change lies; a second one over it, which derives those
changes and keeps digests of what came out; one over the index, which compares. What looks wrong is looked at a second
time at a later frontier, since a worker may be at work; only what still looks wrong then counts. A document that runs
ahead of the frontier is held against the change that it claims to come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np

from headwater.embedding.answers import NORM_TOLERANCE
from headwater.engine.ordering import Waiting
from headwater.engine.plan import draft
from headwater.errors import Misconfigured, Reject, Unreachable
from headwater.indexes.port import IndexReader, Stored, Torn, TornDocuments
from headwater.log.port import Ledger, LogHistory, Registry, Watermarks
from headwater.model.change import Change, Op, Record, digest, digest_value
from headwater.model.document import Recipe
from headwater.model.generation import Generation
from headwater.model.manifest import Cause, ChunkRef, Manifest, State
from headwater.model.receipt import DeadState
from headwater.model.registry import Epoch, epoch_of
from headwater.model.version import Place, Version, compare

#: As many findings are told to people one by one; the counts are whole.
TOLD = 100

_PAGE = 128
#: The states of dead letters whose changes count no more: an older one of their document may.
BURIED = frozenset({DeadState.OPEN, DeadState.RETRYING, DeadState.DISCARDED})
#: They end a document at the version that it has, so the log's newest change may well be an upsert.
_ENDING = frozenset({Cause.POLICY, Cause.SWEEP, Cause.RETENTION, Cause.TAKE_OVER})


class Subject(msgspec.Struct, frozen=True):
    """What is verified: a stream's log, and one index generation. `recipe` and `decode` are those of the worker."""

    stream: str
    history: LogHistory
    ledger: Ledger
    registry: Registry
    reader: IndexReader
    recipe: Callable[[int], Recipe]
    decode: Callable[[Record, tuple[Epoch, ...]], Waiting]


class Kind(StrEnum):
    """What can be wrong with a document in the index."""

    MISSING = "missing"
    STALE = "stale"
    RESURRECTED = "resurrected"
    DUPLICATE = "duplicate"
    ORPHAN = "orphan"
    UNVERIFIABLE = "unverifiable"


class Finding(NamedTuple):
    """One document that is not as it must be, why, and where the change lies that it must come from.

    Rows that no scan shows make one finding for them all, of no document: its id is empty.
    """

    id: str
    kind: Kind
    reason: str
    place: Place | None = None


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `documents` are those that are live in the index or must be.

    `unverifiable` ones do not count against `ok`: the log no longer holds what they came from. `findings` names the
    first of them all, for people.
    """

    documents: int
    missing: int
    stale: int
    orphans: int
    duplicates: int
    resurrected: int
    unverifiable: int
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the index holds exactly what the log says."""
        return not (self.missing or self.stale or self.orphans or self.duplicates or self.resurrected)

    def shape(self) -> dict[str, Any]:
        """Return it as `verify --json` prints it."""
        names = ("documents", "missing", "stale", "orphans", "duplicates", "resurrected", "unverifiable", "ok")
        return {name: getattr(self, name) for name in names}


class Wanted(NamedTuple):
    """Where a document's newest good change lies, and what it makes of it. `state` None: the change is no change."""

    version: Version
    place: Place
    state: State | None
    digest: bytes


async def verify(subject: Subject, *, deep: bool = True) -> Verification:
    """Compare the index with the log. `deep` looks at each vector's numbers, not only at its size.

    Raise Misconfigured when the recipe is not the one that the index was built with, Retry when a dependency is away.
    """
    survey = await open_survey(subject, deep=deep)
    return await survey.run()


async def open_survey(subject: Subject, *, deep: bool = True) -> Survey:
    """Read what a survey needs to know at its start."""
    state = await subject.registry.read(subject.stream)
    generation = await subject.reader.generation()
    recipe = subject.recipe(state.recipe)
    if recipe.fingerprints != generation.fingerprints:
        raise Misconfigured(
            f"streams.{subject.stream}.recipe",
            f"the recipe that index generation {generation.number} was built with",
            "another one",
            hint="an index can only be verified with its own recipe",
            code="made-otherwise",
        )
    return Survey(subject, recipe, state.epochs, generation, deep=deep)


class Survey:
    """One verification, with all that it found: `findings` by document."""

    def __init__(
        self, subject: Subject, recipe: Recipe, epochs: tuple[Epoch, ...], generation: Generation, *, deep: bool
    ) -> None:
        self._subject = subject
        self.recipe = recipe
        self._epochs = epochs
        self.dimensions = generation.dimensions
        self._deep = deep
        self._marks: Mapping[int, Watermarks] = {}
        self._read: dict[int, int] = {}
        self._wanted: dict[str, Wanted] = {}
        self._made: dict[Place, _Made | None] = {}
        self._unnamed: dict[str, int] = {}
        self.findings: dict[str, list[Finding]] = {}
        self.orphans = 0

    async def run(self) -> Verification:
        """Look at everything once, and at what looks wrong twice."""
        await self._follow()
        orphans = await self._subject.reader.orphans()
        unseen = set(self._wanted)
        live = 0
        async for entry in _entries(self._subject.reader):
            document = _id_of(entry)
            unseen.discard(document)
            live += self._is_live(entry)
            await self._note(document, entry)
        for document in unseen:
            await self._note(document, None)
        if orphans or self.findings:
            await self._follow()
            for page in _pages(list(self.findings)):
                await self._again(page)
            orphans = min(orphans, await self._subject.reader.orphans())
        self.orphans = orphans
        return self._summary(live)

    async def _again(self, ids: Sequence[str]) -> None:
        found = await look(self._subject.reader, ids)
        for document in ids:
            await self._note(document, found.get(document))

    def _is_live(self, entry: Stored | Torn) -> bool:
        if isinstance(entry, Stored):
            return entry.manifest.state is State.LIVE
        wanted = self._wanted.get(entry.id)
        return wanted is not None and wanted.state is State.LIVE

    async def _note(self, document: str, entry: Stored | Torn | None) -> None:
        self._unnamed.pop(document, None)
        if isinstance(entry, Stored) and (unnamed := _unnamed(entry)):
            self._unnamed[document] = unnamed
        judged = self._judge_torn(entry) if isinstance(entry, Torn) else self._judge(document, entry)
        if findings := await judged:
            self.findings[document] = findings
        else:
            self.findings.pop(document, None)

    def _summary(self, live: int) -> Verification:
        found = [finding for findings in self.findings.values() for finding in findings]
        kinds = Counter(finding.kind for finding in found)
        lost = self.orphans - sum(self._unnamed.values())
        if lost > 0:
            found.insert(0, Finding("", Kind.ORPHAN, f"rows that belong to no document: {lost}"))
        return Verification(
            documents=live + kinds[Kind.MISSING],
            missing=kinds[Kind.MISSING],
            stale=kinds[Kind.STALE],
            orphans=self.orphans,
            duplicates=kinds[Kind.DUPLICATE],
            resurrected=kinds[Kind.RESURRECTED],
            unverifiable=kinds[Kind.UNVERIFIABLE],
            findings=tuple(islice(found, TOLD)),
        )

    # --- the log

    async def _follow(self) -> None:
        """Take in what was committed since the last time."""
        subject = self._subject
        self._marks = await subject.history.watermarks()
        if not self._epochs and any(marks.committed > marks.low for marks in self._marks.values()):
            raise Unreachable(
                "the registry",
                f"it does not know stream {subject.stream!r}",
                "Run `headwater run` first",
                code="nothing-yet",
            )
        # Read behind the frontier, so that what was committed as dead is known to be.
        letters = await subject.ledger.dead(BURIED)
        buried = {(letter.document, letter.version) for letter in letters}
        starts = {at: max(self._read.get(at, 0), marks.low) for at, marks in self._marks.items()}
        for partition, start in starts.items():
            async for record in subject.history.read(partition, start, self._marks[partition].committed):
                change = subject.decode(record, self._epochs)
                if (change.id, change.version) not in buried:
                    self._want(change)
        # What is the newest change of its document is known only now. Read in order: one by one, a log that is not on
        # this machine takes too long.
        newest = {it.place for it in self._wanted.values() if it.state is State.LIVE} - self._made.keys()
        for partition, start in starts.items():
            end = self._marks[partition].committed
            if any(place.partition == partition for place in newest):
                async for record in subject.history.read(partition, start, end):
                    if record.place in newest:
                        self._made[record.place] = self._make(subject.decode(record, self._epochs))
            self._read[partition] = max(start, end)

    def _make(self, change: Waiting | None) -> _Made | None:
        """Derive a change again. None: its recipe refuses it, or the log does not hold it any more."""
        if not isinstance(change, Change):
            return None
        try:
            derived = self.recipe.derive(change)
        except Reject:
            return None
        made = draft(change, None, derived, self.recipe.number, 0).manifest
        return _Made(_digest_of(made.chunks), made.payload_digest)

    def _want(self, change: Waiting) -> None:
        known = self._wanted.get(change.id)
        wanted = self._wanted_by(change)
        order = compare(wanted.version, known.version) if known else 1
        # Copies may repeat a version; at an equal one a removal wins.
        if order > 0 or (order == 0 and wanted.state is State.DELETED):
            self._wanted[change.id] = wanted

    def _wanted_by(self, change: Waiting) -> Wanted:
        state = None
        if isinstance(change, Change):
            passes = change.op is Op.DELETE or self.recipe.passes(change)
            state = State.DELETED if change.op is Op.DELETE else State.LIVE if passes else State.FILTERED
        return Wanted(change.version, change.place, state, change.digest)

    async def change_at(self, place: Place) -> Waiting | None:
        """Read one change again. None: the log does not hold it any more."""
        if place.partition not in self._marks:
            return None
        async for record in self._subject.history.read(place.partition, place.offset, place.offset + 1):
            return self._subject.decode(record, self._epochs)
        return None

    # --- one document

    async def _judge(self, document: str, stored: Stored | None) -> list[Finding]:
        manifest = stored.manifest if stored and stored.manifest.state is not State.ABSENT else None
        wanted = self._wanted.get(document)
        if manifest is None or stored is None:
            findings = [] if wanted is None or wanted.state in _GONE else [_missing(document, wanted)]
        elif wanted is None or compare(manifest.version, wanted.version) > 0:
            findings = await self._judge_ahead(manifest, stored)
        else:
            findings = await self._judge_against(manifest, stored, wanted)
        if stored is not None:
            findings += _rows_amiss(stored, findings[0].place if findings else stored.manifest.place)
        return findings

    async def _judge_torn(self, torn: Torn) -> list[Finding]:
        """Say what a document whose manifest cannot be read must come from: the newest change that it can claim."""
        wanted = self._wanted.get(torn.id)
        place = wanted.place if wanted else None
        claimed = await self.change_at(torn.version.place)
        if (
            claimed is not None
            and (claimed.id, claimed.version) == (torn.id, torn.version)
            and (wanted is None or compare(claimed.version, wanted.version) > 0)
        ):
            place = claimed.place
        return [Finding(torn.id, Kind.STALE, "its manifest cannot be read", place)]

    async def _judge_ahead(self, manifest: Manifest, stored: Stored) -> list[Finding]:
        """Judge a document whose version is newer than any before the frontier, by the change that it claims."""
        change = await self.change_at(manifest.place)
        if change is not None and (change.id, change.version) == (manifest.id, manifest.version):
            return await self._judge_against(manifest, stored, self._wanted_by(change))
        if self._contradicted(manifest, found=change is not None):
            return [Finding(manifest.id, Kind.STALE, "the log holds another change where this one claims to come from")]
        return [Finding(manifest.id, Kind.UNVERIFIABLE, "the log no longer holds its change")]

    def _contradicted(self, manifest: Manifest, *, found: bool) -> bool:
        """Tell whether the log, as far as it reaches back, rules out that this version ever stood in it."""
        place, version = manifest.place, manifest.version
        marks = self._marks.get(place.partition)
        native = version.place == place
        if marks is None or not native or not self._epochs or place.offset < marks.low:
            return False
        if epoch_of(self._epochs, place) != version.epoch:
            return False
        return found or place.offset >= marks.high

    async def _judge_against(self, manifest: Manifest, stored: Stored, wanted: Wanted) -> list[Finding]:
        older = compare(manifest.version, wanted.version) < 0
        if wanted.state is None:
            return [Finding(manifest.id, Kind.STALE, _NOWHERE, wanted.place)]
        if wanted.state in _GONE and manifest.state is State.LIVE:
            return [Finding(manifest.id, Kind.RESURRECTED, f"it is {wanted.state} in the log", wanted.place)]
        if manifest.state is State.DELETED and manifest.cause in _ENDING and not older:
            return []
        if wanted.state is State.LIVE and manifest.state is not State.LIVE:
            return [_missing(manifest.id, wanted)]
        if older:
            reason = f"the index holds version {manifest.version}, the log {wanted.version}"
            return [Finding(manifest.id, Kind.STALE, reason, wanted.place)]
        reason = await self._difference(manifest, stored, wanted)
        return [Finding(manifest.id, Kind.STALE, reason, wanted.place)] if reason else []

    async def _difference(self, manifest: Manifest, stored: Stored, wanted: Wanted) -> str:
        """Say what differs between a document and its change of the same version, or nothing."""
        if manifest.state is not wanted.state:
            return f"it is {manifest.state} in the index and {wanted.state} in the log"
        if manifest.body_digest != wanted.digest:
            return "it was made of another body"
        if manifest.state is not State.LIVE:
            return ""
        if wanted.place in self._made:
            made = self._made[wanted.place]
        else:
            change = await self.change_at(wanted.place)
            if change is None:
                return "its change left the log meanwhile"
            made = self._make(change)
        if made is None:
            return _NOWHERE
        if _digest_of(manifest.chunks) != made.chunks:
            return "its chunks are not those that the recipe makes"
        if not manifest.payload_digest == made.payload_digest == digest_value(manifest.payload):
            return "its payload is not the one that the recipe makes"
        sound = sound_rows(stored, self.dimensions, deep=self._deep)
        unsound = sum((chunk.digest, chunk.occurrence) not in sound for chunk in manifest.chunks)
        if not unsound:
            return ""
        return f"{unsound} of its rows are not there, or hold another text, or a vector of another size or length"


class _Made(NamedTuple):
    """What the recipe makes of a change: digests of its chunks and of its payload."""

    chunks: bytes
    payload_digest: bytes


def _digest_of(chunks: Sequence[ChunkRef]) -> bytes:
    return digest(msgspec.msgpack.encode(chunks))


_GONE = (State.DELETED, State.FILTERED)
_NOWHERE = "its newest change cannot be applied, and is not among the dead letters"


def _missing(document: str, wanted: Wanted) -> Finding:
    reason = _NOWHERE if wanted.state is None else f"the index does not show version {wanted.version}"
    return Finding(document, Kind.MISSING, reason, wanted.place)


def _rows_amiss(stored: Stored, place: Place | None) -> list[Finding]:
    """Find rows that the manifest does not name, and names that it gives twice."""
    document = stored.manifest.id
    names = Counter((chunk.digest, chunk.occurrence) for chunk in stored.manifest.chunks)
    findings = []
    if unnamed := _unnamed(stored):
        findings.append(Finding(document, Kind.ORPHAN, f"{unnamed} rows that its manifest does not name", place))
    if names and max(names.values()) > 1:
        findings.append(Finding(document, Kind.DUPLICATE, "its manifest names a row twice", place))
    return findings


def _unnamed(stored: Stored) -> int:
    return len(stored.rows.keys() - {(chunk.digest, chunk.occurrence) for chunk in stored.manifest.chunks})


def sound_rows(stored: Stored, dimensions: int, *, deep: bool) -> set[tuple[bytes, int]]:
    """Return the rows that hold the text that they are named for, and a vector that an index may hold."""
    width = 4 * dimensions
    named = [
        (name, vector)
        for name, (text, vector) in stored.rows.items()
        if len(vector) == width and digest(text) == name[0]
    ]
    if not deep or not named:
        return {name for name, _ in named}
    vectors = np.frombuffer(b"".join(vector for _, vector in named), "<f4").reshape(-1, dimensions)
    with np.errstate(all="ignore"):
        off = np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1)
    return {name for (name, _), far in zip(named, off.tolist(), strict=True) if far <= 2 * NORM_TOLERANCE}


async def look(reader: IndexReader, ids: Sequence[str]) -> dict[str, Stored | Torn]:
    """Read some documents as the index holds them."""
    return {_id_of(entry): entry async for entry in _entries(reader, ids)}


async def _entries(reader: IndexReader, ids: Sequence[str] | None = None) -> AsyncIterator[Stored | Torn]:
    """Yield what the index holds: at the end the documents that cannot be read."""
    try:
        async for stored in reader.scan(ids):
            yield stored
    except TornDocuments as damage:
        for torn in damage.documents:
            yield torn


def _id_of(entry: Stored | Torn) -> str:
    return entry.manifest.id if isinstance(entry, Stored) else entry.id


def _pages(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE)]
