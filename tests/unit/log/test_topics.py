"""Names of topics, groups and transactional ids."""

from __future__ import annotations

from headwater.log.topics import (
    changes_topic,
    consumer_group,
    control_topic,
    dead_topic,
    positions_topic,
    receipts_topic,
    transactional_prefix,
)

_OF_A_STREAM = (changes_topic, receipts_topic, dead_topic, positions_topic)


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
