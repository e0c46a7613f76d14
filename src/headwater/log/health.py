"""What a Kafka log is found to be, and what that means for the streams on it, PURE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from headwater.log.topic_plan import Action, FoundTopic, Step
from headwater.log.topics import UNLIMITED, StreamLog, marker_keep_ms
from headwater.observability.findings import Finding, failure, in_order, warning

#: Clocks that differ by less are as good as one: requests take as long.
_SKEW_S = 2.0
#: Kafka's own default.
_GROUP_KEEP_S = 7 * 86_400

_MAKE = "`headwater topics apply`"
_RIGHTS = "`headwater topics acl` prints what is needed"


@dataclass(frozen=True)
class FoundBrokers:
    """What the brokers say of themselves. `apis` maps a request's name to the newest version that they know."""

    cluster: str
    number: int
    apis: Mapping[str, int]
    settings: Mapping[str, str] | None = None


@dataclass(frozen=True)
class FoundGroup:
    """A stream's consumer group. None stands for what this principal may not see."""

    name: str
    members: int = 0
    committed: Mapping[int, int] | None = None
    operations: frozenset[str] | None = None


@dataclass(frozen=True)
class FoundStream:
    """What there is of a stream. `transactions` is why they failed, empty when they work, None when they are not
    used.
    """

    log: StreamLog
    topic: str
    changes: FoundTopic | None
    group: FoundGroup
    transactions: str | None = None


@dataclass(frozen=True)
class FoundClaims:
    """The folder of the claim check. `fault` is why it is away, empty when it is there; `cure` is what helps then."""

    folder: str
    fault: str
    cure: str
    writable: bool


def away(cause: str, cure: str) -> Finding:
    """Return the finding that no broker can be used."""
    why = "without its log a stream stands still: nothing is lost, and nothing becomes searchable"
    return failure("brokers", "kafka", cause, why, cure or advice(cause))


def advice(cause: str) -> str:
    """Return the next step for what librdkafka says of a connection that it cannot make."""
    said = cause.lower()
    # A listener in the clear answers a TLS greeting with nonsense, or cuts the line: which of the two is up to chance.
    if "plaintext broker" in said or ("ssl connection closed" in said and "ssl_handshake" in said):
        return (
            "Unless the broker is just starting, this is a PLAINTEXT broker listener, which is not encrypted: "
            "set log.security.protocol to plaintext or sasl_plaintext"
        )
    if "ssl listener" in said or "security.protocol" in said:
        return "The broker's listener asks for TLS: set log.security.protocol to ssl or sasl_ssl"
    if "oauthbearer token" in said:
        return "Check log.security.oauth.token_url, and that what is there answers"
    if "resolve" in said:
        return "Check the host's name in log.url, and that this machine's DNS knows it"
    if "refused" in said:
        return "Check the port in log.url, and that the broker runs"
    return (
        "Check log.url, and log.security.protocol: a listener that asks for TLS does not answer other clients. "
        "Then that the brokers' advertised listeners can be reached from here"
    )


def judge_claims(found: FoundClaims) -> Finding:
    """Judge whether what is too large for a record can be kept, and found again."""
    check, folder = "claims", found.folder
    if found.fault:
        return failure(check, folder, found.fault, "what is too large for a record waits for it", found.cure)
    if not found.writable:
        why = "what is read from here is found, and what is published from here waits where it is over log.largest"
        return warning(check, folder, "nothing can be written to it", why, "Let this user write to it, and mount it so")
    return in_order(check, folder, "it is there, with its marker, and can be written to")


def judge_brokers(found: FoundBrokers, *, transactional: bool, consumer_protocol: bool) -> list[Finding]:
    """Judge what the brokers can do, and how long they keep a group's offsets."""
    number = "1 broker" if found.number == 1 else f"{found.number} brokers"
    return [
        in_order("brokers", found.cluster, f"{number} in the cluster"),
        *_version(found, transactional=transactional, consumer_protocol=consumer_protocol),
        *_offsets_kept(found),
    ]


#: A request, its version, and the first release of Kafka that has it; the newest first.
_RELEASES = (
    ("EndTxn", 5, "4.0"),
    ("ListTransactions", 1, "3.8"),
    ("DescribeTransactions", 0, "3.0"),
    ("DescribeProducers", 0, "2.8"),
    ("TxnOffsetCommit", 3, "2.5"),
)


def release(apis: Mapping[str, int]) -> str | None:
    """Return the release whose requests the brokers all know, as far as they tell."""
    return next((since for name, version, since in _RELEASES if apis.get(name, -1) >= version), None)


