"""What a Kafka log is found to be, and what that means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.log.health import (
    FoundBrokers,
    FoundClaims,
    FoundGroup,
    FoundStream,
    away,
    judge_brokers,
    judge_claims,
    judge_clock,
    judge_rights,
    judge_steps,
    judge_stream,
    judge_topic,
    release,
)
from headwater.log.topic_plan import Action, Alteration, FoundTopic, Step
from headwater.log.topics import Policy, StreamLog, topic_specs
from headwater.observability.findings import Finding, Severity

OK, WARNING, ERROR = Severity.OK, Severity.WARNING, Severity.ERROR
NEW = {"TxnOffsetCommit": 5, "EndTxn": 5, "ConsumerGroupHeartbeat": 1, "DescribeProducers": 0}
BROKERS = FoundBrokers("c", 3, NEW, {"offsets.retention.minutes": "10080"})
CONFIG = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "min.insync.replicas": "2",
    "unclean.leader.election.enable": "false",
    "message.timestamp.type": "LogAppendTime",
}
TOPIC = FoundTopic("hw.docs.changes", "id", 1, 3, CONFIG, {0: (10, 20)}, frozenset({"Read"}), 1_000_000)
DOCS = StreamLog("docs", 1, 7200.0)
STREAM = FoundStream(DOCS, TOPIC.name, TOPIC, FoundGroup("hw.docs", 1, {0: 20}))


def with_config(**settings: str) -> FoundTopic:
    return replace(TOPIC, config={**CONFIG, **{name.replace("_", "."): value for name, value in settings.items()}})


def wrong(findings: list[Finding]) -> list[tuple[str, Severity]]:
    return [(finding.check, finding.severity) for finding in findings if finding.severity is not OK]


def brokers(found: FoundBrokers, transactional: bool = True, consumer_protocol: bool = True) -> list[Finding]:
    return judge_brokers(found, transactional=transactional, consumer_protocol=consumer_protocol)


def test_what_is_wrong_has_a_reason_and_a_next_step() -> None:
    findings = [
        *brokers(FoundBrokers("c", 1, {"EndTxn": 1}, None)),
        *judge_topic(replace(with_config(min_insync_replicas="4"), leaderless=1), 3),
        *judge_stream(replace(STREAM, group=FoundGroup("g", 0, {0: 1}), transactions="denied")),
        judge_rights("t", frozenset({"Read"}), frozenset()),
        judge_claims(FoundClaims("/share", "it is not there", "mount it", writable=False)),
        judge_claims(FoundClaims("/share", "", "mount it", writable=False)),
    ]
    assert len(wrong(findings)) > 6
    for finding in findings:
        if finding.severity is not OK:
            assert finding.why, finding
            assert finding.next, finding


def test_new_brokers_are_in_order() -> None:
    assert wrong(brokers(BROKERS)) == []


def test_brokers_that_are_too_old_for_what_was_configured() -> None:
    old = replace(BROKERS, apis={"TxnOffsetCommit": 2, "EndTxn": 1})
    assert wrong(brokers(old)) == [("version", ERROR), ("version", ERROR)]
    assert wrong(brokers(old, transactional=False, consumer_protocol=False)) == []
    # 3.7 to 3.9 know KIP-848 in a version that clients no longer speak.
    early = replace(BROKERS, apis={**NEW, "ConsumerGroupHeartbeat": 0})
    assert wrong(brokers(early)) == [("version", ERROR)]


def test_brokers_that_do_not_tell_their_version() -> None:
    assert wrong(brokers(replace(BROKERS, apis={}))) == [("version", WARNING)]


@pytest.mark.parametrize(
    ("apis", "since"),
    [
        ({"EndTxn": 5, "TxnOffsetCommit": 5}, "4.0"),
        ({"EndTxn": 4, "ListTransactions": 1}, "3.8"),
        ({"DescribeProducers": 0, "TxnOffsetCommit": 3}, "2.8"),
        ({"TxnOffsetCommit": 3}, "2.5"),
        ({"TxnOffsetCommit": 2}, None),
    ],
)
def test_the_release_that_knows_all_requests(apis: dict[str, int], since: str | None) -> None:
    assert release(apis) == since


def test_groups_that_are_forgotten_early() -> None:
    assert wrong(brokers(replace(BROKERS, settings={"offsets.retention.minutes": "1440"}))) == [
        ("group-offsets", WARNING)
    ]
    assert wrong(brokers(replace(BROKERS, settings=None))) == [("group-offsets", WARNING)]


@pytest.mark.parametrize(
    ("topic", "severity"),
    [
        (TOPIC, None),
        (replace(TOPIC, leaderless=1), ERROR),
        (replace(TOPIC, behind=1), WARNING),
        (with_config(unclean_leader_election_enable="true"), WARNING),
        (with_config(min_insync_replicas="4"), ERROR),
        (with_config(min_insync_replicas="3"), WARNING),
        (with_config(min_insync_replicas="1"), WARNING),
        (replace(with_config(min_insync_replicas="1"), replication=1), WARNING),
        (FoundTopic("t", "", 0, 0), None),
    ],
)
def test_replicas(topic: FoundTopic, severity: Severity | None) -> None:
    assert wrong(judge_topic(topic, 3)) == ([("replicas", severity)] if severity else [])


def test_one_replica_is_all_that_one_broker_has() -> None:
    assert judge_topic(replace(with_config(min_insync_replicas="1"), replication=1), 1) == []


@pytest.mark.parametrize(
    ("settings", "severity"),
    [
        ({"retention_ms": "-1"}, None),
        ({"retention_ms": str(3 * 7_200_000)}, None),
        ({"retention_ms": str(7_200_000)}, WARNING),
        ({"retention_ms": str(7_199_999)}, ERROR),
        ({"retention_bytes": "1000"}, WARNING),
        ({"cleanup_policy": "compact", "delete_retention_ms": "86400000", "retention_ms": "1"}, None),
        ({"cleanup_policy": "compact", "delete_retention_ms": "86399999"}, WARNING),
        ({"cleanup_policy": "compact", "delete_retention_ms": "7199999"}, ERROR),
        ({"cleanup_policy": "compact, delete", "delete_retention_ms": "86400000", "retention_ms": "1"}, ERROR),
    ],
)
def test_what_is_kept_against_the_replay_budget(settings: dict[str, str], severity: Severity | None) -> None:
    found = wrong(judge_stream(replace(STREAM, changes=with_config(**settings))))
    assert found == ([("retention", severity)] if severity else [])


@pytest.mark.parametrize(
    ("committed", "members", "found"),
    [
        ({0: 20}, 0, []),
        ({0: 15}, 1, []),
        ({0: 15}, 0, [("lag", WARNING)]),
        ({}, 1, []),
        ({0: 10}, 1, []),
        ({0: 9}, 1, [("gap", ERROR)]),
        ({0: 21}, 1, [("gap", ERROR)]),
        (None, 0, [("lag", WARNING)]),
    ],
)
def test_what_is_committed_against_the_log(
    committed: dict[int, int] | None, members: int, found: list[tuple[str, Severity]]
) -> None:
    assert wrong(judge_stream(replace(STREAM, group=FoundGroup("hw.docs", members, committed)))) == found


def test_another_systems_topic() -> None:
    theirs = replace(STREAM, log=replace(DOCS, topic="cdc"), topic="cdc", changes=None)
    assert wrong(judge_stream(theirs)) == [("topics", ERROR)]
    assert wrong(judge_stream(replace(theirs, changes=FoundTopic("cdc", "", 0, 0)))) == [("topics", ERROR)]
    # One of ours that is missing is told with the plan.
    assert judge_stream(replace(STREAM, changes=None)) == []


def test_a_compacted_topic_that_must_not_be() -> None:
    needs = replace(STREAM, log=replace(DOCS, uncompacted="markers carry no order: leave `version:` out"))
    compacted = replace(needs, changes=with_config(**{"cleanup.policy": "compact"}))
    assert ("compaction", ERROR) in wrong(judge_stream(compacted))
    assert ("compaction", ERROR) not in wrong(judge_stream(needs))
    assert ("compaction", ERROR) not in wrong(judge_stream(replace(compacted, log=DOCS)))


def test_transactions_that_fail() -> None:
    assert wrong(judge_stream(replace(STREAM, transactions="no rights"))) == [("transactions", ERROR)]
    assert wrong(judge_stream(replace(STREAM, transactions=""))) == []


def test_steps_as_findings() -> None:
    spec = topic_specs(Policy(), [DOCS])[0]

    def altered(setting: str, found: str, wanted: str) -> Step:
        return Step(Action.ALTER, spec, "", alterations=(Alteration(setting, found, wanted, "why"),))

    steps = [
        *(Step(action, spec, "detail", "cure") for action in Action if action is not Action.ALTER),
        altered("min.insync.replicas", "1", "2"),
        altered("retention.ms", "60000", "-1"),
    ]
    severities = [finding.severity for finding in judge_steps(steps)]
    by_action = dict(zip([step.action for step in steps[:-2]], severities, strict=False))
    assert by_action == {
        Action.CREATE: ERROR,
        Action.DECLARE: WARNING,
        Action.GROW: WARNING,
        Action.NOTHING: OK,
        Action.BY_HAND: WARNING,
        Action.REFUSED: ERROR,
    }
    assert severities[-2:] == [WARNING, ERROR]


def test_rights() -> None:
    needed = frozenset({"Read", "Describe"})
    assert judge_rights("t", needed, needed | {"Write"}).severity is OK
    assert judge_rights("t", needed, None).severity is OK
    missing = judge_rights("t", needed, frozenset({"Describe"}))
    assert (missing.severity, missing.what) == (ERROR, "no right to Read")


def test_a_record_from_the_future_shows_that_the_brokers_clock_is_ahead() -> None:
    at_us = TOPIC.newest_ms * 1000 if TOPIC.newest_ms else 0
    assert wrong(judge_clock([TOPIC], at_us)) == []
    assert wrong(judge_clock([TOPIC], at_us - 1_900_000)) == []
    (found,) = judge_clock([TOPIC], at_us - 5_000_000)
    assert (found.severity, "by 5.0 s or more" in found.what) == (WARNING, True)
    # A time that the producer gave says nothing of the broker.
    assert wrong(judge_clock([with_config(message_timestamp_type="CreateTime")], 0)) == []
    assert wrong(judge_clock([], 0)) == []


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        ("Connect to ipv4#127.0.0.1:1 failed: Connection refused", "Check the port"),
        ("Failed to resolve 'nowhere:9092'", "host's name"),
        ("SSL handshake failed: connecting to a PLAINTEXT broker listener?", "is not encrypted"),
        ("Disconnected: SSL connection closed by peer (after 3ms in state SSL_HANDSHAKE)", "is not encrypted"),
        ("Disconnected while requesting ApiVersion: (connecting to a SSL listener?)", "asks for TLS"),
        ("Disconnected: SSL connection closed by peer (after 600012ms in state UP)", "advertised listeners"),
        ("Timed out", "advertised listeners"),
    ],
)
def test_brokers_that_are_away(cause: str, says: str) -> None:
    assert says in away(cause, "").next
    assert away(cause, "Check this").next == "Check this"


@pytest.mark.parametrize(
    ("fault", "writable", "severity"), [("", True, OK), ("", False, WARNING), ("it is not there", False, ERROR)]
)
def test_the_folder_of_the_claim_check(fault: str, writable: bool, severity: Severity) -> None:
    finding = judge_claims(FoundClaims("/share", fault, "mount it", writable))
    assert (finding.check, finding.subject, finding.severity) == ("claims", "/share", severity)
    assert (finding.next == "mount it") == bool(fault)
