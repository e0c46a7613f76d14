"""Headwater's topics, PURE: their names, what each is set to, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

_DAY_MS = 86_400_000
#: What a record weighs beside the change's body: its key, headers, and the batch around it.
_ENVELOPE_BYTES = 64 * 1024
#: Kafka's own default. Clients fill batches up to it, so no topic takes less.
_BATCH_BYTES = 1_048_588
#: The group that clients name which read without one: librdkafka asks for its coordinator all the same.
NO_GROUP = "headwater-reads-without-a-group"
#: A topic keeps everything by this number.
UNLIMITED = "-1"


def changes_topic(prefix: str, stream: str) -> str:
    """Return the topic of a stream's changes, where it does not read another system's."""
    return f"{prefix}.{stream}.changes"


def receipts_topic(prefix: str, stream: str) -> str:
    """Return the topic of a stream's receipts. It has as many partitions as the stream's changes."""
    return f"{prefix}.{stream}.receipts"


def dead_topic(prefix: str, stream: str) -> str:
    """Return the topic of the events about a stream's dead letters: one partition, read as a whole."""
    return f"{prefix}.{stream}.dead"


def positions_topic(prefix: str, stream: str) -> str:
    """Return the topic where a stream's sources keep their positions: one partition."""
    return f"{prefix}.{stream}.positions"


def control_topic(prefix: str) -> str:
    """Return the topic of the registry, for all streams: one partition, where the first record that fits wins."""
    return f"{prefix}.control"


def consumer_group(prefix: str, stream: str) -> str:
    """Return the consumer group of a stream's workers."""
    return f"{prefix}.{stream}"


def transactional_prefix(prefix: str, stream: str) -> str:
    """Return what each transactional id of a stream begins with, and no other stream's does."""
    return f"{prefix}.{stream}."


@dataclass(frozen=True)
class Policy:
    """What the configuration says about all topics.

    `replication` None is the broker's own; `keep_s` None keeps everything; `largest` is a change's, in bytes.
    """

    prefix: str = "headwater"
    replication: int | None = None
    cleanup: Literal["delete", "compact"] = "delete"
    keep_s: float | None = None
    largest: int = 1024 * 1024