def _version(found: FoundBrokers, *, transactional: bool, consumer_protocol: bool) -> Iterator[Finding]:
    if not found.apis:
        yield warning(
            "version",
            found.cluster,
            "the brokers' version cannot be told",
            "old brokers lack what Headwater needs",
            "Headwater needs Kafka 2.5 or later: look it up",
        )
        return
    since = release(found.apis)
    yield in_order("version", found.cluster, f"Kafka {since} or later" if since else "older than Kafka 2.5")
    if transactional and found.apis.get("TxnOffsetCommit", -1) < 3:
        yield failure(
            "version",
            found.cluster,
            "the brokers are too old for offsets and receipts in one transaction (KIP-447)",
            "a worker that lost its partitions could commit over the one that has them now",
            "Upgrade to Kafka 2.5 or later, or set log.receipts to plain",
        )
    if consumer_protocol and found.apis.get("ConsumerGroupHeartbeat", -1) < 1:
        yield failure(
            "version",
            found.cluster,
            "the brokers do not know `rebalance: consumer` (KIP-848)",
            "no worker can join the group",
            "Upgrade to Kafka 4.0 or later, or set log.rebalance to cooperative",
        )
    verified = found.apis.get("EndTxn", -1) >= 5
    yield in_order(
        "transactions",
        found.cluster,
        f"transaction.version 2 (KIP-890) is {'known to' if verified else 'not known to'} the brokers; "
        "no promise rests on it",
    )


def _offsets_kept(found: FoundBrokers) -> Iterator[Finding]:
    minutes = (found.settings or {}).get("offsets.retention.minutes")
    if minutes is None:
        yield warning(
            "group-offsets",
            found.cluster,
            "how long the brokers keep a group's offsets cannot be read",
            "a stream whose workers rest for longer begins again where its index is",
            f"Allow DescribeConfigs on the cluster: {_RIGHTS}",
        )
    elif int(minutes) * 60 < _GROUP_KEEP_S:
        yield warning(
            "group-offsets",
            found.cluster,
            f"the brokers forget a group's offsets after {int(minutes) / 60:g} h without a member",
            "a stream whose workers rest for longer begins again where its index is",
            "Set the brokers' offsets.retention.minutes to 10080 (7 days) or more",
        )
    else:
        yield in_order("group-offsets", found.cluster, f"kept for {int(minutes) / 1440:g} days without a member")


def judge_steps(steps: Iterable[Step]) -> list[Finding]:
    """Judge what would have to be done so that Headwater's own topics are as they shall be."""
    return [_step(step) for step in steps]


def _step(step: Step) -> Finding:
    check, name = "topics", step.spec.name
    if step.action is Action.NOTHING:
        return in_order(check, name, step.detail)
    if step.action is Action.CREATE:
        return failure(check, name, "it is missing", f"it holds {step.spec.purpose}", f"{_MAKE} makes it")
    if step.action is Action.REFUSED:
        return failure(check, name, step.detail, f"it holds {step.spec.purpose}", step.cure)
    if step.action is Action.BY_HAND:
        return warning(check, name, step.detail, "the topic is not as it shall be", step.cure)
    if step.action is Action.ALTER:
        why = "; ".join(f"{it.setting}: {it.reason}" for it in step.alterations)
        what = ", ".join(f"{it.setting} is {it.found}, and shall be {it.wanted}" for it in step.alterations)
        # A limit that was not asked for lets history go: a gap in what must have none.
        limits = any(it.setting.startswith("retention.") and it.wanted == UNLIMITED for it in step.alterations)
        return (failure if limits else warning)(check, name, what, why, f"{_MAKE} sets it")
    return warning(check, name, step.detail, "it is not declared, or has too few partitions", f"{_MAKE} does it")


def judge_topic(topic: FoundTopic, brokers: int) -> list[Finding]:
    """Judge a topic's replicas."""
    return [*_leaders(topic), *_replicas(topic, brokers)] if not topic.hidden else []


def _leaders(topic: FoundTopic) -> Iterator[Finding]:
    if topic.leaderless:
        yield failure(
            "replicas",
            topic.name,
            f"{topic.leaderless} of {topic.partitions} partitions have no leader",
            "nothing can be read from them or written to them",
            "Bring back the brokers that hold them",
        )
    elif topic.behind:
        yield warning(
            "replicas",
            topic.name,
            f"{topic.behind} of {topic.partitions} partitions lack a replica that is in sync",
            "they are nearer to a loss than they should be",
            "See why a broker is away or behind",
        )


