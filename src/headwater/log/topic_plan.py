"""What it takes to bring topics from what was found to what they shall be, PURE.

Kafka has no place for a mark on a topic. What tells Headwater's topics from others of the same name is the control
topic: each topic that Headwater makes is declared there by its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from headwater.log.topics import UNLIMITED, TopicSpec

#: The settings that say how long something stays.
_KEEPING = frozenset({"retention.ms", "retention.bytes", "delete.retention.ms", "min.compaction.lag.ms"})


@dataclass(frozen=True)
class FoundTopic:
    """A topic as it was found. None stands for what cannot be read; without an `id` this principal may see nothing.

    `bounds` gives each partition's first offset and the next to be written; `newest_ms` is the greatest time of a
    record. `leaderless` partitions cannot be used, `behind` ones lack a replica that is in sync.
    """

    name: str
    id: str
    partitions: int
    replication: int
    config: Mapping[str, str] | None = None
    bounds: Mapping[int, tuple[int, int]] | None = None
    operations: frozenset[str] | None = None
    newest_ms: int | None = None
    leaderless: int = 0
    behind: int = 0

    @property
    def hidden(self) -> bool:
        """Whether this principal may not even see whether it exists."""
        return not self.id

    @property
    def unused(self) -> bool:
        """Whether it is certain that no record was ever written."""
        return self.bounds is not None and all(high == 0 for _, high in self.bounds.values())


class Action(StrEnum):
    """What a step does."""

    CREATE = "create"
    DECLARE = "declare"
    ALTER = "alter"
    GROW = "grow"
    NOTHING = "nothing"
    BY_HAND = "by hand"
    REFUSED = "refused"


#: The actions that change something.
TAKEN = frozenset({Action.CREATE, Action.DECLARE, Action.ALTER, Action.GROW})


@dataclass(frozen=True)
class Alteration:
    """One setting that is not as it shall be."""

    setting: str
    found: str
    wanted: str
    reason: str

    @property
    def trims(self) -> bool:
        """Whether records that are kept today may go by it."""
        if self.setting in _KEEPING:
            return self.wanted != UNLIMITED and (self.found == UNLIMITED or int(self.wanted) < int(self.found))
        return self.setting == "cleanup.policy"


@dataclass(frozen=True)
class Step:
    """One step for one topic. `cure` is what a person does about a step that `apply` does not take."""

    action: Action
    spec: TopicSpec
    detail: str
    cure: str = ""
    alterations: tuple[Alteration, ...] = ()
    replaces: str = ""


@dataclass(frozen=True)
class Consent:
    """What the person allows: to take topics as Headwater's own, to add partitions, to let records go."""

    adopt: bool = False
    grow: bool = False
    trim: bool = False


def plan(
    specs: Iterable[TopicSpec],
    found: Mapping[str, FoundTopic],
    declared: Mapping[str, str],
    consent: Consent = Consent(),
) -> list[Step]:
    """Return the steps, topic by topic, in the order in which they are to be taken.

    The first topic is the registry's. Where it is refused no other step is taken: there is no place to declare a topic.
    """
    steps = [step for spec in specs for step in _steps(spec, found.get(spec.name), declared.get(spec.name), consent)]
    registry = next((step for step in steps if step.action is Action.REFUSED and step.spec is steps[0].spec), None)
    return [_after(registry, step) for step in steps] if registry else steps


def _after(registry: Step, step: Step) -> Step:
    if step.action not in TAKEN:
        return step
    return replace(step, action=Action.REFUSED, cure=f"First {registry.spec.name}: {registry.detail}")


def _steps(spec: TopicSpec, found: FoundTopic | None, known: str | None, consent: Consent) -> list[Step]:
    if found is not None and found.hidden:
        cure = "Allow Describe and DescribeConfigs: `headwater topics acl` prints how"
        return [Step(Action.REFUSED, spec, "no rights to see whether it exists", cure)]
    refusal = _not_ours(spec, found, known) if not consent.adopt else None
    if refusal is not None:
        return [refusal]
    if found is None:
        copies = f", {spec.replication} replicas" if spec.replication else ""
        parts = "1 partition" if spec.partitions == 1 else f"{spec.partitions} partitions"
        detail = f"{spec.purpose}: {parts}{copies}"
        return [Step(Action.CREATE, spec, detail, replaces=known or "")]
    steps = list(_differences(spec, found, consent))
    if known != found.id:
        steps.insert(0, Step(Action.DECLARE, spec, "it is Headwater's own from now on", replaces=known or ""))
    return steps or [Step(Action.NOTHING, spec, "it is as it shall be")]


