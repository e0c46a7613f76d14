"""The doctor on a real broker: what is in order, and each thing that is not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from headwater.clock import SystemClock
from headwater.doctor.kafka import Examination, KafkaSubject, examine
from headwater.log.acls import Grant, Resource, Role, grants
from headwater.log.kafka_admin import KafkaAdmin, bring
from headwater.log.topics import Policy, StreamLog, topic_specs
from headwater.observability.findings import Finding, Severity, sound
from tests.integration.cli.process import until
from tests.integration.kafka.granting import user_with
from tests.kafka.client import Kafka, fresh_name
from tests.kafka.cluster import Cluster
from tests.kafka.secured import Secured

DOCS = StreamLog("docs", 2, 7200.0)


def examined(kafka: Kafka, subject: KafkaSubject) -> Examination:
    async def run() -> Examination:
        admin = KafkaAdmin(kafka.settings(), SystemClock())
        try:
            return await examine(admin, subject, SystemClock())
        finally:
            await admin.close()

    return asyncio.run(run())


def applied(kafka: Kafka, subject: KafkaSubject) -> None:
    async def run() -> None:
        admin = KafkaAdmin(kafka.settings(), SystemClock())
        try:
            assert await bring(admin, topic_specs(subject.policy, subject.streams)) == []
        finally:
            await admin.close()

    asyncio.run(run())


def subject_of(stream: StreamLog = DOCS) -> KafkaSubject:
    return KafkaSubject(Policy(prefix=fresh_name("hw")), [stream], transactional=True, consumer_protocol=True)


def wrong(examination: Examination) -> list[Finding]:
    return [finding for finding in examination.findings if finding.severity is not Severity.OK]


@pytest.fixture
def subject(kafka: Kafka) -> KafkaSubject:
    made = subject_of()
    applied(kafka, made)
    return made


@pytest.fixture
def changes(subject: KafkaSubject) -> str:
    return f"{subject.policy.prefix}.docs.changes"


def set_on(kafka: Kafka, topic: str, setting: str, value: str) -> None:
    admin = kafka.admin()
    entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


def commit(kafka: Kafka, group: str, topic: str, offset: int) -> None:
    consumer = Consumer(kafka.settings(group_id=group))
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def let_go(kafka: Kafka, topic: str, before: int) -> None:
    admin = kafka.admin()
    for future in admin.delete_records([TopicPartition(topic, 0, before)]).values():
        future.result(10)


def test_all_is_well(kafka: Kafka, subject: KafkaSubject) -> None:
    examination = examined(kafka, subject)
    assert examination.reached
    assert wrong(examination) == []
    assert {finding.check for finding in examination.findings} == {
        "brokers",
        "version",
        "transactions",
        "group-offsets",
        "topics",
        "retention",
        "gap",
        "lag",
        "rights",
        "clock",
    }


def test_topics_that_are_missing(kafka: Kafka) -> None:
    examination = examined(kafka, subject_of())
    assert {(it.check, it.next) for it in wrong(examination)} == {("topics", "`headwater topics apply` makes it")}
    assert len(wrong(examination)) == 5


def test_history_that_goes_before_a_replay_is_done(kafka: Kafka, subject: KafkaSubject, changes: str) -> None:
    set_on(kafka, changes, "retention.ms", "3600000")
    found = {finding.check: finding for finding in wrong(examined(kafka, subject))}
    assert set(found) == {"topics", "retention"}
    assert found["retention"].severity is Severity.ERROR
    assert "kept for 1.0 h, and a replay may take 2.0 h" in found["retention"].what


def test_another_systems_topic_is_only_judged(kafka: Kafka) -> None:
    theirs = kafka.topic(partitions=4, config={"cleanup.policy": "compact", "delete.retention.ms": "1000"})
    subject = subject_of(StreamLog("docs", 1, 7200.0, topic=theirs))
    applied(kafka, replace(subject, streams=[replace(subject.streams[0], partitions=4)]))
    (found,) = wrong(examined(kafka, subject))
    assert (found.check, found.subject, found.severity) == ("retention", theirs, Severity.ERROR)
    assert f"delete.retention.ms of {theirs}" in found.next


def test_another_systems_topic_that_is_not_there(kafka: Kafka) -> None:
    subject = subject_of(StreamLog("docs", 1, 7200.0, topic=fresh_name("nowhere")))
    found = {finding.subject: finding for finding in wrong(examined(kafka, subject))}
    assert found[subject.streams[0].topic or ""].what == "there is no such topic"


def test_records_that_went_before_they_were_settled(kafka: Kafka) -> None:
    subject = subject_of(StreamLog("docs", 1, 7200.0))
    applied(kafka, subject)
    changes, group = f"{subject.policy.prefix}.docs.changes", f"{subject.policy.prefix}.docs"
    kafka.produce(changes, [(b"k", b"%d" % number) for number in range(20)])
    commit(kafka, group, changes, 5)
    (behind,) = wrong(examined(kafka, subject))
    assert (behind.check, behind.severity) == ("lag", Severity.WARNING)
    assert "at most 15 changes behind, and no worker runs" in behind.what
    let_go(kafka, changes, 12)
    found = {finding.check: finding for finding in wrong(examined(kafka, subject))}
    assert found["gap"].severity is Severity.ERROR
    assert "partition 0: 5 to 12" in found["gap"].what


def test_a_log_that_ends_before_what_was_settled(kafka: Kafka, subject: KafkaSubject, changes: str) -> None:
    commit(kafka, f"{subject.policy.prefix}.docs", changes, 7)
    (found,) = wrong(examined(kafka, subject))
    assert (found.check, found.severity) == ("gap", Severity.ERROR)
    assert "log-rewind" in found.why


def test_a_control_topic_that_was_trimmed(kafka: Kafka, subject: KafkaSubject) -> None:
    control = f"{subject.policy.prefix}.control"
    let_go(kafka, control, 2)
    (found,) = wrong(examined(kafka, subject))
    assert (found.check, found.severity) == ("examination", Severity.ERROR)
    assert "trimmed to offset 2" in found.what


@pytest.fixture
def locked(kafka_secured: Secured) -> tuple[Secured, KafkaSubject]:
    subject = subject_of()
    applied(kafka_secured.client, subject)
    return kafka_secured, subject


def _worker(secured: Secured, subject: KafkaSubject, without: str = "") -> Kafka:
    name = fresh_name("worker")
    needed = [
        it
        for it in grants(Role.WORKER, subject.policy.prefix, subject.streams)
        if not it.name.endswith(without or "\0")
    ]
    cluster = Grant(Resource.CLUSTER, "kafka-cluster", frozenset({"DescribeConfigs"}))
    return user_with(secured, name, [grant.arguments(f"User:{name}") for grant in [*needed, cluster]])


def test_a_workers_rights_are_enough(locked: tuple[Secured, KafkaSubject]) -> None:
    secured, subject = locked
    assert wrong(examined(_worker(secured, subject), subject)) == []


@pytest.mark.parametrize(
    ("without", "says"),
    [
        (".receipts", "no rights to see whether it exists"),
        (".docs", "no right to Describe, Read"),
        (".docs.", "no rights on the transactional id"),
    ],
    ids=["receipts", "group", "transactional id"],
)
def test_each_right_that_is_missing(locked: tuple[Secured, KafkaSubject], without: str, says: str) -> None:
    secured, subject = locked
    examination = examined(_worker(secured, subject, without), subject)
    assert not sound(examination.findings)
    assert says in " ".join(finding.what for finding in wrong(examination))


def test_a_wrong_password_a_wrong_authority_and_a_wrong_address_are_told_apart(kafka_secured: Secured) -> None:
    elsewhere = kafka_secured.scram()
    untrusted = Kafka(elsewhere.bootstrap, {**elsewhere.security, "ssl.ca.location": str(kafka_secured.wrong_ca)})
    unencrypted = Kafka(kafka_secured.listeners["SASL_SSL"])
    for kafka, what, cure in (
        (kafka_secured.scram(password="wrong"), "refused the log-in", "log.security"),
        (untrusted, "TLS failed", "log.security: ca"),
        (unencrypted, "Failed to get metadata", "a listener that asks for TLS does not answer"),
        (Kafka("127.0.0.1:1"), "Connection refused", "Check the port"),
    ):
        examination = examined(kafka, subject_of())
        assert not examination.reached
        (found,) = examination.findings
        assert what in found.what
        assert cure in found.next
        assert "wrong" not in found.what


def test_a_cluster_that_lost_a_broker(kafka_cluster: Cluster) -> None:
    subject = subject_of()
    subject = replace(subject, policy=replace(subject.policy, replication=3))
    applied(kafka_cluster.client, subject)
    assert wrong(examined(kafka_cluster.client, subject)) == []
    kafka_cluster.brokers[0].kill()

    def only_replicas() -> bool:
        found = wrong(examined(kafka_cluster.client, subject))
        return {(it.check, it.severity) for it in found} == {("replicas", Severity.WARNING)}

    until(only_replicas, within_s=60)


def test_the_folder_of_the_claim_check_is_looked_at_even_without_brokers(tmp_path: Path) -> None:
    examination = examined(Kafka("127.0.0.1:1"), replace(subject_of(), claims=tmp_path))
    assert not examination.reached
    assert [finding.check for finding in wrong(examination)] == ["brokers", "claims"]
    assert list(tmp_path.iterdir()) == []
