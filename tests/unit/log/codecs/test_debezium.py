"""Debezium's events, most of them as a real connector wrote them."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from headwater.engine.plan import Ready, Stale, plan
from headwater.log.codecs.debezium import UNAVAILABLE
from headwater.log.codecs.layout import Layout
from headwater.model.change import Op, Record, digest
from headwater.model.version import Version, newer
from tests.unit.log.codecs.reading import APPENDED_US, change, dead, record

EVENTS: dict[str, Any] = json.loads((Path(__file__).parent / "debezium.json").read_text())
ROWS = Layout(envelope="debezium", key_format="json", text=("name", "email"), version="source.lsn")
PLACEHOLDER = UNAVAILABLE.decode()


def event(sample: dict[str, Any], **more: Any) -> Record:
    headers = tuple((name, value.encode()) for name, value in sample["headers"])
    return record(sample["value"], sample["key"], headers, **more)


def updated(**columns: object) -> dict[str, Any]:
    sample: dict[str, Any] = json.loads(json.dumps(EVENTS["update"]["value"]))
    sample["after"].update(columns)
    return sample


def test_an_insert() -> None:
    found = change(ROWS, event(EVENTS["insert"]))
    assert (found.id, found.op, found.version) == ("2", Op.UPSERT, Version(1, 22191648, 0, 5))
    assert found.time_us == 1795415812479739
    assert found.body == {**EVENTS["insert"]["value"]["after"], "text": "Bob\n\nbob@x.org"}


@pytest.mark.parametrize(
    ("name", "document", "text"),
    [
        ("snapshot", "1", "Ann\n\nann@x.org"),
        ("insert", "2", "Bob\n\nbob@x.org"),
        ("update", "2", "Bobby\n\nbob@x.org"),
        ("column added", "4", "D"),
        ("with schemas", "3", "C"),
    ],
)
def test_rows_that_are_set(name: str, document: str, text: str) -> None:
    found = change(ROWS, event(EVENTS[name]))
    assert found.body
    assert (found.id, found.op, found.body["text"]) == (document, Op.UPSERT, text)
    payload = EVENTS[name]["value"].get("payload", EVENTS[name]["value"])
    assert found.version.order == payload["source"]["lsn"]
    assert found.time_us == payload["source"]["ts_us"]


def test_a_delete_and_the_marker_behind_it() -> None:
    row = change(ROWS, event(EVENTS["update"], offset=2))
    deleted = change(ROWS, event(EVENTS["delete"], offset=3))
    marker = change(ROWS, event(EVENTS["marker"], offset=4))
    again = change(ROWS, event(EVENTS["insert"] | {"value": updated()}, offset=9))
    assert (deleted.id, deleted.op, deleted.digest, deleted.version.order) == ("2", Op.DELETE, digest(b""), 22192040)
    assert deleted.time_us == 1795415813258273
    assert (marker.id, marker.op, marker.version) == ("2", Op.DELETE, Version(1, 0, 0, 4))
    assert newer(deleted.version, row.version)
    assert newer(row.version, marker.version), "it carries no order, so it must overtake nothing"
    assert newer(again.version, marker.version)


def test_the_marker_leaves_a_receipt_and_nothing_else() -> None:
    deleted = change(ROWS, event(EVENTS["delete"], offset=3))
    written = plan(deleted, None, 1, 99, passes=True)
    assert isinstance(written, Ready)
    marker = change(ROWS, event(EVENTS["marker"], offset=4))
    assert plan(marker, written.write.manifest, 1, 99, passes=True) == Stale(written.write.manifest)


def test_without_a_declared_order_a_marker_is_a_delete_like_any_other() -> None:
    layout = Layout(envelope="debezium", key_format="json")
    marker = change(layout, event(EVENTS["marker"], offset=4))
    assert newer(marker.version, change(layout, event(EVENTS["delete"], offset=3)).version)
    assert marker.time_us == APPENDED_US


def test_a_row_that_moves_to_another_key() -> None:
    found = [change(ROWS, event(sample, offset=i)) for i, sample in enumerate(EVENTS["moved"], 5)]
    assert [(it.id, it.op) for it in found] == [("1", Op.DELETE), ("1", Op.DELETE), ("9", Op.UPSERT)]


def test_ids_from_the_row_find_the_row_of_a_delete_too() -> None:
    layout = Layout(envelope="debezium", key_format="json", id="value.email", version="source.lsn")
    assert [change(layout, event(EVENTS[name])).id for name in ("insert", "delete")] == ["bob@x.org"] * 2
    marker = dead(layout, event(EVENTS["marker"]))
    assert "tombstones.on.delete" in marker.reason
    assert marker.id == "record 0.5"


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"op": "t", "source": {}}, "a truncate: it removes rows that it does not name"),
        ({"op": "m", "source": {}, "message": {"prefix": "p", "content": "secret"}}, "about no row"),
        ({"op": "x", "source": {}, "after": {"name": "secret"}}, "`op` is none of"),
        ({"op": None, "source": {}, "after": {"name": "secret"}}, "`op` is none of"),
        ({"op": ["c"], "source": {}, "after": {"name": "secret"}}, "`op` is none of"),
        ({"op": "c", "source": {"lsn": 1}, "before": {"name": "secret"}, "after": None}, "no row in `after`"),
        ({"op": "c", "source": {"lsn": None}, "after": {"name": "secret"}}, "`version: source.lsn` is null"),
        ({"op": "c", "source": {}, "after": {"name": "secret"}}, "`version: source.lsn` is missing"),
        ({"op": "c", "source": {"lsn": "secret"}, "after": {"name": "x"}}, "`version: source.lsn` is not a whole"),
        ({"op": "c", "source": {"lsn": 1}, "after": {"title": "secret"}}, "no field `name`, `email`: was a column"),
        ({"name": "secret", "__op": "t"}, "a truncate"),
        ({"ts_ms": 1}, "`version: source.lsn` is missing"),
        ([], "not a JSON object"),
        ({"schema": {"type": "struct"}, "payload": ["secret"]}, "not an object"),
    ],
)
def test_what_sets_no_row(value: object, part: str) -> None:
    found = dead(ROWS, record(value, {"id": 1}))
    assert part in found.reason
    assert "secret" not in found.reason
    assert found.id == "1"


def test_events_about_no_row_say_so_although_they_have_no_key() -> None:
    found = dead(ROWS, record({"op": "t", "source": {"lsn": 1}}, b""))
    assert "a truncate" in found.reason
    assert found.id == "record 0.5"


FLAT = Layout(envelope="debezium", key_format="json", text=("name",))


@pytest.mark.parametrize(
    ("fields", "op"),
    [
        ({}, Op.UPSERT),
        ({"__deleted": "false"}, Op.UPSERT),
        ({"__deleted": "true"}, Op.DELETE),
        ({"__deleted": True}, Op.DELETE),
        ({"__op": "u"}, Op.UPSERT),
        ({"__op": "d", "__deleted": "true"}, Op.DELETE),
        ({"__op": "d"}, Op.DELETE),
    ],
)
def test_flattened_rows(fields: dict[str, object], op: Op) -> None:
    found = change(FLAT, record({"id": 2, "name": "Bob", **fields, "__source_ts_ms": 1795415812479}, {"id": 2}))
    assert (found.id, found.op, found.time_us) == ("2", op, 1795415812479000)
    assert found.body == (None if op is Op.DELETE else {"id": 2, "name": "Bob", "text": "Bob"})


def test_what_flattening_adds_is_kept_where_it_is_asked_for() -> None:
    layout = Layout(envelope="debezium", key_format="json", body=("name", "__table"))
    row = {"name": "Bob", "text": "t", "age": 5, "__table": "customers", "__deleted": "false"}
    assert change(layout, record(row, {"id": 2})).body == {"name": "Bob", "__table": "customers", "text": "t"}


def test_the_marker_of_a_flattened_topic_with_an_order_is_refused() -> None:
    # Flattening drops the delete event by default: the marker would be all that tells of the delete.
    layout = Layout(envelope="debezium", key_format="json", text=("name",), version="__source_lsn")
    found = dead(layout, record(None, {"id": 2}))
    assert "delete.tombstone.handling.mode: rewrite" in found.reason
    assert found.id == "2"
    rewritten = record({"name": "Bob", "__deleted": "true", "__source_lsn": 7}, {"id": 2})
    assert change(layout, rewritten).version.order == 7


@pytest.mark.parametrize(
    "placeholder",
    [
        PLACEHOLDER,
        "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==",
        [PLACEHOLDER],
        ["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="],
        list(UNAVAILABLE),
        [str(uuid.UUID(bytes=hashlib.md5(UNAVAILABLE).digest(), version=3))],
        {PLACEHOLDER: PLACEHOLDER},
    ],
)
def test_a_column_that_the_database_did_not_log(placeholder: object) -> None:
    kept = dead(ROWS, record(updated(tags=placeholder), {"id": 2}))
    assert "the column `tags` is not in the event" in kept.reason
    assert "REPLICA IDENTITY FULL" in kept.reason
    assert (kept.id, kept.version.order) == ("2", 22191848)
    mapped = Layout(envelope="debezium", key_format="json", text=("tags", "name"), body=("name",))
    assert "`tags` is not in the event" in dead(mapped, record(updated(tags=placeholder), {"id": 2})).reason
    unused = Layout(envelope="debezium", key_format="json", text=("name",), body=("email",))
    body = {"email": "bob@x.org", "text": "Bobby"}
    assert change(unused, record(updated(tags=placeholder), {"id": 2})).body == body


def test_a_column_named_text_counts_only_where_it_is_used() -> None:
    lacking = record(updated(text=PLACEHOLDER), {"id": 2})
    assert change(ROWS, lacking).body
    assert "`text`" in dead(Layout(envelope="debezium", key_format="json"), lacking).reason


def test_a_text_about_the_placeholder_is_a_text() -> None:
    found = change(ROWS, record(updated(name=f"what is {PLACEHOLDER}?"), {"id": 2}))
    assert found.body
    assert found.body["name"] == f"what is {PLACEHOLDER}?"


def test_soft_deletes_by_condition() -> None:
    layout = Layout(envelope="debezium", key_format="json", text=("name",), delete="value.tags != null")
    assert change(layout, event(EVENTS["update"])).op is Op.UPSERT
    assert change(layout, record(updated(tags="x"), {"id": 2})).op is Op.DELETE
    lacking = dead(layout, record(updated(tags=PLACEHOLDER), {"id": 2}))
    assert "`delete`: the condition needs the field `tags`" in lacking.reason


def test_times_that_are_none_are_the_logs() -> None:
    for source in ({"lsn": 1}, {"lsn": 1, "ts_ms": "x"}, {"lsn": 1, "ts_us": 10**30}, {"lsn": 1, "ts_ms": 0}):
        value = {"op": "c", "source": source, "after": {"name": "x"}}
        assert change(ROWS, record(value, {"id": 2})).time_us == APPENDED_US
    nanoseconds = {"op": "c", "source": {"lsn": 1, "ts_ns": 5_000, "ts_ms": 9}, "after": {"name": "x"}}
    assert change(ROWS, record(nanoseconds, {"id": 2})).time_us == 5


def test_a_copy_keeps_its_originals_version() -> None:
    found = change(ROWS, record(updated(), {"id": 2}, (("headwater-version", b"1.9.0.3"),), offset=70))
    assert (found.version, found.place.offset) == (Version(1, 9, 0, 3), 70)
