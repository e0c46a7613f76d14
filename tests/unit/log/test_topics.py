"""Topics: their names, what they are set to, and which are declared as Headwater's own."""

from __future__ import annotations

from headwater.log.topics import (
    Policy,
    StreamLog,
    TopicSpec,
    changes_topic,
    consumer_group,
    control_topic,
    dead_topic,
    declaration,
    declared_topics,
    positions_topic,
    receipts_topic,
    topic_specs,
    transactional_prefix,
)

_OF_A_STREAM = (changes_topic, receipts_topic, dead_topic, positions_topic)
POLICY = Policy()
DOCS = StreamLog("docs", 8, 7200.0)
_DAY_MS = 86_400_000


def specs(policy: Policy = POLICY, stream: StreamLog = DOCS) -> dict[str, TopicSpec]:
    return {spec.name: spec for spec in topic_specs(policy, [stream])}


def test_no_two_streams_share_a_name() -> None:
    streams = ("a", "b", "control", "a-changes", "a_changes", "changes")
    names = [name("hw", stream) for name in _OF_A_STREAM for stream in streams]
    names.append(control_topic("hw"))
    assert len(set(names)) == len(names)


def test_names_begin_with_the_prefix_and_the_stream() -> None:
    assert [name("hw", "docs") for name in _OF_A_STREAM] == [
        "hw.docs.changes",
        "hw.docs.receipts",
        "hw.docs.dead",
        "hw.docs.positions",
    ]
    assert control_topic("hw") == "hw.control"
    assert consumer_group("hw", "docs") == "hw.docs"


def test_no_streams_transactional_ids_begin_like_anothers() -> None:
    assert not transactional_prefix("hw", "docs-2").startswith(transactional_prefix("hw", "docs"))


def test_changes_and_receipts_have_the_streams_partitions_and_the_rest_has_one() -> None:
    assert {name: spec.partitions for name, spec in specs().items()} == {
        "headwater.control": 1,
        "headwater.docs.changes": 8,
        "headwater.docs.receipts": 8,
        "headwater.docs.dead": 1,
        "headwater.docs.positions": 1,
    }


def test_another_systems_topic_is_not_made() -> None:
    made = specs(stream=StreamLog("docs", 12, 7200.0, topic="cdc.public.docs"))
    assert "headwater.docs.changes" not in made
    assert "cdc.public.docs" not in made
    assert made["headwater.docs.receipts"].partitions == 12


def test_every_setting_has_its_reason() -> None:
    for policy in (Policy(), Policy(cleanup="compact"), Policy(replication=1, keep_s=86400.0)):
        for spec in specs(policy).values():
            assert set(spec.reasons) == set(spec.config)
            assert all(len(reason) > 20 for reason in spec.reasons.values())


def test_nothing_goes_unless_it_was_said_how_long_changes_are_kept() -> None:
    assert {spec.config["retention.ms"] for spec in specs().values()} == {"-1"}
    assert {spec.config["retention.bytes"] for spec in specs().values()} == {"-1"}


def test_what_is_kept_for_a_time_is_only_the_changes() -> None:
    made = specs(Policy(keep_s=3600.5))
    assert made["headwater.docs.changes"].config["retention.ms"] == "3600500"
    others = [spec for name, spec in made.items() if not name.endswith(".changes")]
    assert {spec.config["retention.ms"] for spec in others} == {"-1"}


def test_only_changes_are_compacted() -> None:
    made = specs(Policy(cleanup="compact"))
    assert made["headwater.docs.changes"].config["cleanup.policy"] == "compact"
    assert {spec.config["cleanup.policy"] for name, spec in made.items() if not name.endswith(".changes")} == {"delete"}


def test_delete_markers_outlive_two_replays_and_a_day() -> None:
    def marker_ms(replay_s: float) -> int:
        made = specs(Policy(cleanup="compact"), StreamLog("docs", 8, replay_s))
        return int(made["headwater.docs.changes"].config["delete.retention.ms"])

    assert marker_ms(600.0) == _DAY_MS
    assert marker_ms(86400.0) == 2 * _DAY_MS


def test_two_replicas_in_sync_only_where_there_are_three() -> None:
    in_sync = [specs(Policy(replication=n))["headwater.control"].config["min.insync.replicas"] for n in (1, 2, 3, 5)]
    assert in_sync == ["1", "1", "2", "2"]
    assert "min.insync.replicas" not in specs(Policy())["headwater.control"].config


def test_the_largest_change_fits_in_with_its_envelope() -> None:
    largest = 5 * 1024 * 1024
    assert int(specs(Policy(largest=largest))["headwater.docs.changes"].config["max.message.bytes"]) > largest
    assert int(specs(Policy(largest=1000))["headwater.docs.changes"].config["max.message.bytes"]) >= 1_048_588


def test_the_first_declaration_that_replaces_what_stands_wins() -> None:
    records = [
        declaration("a", "one", "", 1),
        declaration("a", "two", "", 2),  # another operator at the same time
        declaration("b", "three", "", 3),
        declaration("a", "four", "one", 4),
    ]
    assert declared_topics(records) == {"a": "four", "b": "three"}


def test_records_of_other_kinds_declare_nothing() -> None:
    records = [
        b'{"kind":"stream","name":"a","expected":0,"writer":"w","state":{}}',
        b'{"kind":"topic","name":7,"id":"x"}',
        b"no JSON",
        b"",
        None,
    ]
    assert declared_topics(records) == {}
