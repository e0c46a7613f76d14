"""Rights as `headwater topics acl` prints them, given to a user of a secured broker."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from tests.kafka.client import Kafka
from tests.kafka.secured import Secured

_PASSWORD = "of-one-test"


def user_with(secured: Secured, name: str, calls: Iterable[Sequence[str]]) -> Kafka:
    """Make a user that may do what these calls of kafka-acls.sh would add, and nothing else; return how it comes in."""
    secured.add_user(name, _PASSWORD)
    if wanted := [binding for call in calls for binding in bindings(list(call))]:
        admin = secured.client.admin()
        for future in admin.create_acls(wanted).values():
            future.result(10)
    return secured.scram(name, _PASSWORD)


def bindings(call: list[str]) -> Iterator[AclBinding]:
    assert "--add" in call
    pattern = "LITERAL"
    for flag, value in zip(call, [*call[1:], ""], strict=True):
        if flag == "--allow-principal":
            principal = value
        elif flag == "--resource-pattern-type":
            pattern = value.upper()
        elif flag in ("--topic", "--group", "--transactional-id"):
            resource, name = flag[2:].replace("-", "_").upper(), value
        elif flag == "--cluster":
            resource, name = "BROKER", "kafka-cluster"
    for flag, value in zip(call, [*call[1:], ""], strict=True):
        if flag == "--operation":
            operation = AclOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", value).upper()]
            kind, how = ResourceType[resource], ResourcePatternType[pattern]
            yield AclBinding(kind, name, how, principal, "*", operation, AclPermissionType.ALLOW)
