"""What it takes to bring topics to what they shall be, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.log.topic_plan import Action, Alteration, Consent, FoundTopic, Step, plan
from headwater.log.topics import Policy, StreamLog, TopicSpec, topic_specs

SPEC = next(
    it for it in topic_specs(Policy(replication=3), [StreamLog("docs", 4, 7200.0)]) if it.name.endswith(".changes")
)
MINE = {SPEC.name: "id-1"}
NOTHING = Consent()
USED = {0: (0, 7)}
UNUSED = dict.fromkeys(range(4), (0, 0))
AS_PLANNED = FoundTopic(SPEC.name, "id-1", 4, 3, dict(SPEC.config), USED)


def steps(
    found: FoundTopic | None, declared: dict[str, str], consent: Consent = NOTHING, spec: TopicSpec = SPEC
) -> list[Step]:
    return plan([spec], {found.name: found} if found else {}, declared, consent)


def actions(*given: object) -> list[Action]:
    return [step.action for step in steps(*given)]  # type: ignore[arg-type]  # the cases' own arguments


def with_setting(setting: str, value: str) -> FoundTopic:
    return replace(AS_PLANNED, config={**SPEC.config, setting: value})


def test_what_is_missing_is_created() -> None:
    assert actions(None, {}) == [Action.CREATE]


def test_what_is_as_planned_is_left_alone() -> None:
    assert actions(AS_PLANNED, MINE) == [Action.NOTHING]


def test_what_was_made_and_not_yet_declared_is_declared() -> None:
    (step,) = steps(replace(AS_PLANNED, bounds=UNUSED), {})
    assert (step.action, step.replaces) == (Action.DECLARE, "")


@pytest.mark.parametrize(
    ("found", "declared", "says"),
    [
        pytest.param(AS_PLANNED, {}, "was not made by Headwater", id="foreign"),
        pytest.param(replace(AS_PLANNED, bounds=None), {}, "was not made by Headwater", id="perhaps foreign"),
        pytest.param(replace(AS_PLANNED, id="id-2"), MINE, "its id was id-1 and is id-2", id="made anew"),
        pytest.param(replace(AS_PLANNED, id="id-2", bounds=UNUSED), MINE, "is id-2", id="made anew, and empty"),
        pytest.param(None, MINE, "is gone with all its records", id="deleted"),
    ],
)
def test_what_is_not_ours_is_refused_and_adopted_only_when_told_to(
    found: FoundTopic | None, declared: dict[str, str], says: str
) -> None:
    (step,) = steps(found, declared)
    assert step.action is Action.REFUSED
    assert says in step.detail
    assert "--adopt" in step.cure
    (adopted,) = steps(found, declared, Consent(adopt=True))
    assert adopted.action is (Action.DECLARE if found else Action.CREATE)
    assert adopted.replaces == declared.get(SPEC.name, "")


def test_partitions_are_added_only_when_told_to() -> None:
    fewer = replace(AS_PLANNED, partitions=2)
    (step,) = steps(fewer, MINE)
    assert step.action is Action.REFUSED
    assert "log epoch" in step.cure
    assert actions(fewer, MINE, Consent(grow=True)) == [Action.GROW]


def test_partitions_grow_to_a_multiple_or_to_what_another_systems_topic_has() -> None:
    odd = replace(AS_PLANNED, partitions=3)
    (step,) = steps(odd, MINE, Consent(grow=True))
    assert step.action is Action.REFUSED
    assert "a multiple of 3" in step.cure
    for topic, action in ((None, Action.REFUSED), ("theirs", Action.GROW)):
        specs = topic_specs(Policy(replication=3), [StreamLog("docs", 4, 7200.0, topic)])
        receipts = next(it for it in specs if it.name.endswith(".receipts"))
        found = replace(odd, name=receipts.name, config=dict(receipts.config))
        assert actions(found, {receipts.name: "id-1"}, Consent(grow=True), receipts) == [action]


def test_partitions_are_never_taken_away() -> None:
    (step,) = steps(replace(AS_PLANNED, partitions=9), MINE, Consent(adopt=True, grow=True, trim=True))
    assert step.action is Action.REFUSED
    assert "Configure 9 partitions" in step.cure


def test_another_replication_is_for_a_person() -> None:
    assert actions(replace(AS_PLANNED, replication=1), MINE) == [Action.BY_HAND]


def test_a_setting_is_altered_with_its_reason() -> None:
    (step,) = steps(with_setting("min.insync.replicas", "1"), MINE)
    assert step.action is Action.ALTER
    assert step.alterations == (
        Alteration("min.insync.replicas", "1", "2", "an acknowledged record survives the loss of a broker"),
    )


def test_settings_that_the_broker_does_not_have_are_not_altered() -> None:
    config = {name: value for name, value in SPEC.config.items() if name != "compression.type"}
    assert actions(replace(AS_PLANNED, config=config), MINE) == [Action.NOTHING]


def test_settings_that_cannot_be_read_are_said() -> None:
    (step,) = steps(replace(AS_PLANNED, config=None), MINE)
    assert step.action is Action.BY_HAND
    assert "DescribeConfigs" in step.cure


@pytest.mark.parametrize(
    ("setting", "found", "wanted", "trims"),
    [
        ("retention.ms", "-1", "60000", True),
        ("retention.ms", "90000", "60000", True),
        ("retention.ms", "60000", "90000", False),
        ("retention.ms", "60000", "-1", False),
        ("retention.bytes", "-1", "1", True),
        ("delete.retention.ms", "90000", "60000", True),
        ("cleanup.policy", "delete", "compact", True),
        ("cleanup.policy", "compact", "delete", True),
        ("min.insync.replicas", "1", "2", False),
    ],
)
def test_records_go_only_when_told_to(setting: str, found: str, wanted: str, trims: bool) -> None:
    spec = replace(SPEC, config={setting: wanted}, reasons={setting: "why"})
    here = replace(AS_PLANNED, config={setting: found})
    assert [step.action for step in steps(here, MINE, spec=spec)] == [Action.REFUSED if trims else Action.ALTER]
    assert [step.action for step in steps(here, MINE, Consent(trim=True), spec)] == [Action.ALTER]


def test_lists_have_no_order() -> None:
    spec = replace(SPEC, config={"cleanup.policy": "compact,delete"}, reasons={"cleanup.policy": "why"})
    here = replace(AS_PLANNED, config={"cleanup.policy": "delete, compact"})
    assert [step.action for step in steps(here, MINE, spec=spec)] == [Action.NOTHING]


def test_without_a_replication_of_ours_the_brokers_own_stands() -> None:
    spec = replace(SPEC, replication=None)
    assert [step.action for step in steps(replace(AS_PLANNED, replication=1), MINE, spec=spec)] == [Action.NOTHING]


def test_what_may_not_be_seen_is_not_made() -> None:
    (step,) = steps(FoundTopic(SPEC.name, "", 0, 0), {}, Consent(adopt=True))
    assert step.action is Action.REFUSED
    assert "no rights" in step.detail


def test_without_the_registry_nothing_is_done() -> None:
    specs = topic_specs(Policy(), [StreamLog("docs", 4, 7200.0)])
    control = FoundTopic("headwater.control", "id", 1, 1, dict(specs[0].config), {0: (0, 3)})
    taken = plan(specs, {control.name: control}, {})
    assert {step.action for step in taken} == {Action.REFUSED}
    assert "First headwater.control" in taken[1].cure


def test_a_refusal_keeps_no_other_topic_back() -> None:
    specs = topic_specs(Policy(replication=3), [StreamLog("docs", 4, 7200.0)])
    taken = plan(specs, {AS_PLANNED.name: AS_PLANNED}, {})
    assert [step.action for step in taken] == [Action.CREATE, Action.REFUSED, *[Action.CREATE] * 3]