def _replicas(topic: FoundTopic, brokers: int) -> Iterator[Finding]:
    in_sync = int((topic.config or {}).get("min.insync.replicas", "0"))
    copies = topic.replication
    if topic.config is not None and topic.config.get("unclean.leader.election.enable") == "true":
        yield warning(
            "replicas",
            topic.name,
            "a replica that lacks acknowledged records may become leader",
            "acknowledged changes would be lost, and the log rewound",
            "Set unclean.leader.election.enable to false",
        )
    if in_sync > copies:
        yield failure(
            "replicas",
            topic.name,
            f"min.insync.replicas is {in_sync}, and there are {copies} replicas",
            "nothing can be written",
            f"Set min.insync.replicas to {max(1, copies - 1)}",
        )
    elif copies == 1 and brokers > 1:
        yield warning(
            "replicas",
            topic.name,
            "one replica only",
            "the log is lost with its broker",
            "Set log.replication to 3, and move replicas with kafka-reassign-partitions.sh",
        )
    elif copies > 1 and in_sync == copies:
        yield warning(
            "replicas",
            topic.name,
            f"min.insync.replicas is {in_sync}, as many as there are replicas",
            "when one broker stops, nothing can be written",
            f"Set min.insync.replicas to {copies - 1}",
        )
    elif copies >= 3 and in_sync == 1:
        yield warning(
            "replicas",
            topic.name,
            f"min.insync.replicas is 1, with {copies} replicas",
            "an acknowledged record may be on one broker only, and be lost with it",
            "Set min.insync.replicas to 2",
        )


def judge_stream(stream: FoundStream) -> list[Finding]:
    """Judge a stream's changes: whether they are there, kept for as long as a replay takes, and read."""
    topic = stream.changes
    findings: list[Finding] = []
    if topic is None or topic.hidden:
        if stream.log.topic is not None:
            findings.append(_absent(stream.topic, hidden=topic is not None))
    else:
        findings += [*_whole(stream, topic), *_kept(stream, topic), *_read(stream, topic)]
    if stream.transactions:
        findings.append(
            failure(
                "transactions",
                stream.log.name,
                stream.transactions,
                "the worker writes offsets and receipts in one transaction",
                f"{_RIGHTS}; or set log.receipts to plain",
            )
        )
    return findings


def _absent(topic: str, *, hidden: bool) -> Finding:
    why = "the stream's changes come from it"
    if hidden:
        return failure("topics", topic, "no rights to see whether it exists", why, _RIGHTS)
    return failure("topics", topic, "there is no such topic", why, "Check `topic:`; the system that writes it makes it")


def _whole(stream: FoundStream, topic: FoundTopic) -> Iterator[Finding]:
    """Judge whether a topic is compacted of which every record is needed."""
    if stream.log.uncompacted and "compact" in _policies(topic.config or {}):
        what = "it is compacted, and the stream takes the order of changes from their envelopes"
        yield failure("compaction", topic.name, what, "deletes would pass unseen", stream.log.uncompacted)


def _policies(config: Mapping[str, str]) -> list[str]:
    return config.get("cleanup.policy", "delete").replace(" ", "").split(",")


def _kept(stream: FoundStream, topic: FoundTopic) -> Iterator[Finding]:
    """Judge retention against the replay budget."""
    config = topic.config
    if config is None:
        what = "how long changes are kept cannot be read"
        yield warning("retention", topic.name, what, _WHY_KEPT, f"Allow DescribeConfigs: {_RIGHTS}")
        return
    policies = _policies(config)
    findings = [
        *(_kept_by_time(stream, topic, config) if "delete" in policies else ()),
        *(_markers_kept(stream, topic, config) if "compact" in policies else ()),
    ]
    yield from findings or [in_order("retention", topic.name, "changes are kept for longer than a replay takes")]


_WHY_KEPT = (
    "a replay begins at the first record: what goes while it runs is a gap, and what went before is unverifiable"
)


def _kept_by_time(stream: FoundStream, topic: FoundTopic, config: Mapping[str, str]) -> Iterator[Finding]:
    budget_s = stream.log.replay_s
    kept = config.get("retention.ms", UNLIMITED)
    if kept != UNLIMITED and int(kept) / 1000 < 2 * budget_s:
        severity = failure if int(kept) / 1000 < budget_s else warning
        yield severity(
            "retention",
            topic.name,
            f"changes are kept for {_hours(int(kept) / 1000)}, and a replay may take {_hours(budget_s)}",
            _WHY_KEPT,
            f"Set {_where(stream, 'retention.ms', 'log.keep')} to twice the replay budget or more",
        )
    if config.get("retention.bytes", UNLIMITED) != UNLIMITED:
        yield warning(
            "retention",
            topic.name,
            f"changes go when a partition holds more than {config['retention.bytes']} bytes, however new they are",
            _WHY_KEPT,
            f"Set {_where(stream, 'retention.bytes', 'retention.bytes')} to -1, and limit by time",
        )


