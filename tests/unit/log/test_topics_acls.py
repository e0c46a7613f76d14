"""What each role may do, and no more."""

from __future__ import annotations

import pytest

from headwater.log.acls import ROLES, Grant, Resource, Role, grants
from headwater.log.kafka_client import Trouble, reading
from headwater.log.topics import NO_GROUP, StreamLog

STREAMS = [StreamLog("docs", 4, 7200.0), StreamLog("rows", 4, 7200.0, topic="cdc.rows")]


def operations(role: Role) -> dict[tuple[Resource, str], frozenset[str]]:
    return {(grant.resource, grant.name): grant.operations for grant in grants(role, "hw", STREAMS)}


def test_nobody_but_the_operator_changes_topics() -> None:
    for role in Role:
        changing = {op for ops in operations(role).values() for op in ops} & {"Create", "Alter", "AlterConfigs"}
        assert bool(changing) == (role is Role.OPERATOR)


def test_nobody_deletes() -> None:
    assert not any({"Delete", "All"} & ops for role in Role for ops in operations(role).values())


def test_another_systems_topic_is_only_read() -> None:
    for role in Role:
        assert "Write" not in operations(role).get((Resource.TOPIC, "cdc.rows"), frozenset())


def test_a_reader_writes_nothing_and_joins_no_group() -> None:
    needed = operations(Role.READER)
    assert not any("Write" in ops for ops in needed.values())
    assert needed[Resource.GROUP, "hw.docs"] == {"Describe"}


def test_a_publisher_cannot_read_what_others_published() -> None:
    needed = operations(Role.PUBLISHER)
    assert needed[Resource.TOPIC, "hw.docs.changes"] == {"Describe", "Write"}
    assert not any(name.startswith("hw.rows") for _, name in needed)


def test_a_workers_transactional_ids_are_its_streams_own() -> None:
    (ids,) = [it for it in grants(Role.WORKER, "hw", STREAMS[:1]) if it.resource is Resource.TRANSACTIONAL_ID]
    assert (ids.name, ids.prefixed) == ("hw.docs.", True)


def test_whoever_reads_without_a_group_may_ask_for_one() -> None:
    assert reading({}, Trouble())["group.id"] == NO_GROUP
    for role in Role:
        assert operations(role)[Resource.GROUP, NO_GROUP] == {"Describe"}


@pytest.mark.parametrize(
    ("grant", "arguments"),
    [
        (Grant(Resource.TOPIC, "t", frozenset({"Write", "Read"})), "--topic t --operation Read --operation Write"),
        (
            Grant(Resource.TRANSACTIONAL_ID, "p.", frozenset({"Write"}), prefixed=True),
            "--transactional-id p. --resource-pattern-type prefixed --operation Write",
        ),
        (Grant(Resource.CLUSTER, "kafka-cluster", frozenset({"Describe"})), "--cluster --operation Describe"),
    ],
)
def test_the_arguments_of_kafkas_own_tool(grant: Grant, arguments: str) -> None:
    assert " ".join(grant.arguments("User:a")) == f"--add --allow-principal User:a {arguments}"


def test_every_role_says_what_it_is_for() -> None:
    assert set(ROLES) == set(Role)