@dataclass(frozen=True)
class StreamLog:
    """What a stream asks of its log. `topic` is another system's, in place of a topic of changes of Headwater's own.

    `uncompacted` is why that must not be compacted; empty where it may be.
    """

    name: str
    partitions: int
    replay_s: float
    topic: str | None = None
    uncompacted: str = ""


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it shall be. `reasons` says of each setting why it is as it is.

    `multiplies`: partitions are only added to a multiple of what there is.
    """

    name: str
    partitions: int
    replication: int | None
    config: Mapping[str, str]
    purpose: str
    reasons: Mapping[str, str]
    multiplies: bool = False


def topic_specs(policy: Policy, streams: Iterable[StreamLog]) -> list[TopicSpec]:
    """Return every topic that Headwater makes, the registry's first.

    Of a stream that reads another system's topic, `partitions` is that topic's number.
    """
    made = [_whole(policy, control_topic(policy.prefix), "what all workers agree on")]
    for stream in streams:
        if stream.topic is None:
            made.append(_changes(policy, stream))
        made += [
            _receipts(policy, stream),
            _whole(policy, dead_topic(policy.prefix, stream.name), f"dead letters of {stream.name}"),
            _whole(policy, positions_topic(policy.prefix, stream.name), f"positions of the sources of {stream.name}"),
        ]
    return made


def marker_keep_ms(replay_s: float) -> int:
    """Return how long delete markers must stay on a compacted topic.

    A replay that began before a marker was written must still meet it, even when it takes twice its budget.
    """
    return max(_DAY_MS, round(2 * replay_s * 1000))


#: One setting: its name, its value, its reason.
_Setting = tuple[str, str, str]


def _changes(policy: Policy, stream: StreamLog) -> TopicSpec:
    name = changes_topic(policy.prefix, stream.name)
    purpose = f"changes of {stream.name}"
    settings = _compacted(stream) if policy.cleanup == "compact" else _kept(policy.keep_s)
    # Then a document moves to a new partition or stays. From one old partition to another it would leave changes in
    # both that no log epoch tells apart, if anything was written before that epoch began.
    return _spec(policy, name, stream.partitions, purpose, [*settings, *_common(policy)], multiplies=True)


def _receipts(policy: Policy, stream: StreamLog) -> TopicSpec:
    name = receipts_topic(policy.prefix, stream.name)
    settings = [*_kept(None), *_common(policy)]
    # They go with the changes: of another system's topic to any number, of our own with what that is held to.
    own = stream.topic is None
    return _spec(policy, name, stream.partitions, f"receipts of {stream.name}", settings, multiplies=own)


def _whole(policy: Policy, name: str, purpose: str) -> TopicSpec:
    """A topic that is read from its first record to its last: nothing may go, and one partition gives the order."""
    return _spec(policy, name, 1, purpose, [*_kept(None), *_common(policy)])


def _kept(keep_s: float | None) -> list[_Setting]:
    if keep_s is None:
        time = ("retention.ms", UNLIMITED, "everything is kept: a replay begins at the first record")
    else:
        time = ("retention.ms", str(round(keep_s * 1000)), "`keep`: older records may go")
    return [
        ("cleanup.policy", "delete", "every record stays at its offset until its time is over"),
        time,
        ("retention.bytes", UNLIMITED, "size alone never lets a record go, whatever the broker's default is"),
    ]


def _compacted(stream: StreamLog) -> list[_Setting]:
    return [
        ("cleanup.policy", "compact", "`cleanup: compact`: the newest change of each document stays"),
        (
            "delete.retention.ms",
            str(marker_keep_ms(stream.replay_s)),
            "a delete marker outlives a replay that takes twice its budget; else the replay brings the document back",
        ),
        (
            "min.compaction.lag.ms",
            str(round(stream.replay_s * 1000)),
            "a worker that is behind by less than the replay budget still meets each change",
        ),
    ]


def _common(policy: Policy) -> list[_Setting]:
    return [
        *_in_sync(policy.replication),
        ("unclean.leader.election.enable", "false", "a replica that lacks acknowledged records never becomes leader"),
        (
            "message.timestamp.type",
            "LogAppendTime",
            "a record's time is when the log took it; the source's own time stands in its body",
        ),
        (
            "max.message.bytes",
            str(max(_BATCH_BYTES, policy.largest + _ENVELOPE_BYTES)),
            "the largest change that is allowed fits in, with its key and headers",
        ),
        ("compression.type", "producer", "the broker keeps batches as they were sent, and packs nothing anew"),
    ]


def _in_sync(replication: int | None) -> list[_Setting]:
    """Without a replication of ours the brokers' own rule stands."""
    if replication is None:
        return []
    if replication >= 3:
        return [("min.insync.replicas", "2", "an acknowledged record survives the loss of a broker")]
    return [("min.insync.replicas", "1", f"with replication {replication}, 2 would stop writing when a broker stops")]


def _spec(
    policy: Policy, name: str, partitions: int, purpose: str, settings: list[_Setting], *, multiplies: bool = False
) -> TopicSpec:
    return TopicSpec(
        name=name,
        partitions=partitions,
        replication=policy.replication,
        config={setting: value for setting, value, _ in settings},
        purpose=purpose,
        reasons={setting: reason for setting, _, reason in settings},
        multiplies=multiplies,
    )


class _Declaration(msgspec.Struct, kw_only=True, frozen=True, tag_field="kind", tag="topic"):
    """A record of the control topic: Headwater made, or was given, the topic with this id in place of another."""

    name: str
    id: str
    replaces: str = ""
    made_us: int = 0


def declaration(name: str, topic_id: str, replaces: str, made_us: int) -> bytes:
    """Return the record that declares a topic as Headwater's own."""
    return msgspec.json.encode(_Declaration(name=name, id=topic_id, replaces=replaces, made_us=made_us))


def declared_topics(records: Iterable[bytes | None]) -> dict[str, str]:
    """Return name and id of every declared topic, from the control topic's records in their order.

    The first record that replaces what stands wins; all others, and all records of other kinds, are no concern here.
    """
    declared: dict[str, str] = {}
    for value in records:
        try:
            record = msgspec.json.decode(value or b"", type=_Declaration)
        except msgspec.DecodeError:
            continue
        if record.replaces == declared.get(record.name, ""):
            declared[record.name] = record.id
    return declared
