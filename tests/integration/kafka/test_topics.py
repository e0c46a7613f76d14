"""Topics on a real broker: made once, declared, never taken from others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from headwater.clock import SystemClock
from headwater.errors import Unreachable
from headwater.log.acls import Role, grants
from headwater.log.kafka_admin import NO_CONSENT, KafkaAdmin, bring, look
from headwater.log.topic_plan import Action, Consent, FoundTopic, Step
from headwater.log.topics import Policy, StreamLog, TopicSpec, topic_specs
from tests.integration.kafka.granting import user_with
from tests.kafka.client import Kafka, fresh_name
from tests.kafka.secured import Secured

T = TypeVar("T")
DOCS = StreamLog("docs", 3, 7200.0)


class Cluster:
    """A broker as an operator of one prefix sees it."""

    def __init__(self, kafka: Kafka, prefix: str = "", policy: Policy | None = None) -> None:
        self.kafka = kafka
        self.prefix = prefix or fresh_name("hw")
        self.policy = policy or Policy(prefix=self.prefix)

    def specs(self, stream: StreamLog = DOCS) -> list[TopicSpec]:
        return topic_specs(self.policy, [stream])

    def name(self, ending: str) -> str:
        return f"{self.prefix}.docs.{ending}"

    def with_admin(self, work: Callable[[KafkaAdmin], Awaitable[T]]) -> T:
        async def run() -> T:
            admin = KafkaAdmin(self.kafka.settings(), SystemClock())
            try:
                return await work(admin)
            finally:
                await admin.close()

        return asyncio.run(run())

    def bring(self, consent: Consent = NO_CONSENT, stream: StreamLog = DOCS) -> tuple[list[Step], list[Step]]:
        """Return what was done, and what is left."""
        done: list[Step] = []
        left = self.with_admin(lambda admin: bring(admin, self.specs(stream), consent, done.append))
        return done, left

    def look(self, consent: Consent = NO_CONSENT, stream: StreamLog = DOCS) -> dict[str, Step]:
        steps = self.with_admin(lambda admin: look(admin, self.specs(stream), consent))
        return {step.spec.name: step for step in steps}

    def set(self, topic: str, setting: str, value: str) -> None:
        admin = self.kafka.admin()
        entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(10)

    def delete(self, topic: str) -> None:
        admin = self.kafka.admin()
        admin.delete_topics([topic])[topic].result(10)


def actions(steps: Sequence[Step]) -> set[Action]:
    return {step.action for step in steps}


def test_topics_are_made_as_planned_and_only_once(kafka: Kafka) -> None:
    cluster = Cluster(kafka)
    done, left = cluster.bring()
    assert [step.spec.name for step in done] == [spec.name for spec in cluster.specs()]
    assert left == []
    found = cluster.with_admin(lambda admin: admin.topics(spec.name for spec in cluster.specs()))
    for spec in cluster.specs():
        config = found[spec.name].config
        assert config is not None
        assert {name: config[name] for name in spec.config} == spec.config
        assert found[spec.name].partitions == spec.partitions
    declared = cluster.with_admin(lambda admin: admin.declared(f"{cluster.prefix}.control"))
    assert declared == {name: topic.id for name, topic in found.items()}
    assert cluster.bring() == ([], [])


def test_a_replication_and_a_size_that_were_configured(kafka: Kafka) -> None:
    prefix = fresh_name("hw")
    policy = Policy(prefix, replication=1, cleanup="compact", largest=3 << 20)
    cluster = Cluster(kafka, prefix, policy)
    assert cluster.bring()[1] == []
    assert cluster.bring() == ([], [])


def test_two_operators_at_the_same_time(kafka: Kafka) -> None:
    cluster = Cluster(kafka)

    async def both() -> list[list[Step]]:
        admins = [KafkaAdmin(kafka.settings(), SystemClock()) for _ in range(2)]
        left = await asyncio.gather(*(bring(admin, cluster.specs()) for admin in admins))
        await asyncio.gather(*(admin.close() for admin in admins))
        return left

    assert asyncio.run(both()) == [[], []]
    assert actions(list(cluster.look().values())) == {Action.NOTHING}


def test_a_topic_that_was_made_and_not_declared_is_declared(kafka: Kafka) -> None:
    cluster = Cluster(kafka)
    spec = cluster.specs()[2]
    kafka.topic(spec.name, partitions=3, config=spec.config)
    done, left = cluster.bring()
    assert {step.spec.name: step.action for step in done}[spec.name] is Action.DECLARE
    assert left == []


def test_a_foreign_topic_is_left_alone_until_it_is_adopted(kafka: Kafka) -> None:
    cluster = Cluster(kafka)
    theirs = kafka.topic(cluster.name("changes"), partitions=3)
    kafka.produce(theirs, [(b"k", b"v")])
    done, (left,) = cluster.bring()
    assert theirs not in {step.spec.name for step in done}
    assert (left.action, left.spec.name) == (Action.REFUSED, theirs)
    assert "was not made by Headwater" in left.detail
    assert "retention.ms" not in {it.setting for step in done for it in step.alterations}
    _, left_then = cluster.bring(Consent(adopt=True))
    assert left_then == []
    assert [message.value() for message in kafka.read(theirs, 1)] == [b"v"]


def test_a_topic_that_was_made_anew_is_refused(kafka: Kafka) -> None:
    cluster = Cluster(kafka)
    cluster.bring()
    cluster.delete(cluster.name("receipts"))
    gone = cluster.look()[cluster.name("receipts")]
    assert (gone.action, "is gone with all its records" in gone.detail) == (Action.REFUSED, True)
    kafka.topic(cluster.name("receipts"), partitions=3, config=cluster.specs()[2].config)
    anew = cluster.look()[cluster.name("receipts")]
    assert (anew.action, "it was made anew" in anew.detail) == (Action.REFUSED, True)
    cluster.bring(Consent(adopt=True))
    assert actions(list(cluster.look().values())) == {Action.NOTHING}


def test_a_control_topic_of_others_stops_everything(kafka: Kafka) -> None:
    cluster = Cluster(kafka)
    theirs = kafka.topic(f"{cluster.prefix}.control")
    kafka.produce(theirs, [(None, b"of something else")])
    done, left = cluster.bring()
    assert done == []
    assert actions(left) == {Action.REFUSED}


def test_partitions_are_added_when_it_is_asked_for(kafka: Kafka) -> None:
    cluster = Cluster(kafka)
    cluster.bring()
    more = StreamLog("docs", 6, 7200.0)
    done, left = cluster.bring(stream=more)
    assert (done, actions(left)) == ([], {Action.REFUSED})
    done, left = cluster.bring(Consent(grow=True), more)
    assert (actions(done), left) == ({Action.GROW}, [])
    assert {step.spec.name for step in done} == {cluster.name("changes"), cluster.name("receipts")}
    _, left = cluster.bring(Consent(grow=True))
    assert actions(left) == {Action.REFUSED}


def test_settings_are_put_right_and_records_go_only_with_consent(kafka: Kafka) -> None:
    cluster = Cluster(kafka)
    cluster.bring()
    cluster.set(cluster.name("dead"), "retention.ms", "60000")
    done, left = cluster.bring()
    assert ([step.spec.name for step in done], left) == ([cluster.name("dead")], [])
    cluster.policy = Policy(prefix=cluster.prefix, keep_s=86_400.0)
    done, (left_step,) = cluster.bring()
    assert (done, left_step.action) == ([], Action.REFUSED)
    done, left = cluster.bring(Consent(trim=True))
    assert ([step.spec.name for step in done], left) == ([cluster.name("changes")], [])


def test_an_operators_rights_are_enough_and_end_with_its_prefix(kafka_secured: Secured) -> None:
    prefix, name = fresh_name("hw"), fresh_name("operator")
    calls = [grant.arguments(f"User:{name}") for grant in grants(Role.OPERATOR, prefix, [DOCS])]
    cluster = Cluster(user_with(kafka_secured, name, calls), prefix)
    _, left = cluster.bring()
    assert left == []
    cluster.set(cluster.name("dead"), "retention.ms", "60000")
    assert cluster.bring()[1] == []
    elsewhere = Cluster(cluster.kafka, fresh_name("elsewhere"))
    assert actions(list(elsewhere.look().values())) == {Action.REFUSED}


def test_without_rights_nothing_is_taken_for_missing(kafka_secured: Secured) -> None:
    name = fresh_name("nobody")
    cluster = Cluster(user_with(kafka_secured, name, []))
    done, left = cluster.bring()
    assert done == []
    assert {step.detail for step in left} == {"no rights to see whether it exists"}


def test_a_wrong_password_is_said_at_once(kafka_secured: Secured) -> None:
    cluster = Cluster(kafka_secured.scram(password="wrong"))
    with pytest.raises(Unreachable, match="refused the log-in"):
        cluster.look()


def test_a_broker_that_has_not_heard_of_a_new_topic_is_asked_again(kafka: Kafka) -> None:
    cluster = Cluster(kafka)
    cluster.bring()
    asked: list[str] = []

    class Behind:
        """The first broker that is asked for settings knows none of the topics yet."""

        def __init__(self, inner: AdminClient) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

        def describe_configs(
            self, resources: list[ConfigResource], **options: float
        ) -> dict[ConfigResource, Future[Any]]:
            asked.append("settings")
            if len(asked) > 1:
                return self._inner.describe_configs(resources, **options)
            unknown: Future[Any] = Future()
            unknown.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
            return dict.fromkeys(resources, unknown)

    async def work(admin: KafkaAdmin) -> dict[str, FoundTopic]:
        admin._admin = Behind(admin._admin)  # type: ignore[assignment]  # it stands in for one
        return await admin.topics(spec.name for spec in cluster.specs())

    found = cluster.with_admin(work)
    assert len(found) == len(cluster.specs())
    assert all(topic.config and topic.bounds for topic in found.values())
    assert len(asked) == 2
