"""CloudEvents in both modes."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from headwater.log.codecs.layout import Layout
from headwater.model.change import Op, digest_value
from tests.unit.log.codecs.reading import APPENDED_US, change, dead, raw, record

EVENTS = Layout(envelope="cloudevents", id="event.subject", version="event.sequence")
PLAIN = Layout(envelope="cloudevents")
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=utf-8"),)


def binary(**attributes: str) -> tuple[tuple[str, bytes], ...]:
    known = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "page.changed", **attributes}
    return tuple((f"ce_{name}", value.encode()) for name, value in known.items())


def structured(**more: object) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "page.changed", **more}


ROW = {"title": "T", "text": "t"}


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (ROW, binary(subject="p/1", sequence="7", time="1970-01-01T00:00:01Z")),
        (structured(subject="p/1", sequence=7, time="1970-01-01T00:00:01Z", data=ROW), STRUCTURED),
        (structured(subject="p/1", sequence="7", time="1970-01-01T00:00:01Z", data=ROW), ()),
        (
            structured(
                subject="p/1",
                sequence="7",
                time="1970-01-01T00:00:01Z",
                data_base64=base64.b64encode(raw(ROW)).decode(),
                datacontenttype="application/json",
            ),
            STRUCTURED,
        ),
    ],
    ids=["binary", "structured", "structured, by its content", "structured, base64"],
)
def test_one_event_in_every_mode(value: object, headers: tuple[tuple[str, bytes], ...]) -> None:
    found = change(EVENTS, record(value, b"ignored", headers))
    assert (found.id, found.op, found.version.order, found.time_us) == ("p/1", Op.UPSERT, 7, 1_000_000)
    assert found.body == ROW
    assert found.digest == digest_value(ROW)


def test_what_an_event_without_time_and_subject_has() -> None:
    found = change(PLAIN, record(ROW, b"k", binary()))
    assert (found.id, found.time_us, found.version.order) == ("k", APPENDED_US, 0)


def test_paths_lead_into_the_data_or_to_an_attribute() -> None:
    layout = Layout(
        envelope="cloudevents", id="value.page.id", text=("page.text",), time="page.at", version="page.rev", body=("x",)
    )
    data = {"page": {"id": 5, "text": "t", "at": 1_700_000_000, "rev": 3}, "x": 1}
    found = change(layout, record(structured(data=data, time="1970-01-01T00:00:01Z")))
    assert (found.id, found.time_us, found.version.order) == ("5", 1_700_000_000_000_000, 3)
    assert found.body == {"x": 1, "text": "t"}


@pytest.mark.parametrize(
    ("value", "headers", "layout"),
    [
        (b"plain", binary(), Layout(envelope="cloudevents", format="text")),
        (b'"plain"', binary(), PLAIN),
        (structured(data="plain"), STRUCTURED, PLAIN),
        (structured(data_base64="cGxhaW4=", datacontenttype="text/plain; charset=utf-8"), STRUCTURED, PLAIN),
    ],
)
def test_data_that_is_a_text(value: object, headers: tuple[tuple[str, bytes], ...], layout: Layout) -> None:
    assert change(layout, record(value, headers=headers)).body == {"text": "plain"}


def test_deletes() -> None:
    assert change(PLAIN, record(None, b"k", binary())).op is Op.DELETE
    layout = Layout(envelope="cloudevents", id="event.subject", delete="event.type == 'page.deleted'")
    gone = structured(subject="p/1", type="page.deleted")
    assert (change(layout, record(gone)).id, change(layout, record(gone)).op) == ("p/1", Op.DELETE)
    assert change(layout, record(structured(subject="p/1", data=ROW))).op is Op.UPSERT
    assert "names no document" in dead(layout, record(None, b"k", binary(subject="p/1"))).reason
    assert "nothing orders it" in dead(Layout(envelope="cloudevents", version="rev"), record(None, b"k")).reason


@pytest.mark.parametrize(
    ("value", "headers", "part"),
    [
        ([structured(data=ROW)], (("content-type", b"application/cloudevents-batch+json"),), "a batch"),
        ([structured(data=ROW)], (), "a batch"),
        (b"\x00", (("content-type", b"application/cloudevents+avro"),), "cloudevents+json only"),
        (ROW, (), "not a CloudEvent"),
        (ROW, STRUCTURED, "not a CloudEvent"),
        (5, STRUCTURED, "not a CloudEvent"),
        (b"{", STRUCTURED, "not JSON"),
        (b"{", binary(), "not JSON"),
        (ROW, binary(specversion="0.3"), "`specversion` is not 1.0"),
        (structured(specversion=1, data=ROW), (), "`specversion` is not 1.0"),
        (ROW, (*binary(), ("ce_subject", b"\xff")), "not UTF-8"),
        (structured(), STRUCTURED, "holds no data"),
        (structured(data=None), STRUCTURED, "holds no data"),
        (structured(data=[1]), STRUCTURED, "the row is not an object"),
        (structured(data=ROW, data_base64="e30="), STRUCTURED, "both"),
        (structured(data_base64="e"), STRUCTURED, "not base64"),
        (structured(data_base64="é"), STRUCTURED, "not base64"),
        (structured(data_base64=5), STRUCTURED, "not a text"),
        (structured(data_base64="/w=="), STRUCTURED, "neither text nor JSON"),
        (structured(data_base64="/w==", datacontenttype="text/plain"), STRUCTURED, "not UTF-8"),
        (structured(data=ROW, time="yesterday"), STRUCTURED, "`time: event.time` is not RFC 3339"),
    ],
)
def test_what_is_no_event(value: object, headers: tuple[tuple[str, bytes], ...], part: str) -> None:
    assert part in dead(PLAIN, record(value, headers=headers)).reason


def test_an_event_without_what_its_id_is_taken_from() -> None:
    found = dead(EVENTS, record(structured(data=ROW)))
    assert "`event.subject` is missing" in found.reason
    assert found.id == "record 0.5"