def _not_ours(spec: TopicSpec, found: FoundTopic | None, known: str | None) -> Step | None:
    """Return the refusal of a topic that is not the one that Headwater made, or None."""
    adopt = "`headwater topics apply --adopt`"
    if found is None:
        if known is None:
            return None
        detail = f"it was made with id {known}, and is gone with all its records"
        return Step(Action.REFUSED, spec, detail, f"Restore it, or let it be made anew and empty: {adopt}")
    if known is None:
        if found.unused:
            return None
        detail = "a topic of this name exists, holds records, and was not made by Headwater"
        cure = f"Choose another prefix, or have it taken as Headwater's own: {adopt}"
        return Step(Action.REFUSED, spec, detail, cure)
    if known != found.id:
        detail = f"it was made anew: its id was {known} and is {found.id}, so what it held is gone"
        return Step(Action.REFUSED, spec, detail, f"Find out who did it; to go on with the new one: {adopt}")
    return None


def _differences(spec: TopicSpec, found: FoundTopic, consent: Consent) -> Iterator[Step]:
    if found.partitions > spec.partitions:
        detail = f"it has {found.partitions} partitions, and Kafka takes none away"
        cure = f"Configure {found.partitions} partitions, or let another stream take over"
        yield Step(Action.REFUSED, spec, detail, cure if spec.partitions > 1 else "It must have one: make it anew")
    elif found.partitions < spec.partitions:
        yield _growth(spec, found, consent)
    if spec.replication not in (None, found.replication):
        detail = f"it is kept {found.replication} times, and shall be {spec.replication} times"
        yield Step(Action.BY_HAND, spec, detail, "Move its replicas with kafka-reassign-partitions.sh")
    if found.config is None:
        detail = "its settings cannot be read"
        yield Step(Action.BY_HAND, spec, detail, "Allow DescribeConfigs: `headwater topics acl` prints how")
        return
    yield from _alterations(spec, found.config, consent)


def _growth(spec: TopicSpec, found: FoundTopic, consent: Consent) -> Step:
    detail = f"from {found.partitions} to {spec.partitions} partitions"
    if spec.multiplies and spec.partitions % found.partitions:
        return Step(Action.REFUSED, spec, detail, f"Configure a multiple of {found.partitions} partitions")
    if consent.grow:
        return Step(Action.GROW, spec, f"{detail}: a new log epoch begins")
    cure = (
        "More partitions send documents elsewhere than before, so a new log epoch begins. Stop what publishes and the "
        "workers, then `headwater topics apply --grow`"
    )
    return Step(Action.REFUSED, spec, detail, cure)


def _alterations(spec: TopicSpec, config: Mapping[str, str], consent: Consent) -> Iterator[Step]:
    altered = [
        Alteration(setting, config[setting], wanted, spec.reasons[setting])
        for setting, wanted in spec.config.items()
        # A setting that the broker does not list is not one that it has.
        if setting in config and not same_value(config[setting], wanted)
    ]
    allowed = tuple(it for it in altered if consent.trim or not it.trims)
    held = tuple(it for it in altered if it not in allowed)
    if allowed:
        yield Step(Action.ALTER, spec, "; ".join(map(_told, allowed)), alterations=allowed)
    if held:
        cure = "Records that are kept today may go by it. To let them: `headwater topics apply --trim`"
        yield Step(Action.REFUSED, spec, "; ".join(map(_told, held)), cure, held)


def _told(alteration: Alteration) -> str:
    return f"{alteration.setting} from {alteration.found} to {alteration.wanted}: {alteration.reason}"


def same_value(left: str, right: str) -> bool:
    """Compare two values of a setting. Lists have no order."""
    return sorted(left.replace(" ", "").split(",")) == sorted(right.replace(" ", "").split(","))
