"""Examines a Kafka log: asks the brokers, and has what they say judged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.clock import Clock
from headwater.errors import HeadwaterError, Retry, Unreachable
from headwater.log import claims
from headwater.log.acls import Grant, Resource, Role, grants
from headwater.log.codecs.schemas import SchemaRegistry
from headwater.log.health import (
    FoundBrokers,
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
)
from headwater.log.kafka_admin import KafkaAdmin, look, measured
from headwater.log.topic_plan import FoundTopic
from headwater.log.topics import (
    Policy,
    StreamLog,
    changes_topic,
    consumer_group,
    topic_specs,
    transactional_prefix,
)
from headwater.observability.findings import Finding, failure, in_order


@dataclass(frozen=True)
class KafkaSubject:
    """What is examined, as the configuration has it."""

    policy: Policy
    streams: Sequence[StreamLog]
    transactional: bool
    consumer_protocol: bool
    claims: Path | None = None
    schemas: Callable[[], SchemaRegistry] | None = None


@dataclass(frozen=True)
class Examination:
    """What was found. `reached` tells whether the brokers answered at all."""

    findings: list[Finding]
    reached: bool = True


async def examine(admin: KafkaAdmin, subject: KafkaSubject, clock: Clock) -> Examination:
    """Look at everything, change nothing. Raises nothing for what it finds."""
    findings = [judge_claims(await asyncio.to_thread(claims.look, subject.claims))] if subject.claims else []
    if subject.schemas:
        findings.append(await _schemas(subject.schemas))
    try:
        brokers = await admin.brokers()
    except (Retry, Unreachable) as error:
        return Examination([_away(error), *findings], reached=False)
    findings += judge_brokers(brokers, transactional=subject.transactional, consumer_protocol=subject.consumer_protocol)
    try:
        findings += await _topics(admin, subject, brokers, clock)
    except HeadwaterError as error:
        cure = error.cure if isinstance(error, Unreachable) else "Mend this first, and ask again"
        findings.append(failure("examination", "kafka", str(error), "what comes after it was not looked at", cure))
    return Examination(findings)


async def _schemas(reached: Callable[[], SchemaRegistry]) -> Finding:
    try:
        registry = reached()
        try:
            await registry.check()
        finally:
            await registry.close()
    except HeadwaterError as error:
        why = "records whose schemas are not known yet wait for it"
        cure = error.cure if isinstance(error, Unreachable) else "Start it, or check log.registry.url"
        what = error.cause if isinstance(error, Retry | Unreachable) else str(error)
        return failure("schema registry", "log.registry", what, why, cure)
    return in_order("schema registry", "log.registry", "it answers")


def _away(error: Retry | Unreachable) -> Finding:
    return away(error.cause, error.cure if isinstance(error, Unreachable) else "")


async def _topics(admin: KafkaAdmin, subject: KafkaSubject, brokers: FoundBrokers, clock: Clock) -> list[Finding]:
    policy = subject.policy
    known, _ = await measured(admin, subject.streams)
    specs = topic_specs(policy, known)
    sources = {stream.name: stream.topic or changes_topic(policy.prefix, stream.name) for stream in subject.streams}
    now_us = clock.now_us()
    found = await admin.topics({*(spec.name for spec in specs), *sources.values()})
    findings = judge_steps(await look(admin, specs))
    for topic in found.values():
        findings += judge_topic(topic, brokers.number)
    groups = {}
    for stream in subject.streams:
        facts = await _stream(admin, subject, stream, found.get(sources[stream.name]))
        groups[facts.group.name] = facts.group
        findings += judge_stream(facts)
    for grant in grants(Role.WORKER, policy.prefix, subject.streams):
        findings += _rights(grant, found, groups)
    ours = [topic for name, topic in found.items() if name.startswith(f"{policy.prefix}.")]
    return [*findings, *judge_clock(ours, now_us)]


async def _stream(
    admin: KafkaAdmin, subject: KafkaSubject, stream: StreamLog, changes: FoundTopic | None
) -> FoundStream:
    prefix = subject.policy.prefix
    topic = stream.topic or changes_topic(prefix, stream.name)
    group = await admin.group(consumer_group(prefix, stream.name), topic, changes.partitions if changes else 0)
    transactions = None
    if subject.transactional:
        transactions = await admin.transactions(f"{transactional_prefix(prefix, stream.name)}doctor")
    return FoundStream(stream, topic, changes, group, transactions)


def _rights(grant: Grant, topics: Mapping[str, FoundTopic], groups: Mapping[str, FoundGroup]) -> list[Finding]:
    """What cannot be seen is told with the topics; a transactional id was tried."""
    if grant.resource is Resource.TOPIC and grant.name in topics:
        return [judge_rights(grant.name, grant.operations, topics[grant.name].operations)]
    if grant.resource is Resource.GROUP and grant.name in groups:
        return [judge_rights(grant.name, grant.operations, groups[grant.name].operations)]
    return []
