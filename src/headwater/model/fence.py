"""The fence: what an index accepts. The one rule that every index adapter runs inside its write.

Its need was shown by models that ran it over thousands of random schedules; each condition below has a named schedule
that breaks without it (see docs/design/core.md).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headwater.model.generation import Floor, Generation
from headwater.model.manifest import Answer, Cap, Cause, Manifest, Mark, Outcome, State, Verdict, Write
from headwater.model.version import BEFORE_ALL, Place, Version, compare

#: The reason of a rejection that ends when the cutover does.
FROZEN = "the index generation is frozen"

_APPLIED = Answer(Verdict.APPLIED)
_STALE = Answer(Verdict.STALE)
_CONFLICT = Answer(Verdict.CONFLICT)


def admit(write: Write | Mark, stored: Manifest | None, generation: Generation) -> Answer:
    """Decide about one write against what is stored, at the moment of writing.

    The revision of an APPLIED answer is the adapter's to mint. Raise Halt when two versions have no order.
    """
    if refused := _refused(write, generation):
        return refused
    base_holds = write.base == (stored.revision if stored else None)
    if isinstance(write, Mark):
        return _APPLIED if base_holds else _CONFLICT
    if stored is None or stored.state is State.ABSENT:
        if below_floor(write.manifest.version, generation.floors):
            return _STALE
    elif outdated(write, stored):
        return _STALE
    # A removal takes away whatever is there, so it need not know what that is; everything else builds on its base (C1).
    # A repair is no news from the source: it only puts right what it has looked at.
    blind = write.manifest.state.fence and write.manifest.cause is not Cause.REPAIR
    return _APPLIED if blind or base_holds else _CONFLICT


def _refused(write: Write | Mark, generation: Generation) -> Answer | None:
    recipe = write.recipe if isinstance(write, Mark) else write.manifest.recipe
    if recipe < generation.least_recipe:
        return Answer(Verdict.REJECTED, reason=f"recipe {recipe} is no longer admitted")
    if generation.freeze is not None:
        return Answer(Verdict.REJECTED, reason=FROZEN)
    return None


def below_floor(version: Version, floors: Iterable[Floor]) -> bool:
    """Tell whether fences as old as this version may have been collected. The floor itself is not below it (C15)."""
    return any(
        floor.epoch == version.epoch and floor.partition == version.partition and version.offset < floor.offset
        for floor in floors
    )


def outdated(write: Write, stored: Manifest) -> bool:
    """Tell whether the stored manifest already covers the write. At an equal version a removal wins."""
    order = compare(write.manifest.version, stored.version)
    if order != 0:
        return order < 0
    if stored.state is State.DELETED:
        return True
    if write.manifest.state is State.DELETED or write.manifest.cause is Cause.REPAIR:
        return False
    return stored.recipe >= write.manifest.recipe


def succeed(write: Write | Mark, stored: Manifest | None, revision: int) -> Manifest:
    """Make the manifest that an admitted write leaves. A cap lasts until a version that is not older than it."""
    if isinstance(write, Mark):
        return _replace(stored, write.cap, revision) if stored else _absent(write, revision)
    cap = stored.cap if stored and stored.cap and compare(stored.cap.version, write.manifest.version) > 0 else None
    return _replace(write.manifest, cap, revision)


def _replace(manifest: Manifest, cap: Cap | None, revision: int) -> Manifest:
    return msgspec.structs.replace(manifest, cap=cap, revision=revision)


def _absent(mark: Mark, revision: int) -> Manifest:
    # `outcome` is that of the version; an absent document has neither, so DEAD says why the manifest is there.
    return Manifest(
        id=mark.id,
        revision=revision,
        version=BEFORE_ALL,
        place=Place(0, -1),
        recipe=mark.recipe,
        state=State.ABSENT,
        outcome=Outcome.DEAD,
        outcome_us=mark.time_us,
        body_digest=b"",
        cap=mark.cap,
    )
