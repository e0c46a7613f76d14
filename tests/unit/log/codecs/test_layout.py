"""Layouts: what cannot be, and when the log alone does not order the changes of a document."""

from __future__ import annotations

import pytest

from headwater.log.codecs.decoder import decoder
from headwater.log.codecs.json import decode
from headwater.log.codecs.layout import Layout, compaction_problem_of, contradiction_of


@pytest.mark.parametrize(
    ("layout", "part"),
    [
        (Layout(envelope="none", id="slug"), "`id` is"),
        (Layout(envelope="none", id="key."), "`id` is"),
        (Layout(envelope="none", id="value"), "`id` is"),
        (Layout(envelope="none", id=""), "`id` is"),
        (Layout(envelope="none", id="key.slug"), "needs a key with fields"),
        (Layout(envelope="none", id="event.subject"), "is for `envelope: cloudevents`"),
        (Layout(text=("title",)), "`envelope: change` has its own"),
        (Layout(delete="true"), "`envelope: change` has its own"),
        (Layout(format="text"), "`format: text` is for"),
        (Layout(envelope="debezium", format="text"), "never `format: text`"),
        (Layout(envelope="none", format="text", version="rev"), "`version` needs a value with fields"),
        (Layout(envelope="none", format="text", id="value.slug"), "`id` needs a value with fields"),
    ],
)
def test_what_cannot_be(layout: Layout, part: str) -> None:
    problem = contradiction_of(layout)
    assert problem
    assert part in problem
    with pytest.raises(ValueError, match="`"):
        decoder(layout, None)


@pytest.mark.parametrize(
    "layout",
    [
        Layout(),
        Layout(version="rev", key_format="json", id="key.id"),
        Layout(envelope="none", format="text"),
        Layout(envelope="none", id="value.a.b", key_format="avro"),
        Layout(envelope="debezium", id="key.id", key_format="json", version="source.lsn"),
        Layout(envelope="cloudevents", id="event.subject", format="text"),
    ],
)
def test_what_can_be(layout: Layout) -> None:
    assert contradiction_of(layout) is None


def test_headwaters_own_changes_are_read_by_their_own_codec() -> None:
    assert decoder(Layout(), None) is decode


def test_formats_with_schemas_need_a_registry() -> None:
    for layout in (Layout(format="avro"), Layout(key_format="protobuf")):
        with pytest.raises(ValueError, match="need a schema registry"):
            decoder(layout, None)


def test_compaction_takes_the_delete_event_that_carries_the_order() -> None:
    assert "leave `version:` out" in compaction_problem_of(Layout(envelope="debezium", version="source.lsn"))
    by_row = Layout(envelope="debezium", version="source.lsn", id="value.slug")
    assert "not compacted" in compaction_problem_of(by_row)
    assert compaction_problem_of(Layout(envelope="debezium")) == ""
    assert compaction_problem_of(Layout(envelope="none", version="source.lsn")) == ""
    assert compaction_problem_of(Layout(envelope="debezium", version="__source_lsn")) == ""