def _markers_kept(stream: FoundStream, topic: FoundTopic, config: Mapping[str, str]) -> Iterator[Finding]:
    kept_ms = int(config.get("delete.retention.ms", "86400000"))
    if kept_ms < marker_keep_ms(stream.log.replay_s):
        severity = failure if kept_ms / 1000 < stream.log.replay_s else warning
        yield severity(
            "retention",
            topic.name,
            f"delete markers stay for {_hours(kept_ms / 1000)}, and a replay may take {_hours(stream.log.replay_s)}",
            "a replay that meets a document and not its delete marker brings back what was deleted",
            f"Set delete.retention.ms of {stream.topic} to {marker_keep_ms(stream.log.replay_s)} or more"
            if stream.log.topic
            else f"{_MAKE} sets it",
        )


def _where(stream: FoundStream, setting: str, ours: str) -> str:
    """Return what is to be set: the configuration's key, or the other system's topic's setting."""
    return f"{setting} of {stream.topic}" if stream.log.topic else ours


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"


def _read(stream: FoundStream, topic: FoundTopic) -> Iterator[Finding]:
    """Judge the group's committed offsets against the log's bounds."""
    group = stream.group
    if group.committed is None or topic.bounds is None:
        what = "the group's offsets, or the log's bounds, cannot be read"
        yield warning("lag", stream.log.name, what, "how far the stream is cannot be told", _RIGHTS)
        return
    gaps = [
        f"partition {p}: {group.committed[p]} to {low}"
        for p, (low, _) in _both(stream, topic)
        if group.committed[p] < low
    ]
    rewound = [
        f"partition {p}: {group.committed[p]} is past the end, {high}"
        for p, (_, high) in _both(stream, topic)
        if group.committed[p] > high
    ]
    accept = f"`headwater resume {stream.log.name} --accept-log-epoch`"
    if gaps:
        yield failure(
            "gap",
            stream.log.name,
            f"the log let go of records that were never settled: {'; '.join(gaps)}",
            "log-truncation-gap: changes are lost to the index, and the stream halts instead of passing over them",
            f"Publish those documents again, then {accept}",
        )
    if rewound:
        yield failure(
            "gap",
            stream.log.name,
            f"the log ends before what was settled: {'; '.join(rewound)}",
            "log-rewind: the log lost records, or is another one",
            f"Find out what became of the log; to go on with it: {accept}",
        )
    if not gaps and not rewound:
        yield in_order("gap", stream.log.name, "the log has everything that is not settled")
    yield _lag(stream, topic, group)


def _lag(stream: FoundStream, topic: FoundTopic, group: FoundGroup) -> Finding:
    assert topic.bounds is not None
    assert group.committed is not None
    behind = sum(max(0, high - group.committed.get(p, low)) for p, (low, high) in topic.bounds.items())
    if behind and not group.members:
        return warning(
            "lag",
            stream.log.name,
            f"at most {behind} changes behind, and no worker runs",
            "nothing becomes searchable until one does",
            "`headwater run`",
        )
    workers = {0: "no worker runs", 1: "1 worker"}.get(group.members, f"{group.members} workers")
    return in_order("lag", stream.log.name, f"at most {behind} changes behind; {workers}")


def _both(stream: FoundStream, topic: FoundTopic) -> list[tuple[int, tuple[int, int]]]:
    committed = stream.group.committed or {}
    return [(partition, ends) for partition, ends in sorted((topic.bounds or {}).items()) if partition in committed]


def judge_rights(subject: str, needed: frozenset[str], operations: frozenset[str] | None) -> Finding:
    """Judge what this principal may do against what a worker does. None: the brokers do not say."""
    if operations is None:
        return in_order("rights", subject, "the brokers do not say what is allowed")
    if missing := sorted(needed - operations):
        return failure(
            "rights", subject, f"no right to {', '.join(missing)}", "the worker stops where it needs it", _RIGHTS
        )
    return in_order("rights", subject, "all that a worker needs")


def judge_clock(topics: Sequence[FoundTopic], now_us: int) -> list[Finding]:
    """Compare this machine's clock with the brokers', as far as that can be done without writing.

    Records whose time the broker gave bound its clock from below: a record from the future shows that the broker is
    ahead by at least so much. That it is behind leaves no trace that can be read.
    """
    stamped = [
        topic.newest_ms
        for topic in topics
        if topic.newest_ms is not None and (topic.config or {}).get("message.timestamp.type") == "LogAppendTime"
    ]
    if not stamped:
        return [in_order("clock", "kafka", "no record's time to compare with")]
    ahead_s = max(stamped) / 1000 - now_us / 1e6
    if ahead_s <= _SKEW_S:
        return [in_order("clock", "kafka", "no record is from the future")]
    return [
        warning(
            "clock",
            "kafka",
            f"the brokers' clock is ahead of this machine's by {ahead_s:.1f} s or more",
            "freshness and the times in receipts are wrong by as much; versions do not depend on it",
            "Let both follow one time service",
        )
    ]
