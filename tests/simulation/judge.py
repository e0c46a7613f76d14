"""The judge of a schedule. It knows what was said, and looks at what the log and the index hold; nothing else of the
engine.

Each violation begins with the name of the guarantee.
"""

from __future__ import annotations

import struct
from collections.abc import Coroutine
from typing import Any, TypeVar

from headwater.indexes.memory import MemoryIndexReader
from headwater.indexes.memory_tables import Key
from headwater.model.manifest import Manifest, Outcome, State
from headwater.model.receipt import DeadLetter, DeadState
from headwater.model.version import Version
from tests.simulation.world import FILTERED, GENERATION, GROUP, LETTERS, POISON, REJECTED, STREAM, Said, World, vector

T = TypeVar("T")

#: The outcomes of a version that the index holds.
IN_THE_INDEX = (Outcome.INDEXED, Outcome.UNCHANGED, Outcome.PAYLOAD_ONLY, Outcome.DELETED, Outcome.FILTERED)


class Judge:
    def __init__(self, world: World) -> None:
        self.world = world
        self.top: dict[str, tuple[int, State]] = {}
        self.reader = MemoryIndexReader(world.tables, STREAM, GENERATION)

    def find(self, guarantee: str, what: str) -> None:
        violation = f"{guarantee} {what}"
        if violation not in self.world.violations:
            self.world.violations.append(violation)
            self.world.note(f"VIOLATED {violation}")

    # --- after each step

    def look(self) -> None:
        space = self.world.tables._spaces.get(Key(STREAM, GENERATION))
        if space is None:
            return
        for document, manifest in space.manifests.items():
            if manifest.state is State.ABSENT:
                continue
            self.forwards(document, manifest)
            rows = {name: (row.text, row.vector) for name, row in space.rows.get(document, {}).items()}
            self.whole(document, manifest, rows)
        self.searched(space.manifests)
        self.committed(space.manifests)
        for position in space.generation.positions:
            if position.offset > self.heads().get(position.partition, 0):
                self.find("G1", "the index claims more than the log holds")
        settled = {position.partition: position.offset for position in space.generation.positions}
        for partition, offset in self.offsets().items():
            if settled.get(partition, 0) < offset:
                self.find("G12", f"the index's row is behind the commit of partition {partition}")

    def forwards(self, document: str, manifest: Manifest) -> None:
        """G2, G3: an index never goes back, least of all behind a delete."""
        offset, state = self.top.get(document, (-1, State.ABSENT))
        if manifest.version.offset < offset:
            gone = state in (State.DELETED, State.FILTERED)
            self.find("G3" if gone else "G2", f"{document} went back behind a {state} version")
        elif manifest.version.offset == offset and state is State.DELETED and manifest.state is not State.DELETED:
            self.find("G3", f"{document} came back at the version of its delete")
        self.top[document] = (max(offset, manifest.version.offset), manifest.state)

    def whole(self, document: str, manifest: Manifest, rows: dict[tuple[bytes, int], tuple[str, bytes]]) -> None:
        """G4, G6: what readers see of a document is exactly one version of it, each chunk with its own vector."""
        said = self.at(document, manifest.version.offset)
        if said is None:
            self.find("G4", f"{document} has a version that nobody said")
            return
        if manifest.state is not State.LIVE:
            if manifest.chunks:
                self.find("G4", f"{document} is {manifest.state} and shows chunks")
            return
        named = [(chunk.digest, chunk.occurrence) for chunk in manifest.chunks]
        if len(set(named)) != len(named):
            self.find("G4", f"{document} names a chunk twice")
        if any(name not in rows for name in named):
            self.find("G4", f"{document} is torn: a named chunk is missing")
            return
        texts = [rows[name][0] for name in named]
        if texts != list(said.text or "") or manifest.payload != {"tag": said.tag}:
            self.find("G4", f"{document} shows another text than its version's")
        for name in named:
            text, blob = rows[name]
            if list(struct.unpack(f"<{len(blob) // 4}f", blob)) != vector(text):
                self.find("G6", f"{document} has the vector of another text")

    def searched(self, manifests: dict[str, Manifest]) -> None:
        """G4 again, through the reader: a search for everything finds each chunk of each shown document once."""
        blob = struct.pack(f"<{len(LETTERS)}f", *vector("A"))
        found: dict[str, list[str]] = {document: [] for document in manifests}
        for hit in at_once(self.reader.search(blob, 1000, {})):
            found[hit.manifest.id].append(hit.text)
        for document, manifest in manifests.items():
            said = self.at(document, manifest.version.offset)
            want = sorted(said.text or "") if said and manifest.shown else []
            if sorted(found[document]) != want:
                self.find("G4", f"a search finds other chunks of {document} than its version has")

    def committed(self, manifests: dict[str, Manifest]) -> None:
        """G1: an offset is committed only when its change is in the index, in the dead letters, or overtaken."""
        offsets = self.offsets()
        letters = self.world.log.books(STREAM, GENERATION).dead
        dead = {(document, version.offset) for document, version in letters}
        for said in self.world.said:
            if said.offset >= offsets.get(said.partition, 0):
                continue
            manifest = manifests.get(said.document)
            covered = manifest is not None and manifest.version.offset >= said.offset
            if not covered and (said.document, said.offset) not in dead:
                self.find("G1", f"{said.document} {said.text!r} was committed and is nowhere")

    # --- at the end

    async def final(self) -> None:
        """Every document is as its last good change left it; the dead letters are exactly poison; everything has a
        receipt.
        """
        letters = self.world.log.books(STREAM, GENERATION).dead
        unsettled = {key for key, letter in letters.items() if letter.state is not DeadState.SETTLED}
        for document, version in self.world.discarded:
            if letters[document, version].state is not DeadState.DISCARDED:
                self.find("G7", "a discarded dead letter was opened again")
        for document, version in letters:
            said = self.at(document, version.offset)
            if said is None or said.text not in (POISON, REJECTED):
                self.find("G7", "a good change was blamed")
        for said in self.world.said:
            if said.offset >= self.offsets().get(said.partition, 0):
                self.find("G7", f"{said.document} {said.text!r} was never settled")
        self.letters_are_closed(letters)
        unsettled -= self.applied_all_the_same(unsettled)
        bad = {(document, version.offset) for document, version in unsettled}
        shown = {stored.manifest.id: stored async for stored in self.reader.scan()} if self.world.said else {}
        for document in {said.document for said in self.world.said}:
            good = [
                said for said in self.world.said if said.document == document and (document, said.offset) not in bad
            ]
            stored = shown.get(document)
            live = stored is not None and stored.manifest.shown
            want = good[-1] if good else None
            if want is None or want.text is None or want.text == FILTERED:
                if live:
                    self.find("G3", f"{document} is shown and should be gone")
            elif not live or stored is None:
                self.find("G1", f"{document} should be shown and is gone")
            elif stored.manifest.version.offset != want.offset:
                self.find("G1", f"{document} stays behind its last good change")
        await self.receipts()

    async def receipts(self) -> None:
        ledger = self.world.log.ledger(STREAM, GENERATION)
        outcomes: dict[tuple[str, int], set[Outcome]] = {}
        for document in {said.document for said in self.world.said}:
            for receipt in await ledger.receipts(document):
                outcomes.setdefault((document, receipt.version.offset), set()).add(receipt.outcome)
        space = self.world.tables._spaces.get(Key(STREAM, GENERATION))
        for said in self.world.said:
            found = outcomes.get((said.document, said.offset))
            if not found:
                self.find("G1", "a change has no receipt")
                continue
            manifest = space.manifests.get(said.document) if space else None
            at_it = manifest is not None and manifest.version.offset == said.offset
            if at_it and said.text is None and Outcome.DELETED not in found:
                self.find("G3", "a delete has no proof")

    # --- what the world holds

    def at(self, document: str, offset: int) -> Said | None:
        return next((it for it in self.world.said if it.document == document and it.offset == offset), None)

    def letters_are_closed(self, letters: dict[tuple[str, Version], DeadLetter]) -> None:
        """G7: nobody is asked about a change when a newer one of its document came into the index since."""
        done = [it for it in self.world.log.books(STREAM, GENERATION).receipts.values() if it.outcome in IN_THE_INDEX]
        for (document, version), letter in letters.items():
            newer = [it for it in done if it.document == document and it.version.offset > version.offset]
            waits = letter.state in (DeadState.OPEN, DeadState.RETRYING)
            # A delete may have gone ahead of the change while that was being tried: then a retry closes the letter.
            if waits and any(receipt.settled_us > letter.opened_us for receipt in newer):
                self.find("G7", f"a dead letter of {document} waits although a newer version is in the index")

    def applied_all_the_same(self, unsettled: set[tuple[str, Version]]) -> set[tuple[str, Version]]:
        """Return the letters whose change another worker applied.

        One that had read it before may find that the model takes it by then. It is the source's own change, and
        nothing newer was there; a retry finds it and settles the letter.
        """
        space = self.world.tables._spaces.get(Key(STREAM, GENERATION))
        if space is None or not self.world.letters.healed:
            return set()
        held = {(document, manifest.version) for document, manifest in space.manifests.items()}
        return unsettled & held

    def offsets(self) -> dict[int, int]:
        group = self.world.log._streams[STREAM].groups.get(GROUP)
        return dict(group.committed) if group else {}

    def heads(self) -> dict[int, int]:
        return {i: part.high for i, part in enumerate(self.world.log._streams[STREAM].partitions)}


def at_once(step: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing."""
    try:
        step.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")
