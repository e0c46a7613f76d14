"""PURE: the codec for existing topics: reads records as a `Layout` says.

The same rules hold as for Headwater's own changes (`json`): results, ids, digests, times, and the header that a copy
carries. Reasons never hold text of the document.

Where `version:` is declared, a delete marker (no value) carries no order. Behind a delete event of Debezium, which
does, the marker says nothing new: it counts with order 0, older than everything, and becomes a receipt `stale`. Any
other marker is a delete that cannot be ordered, and so a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from headwater.errors import Reject
from headwater.log.codecs import cloudevents, debezium, json, records
from headwater.log.codecs.event import Event, bare, object_of, without_schema
from headwater.log.codecs.fields import MISSING, Path, id_of, id_of_key, joined_text, order_of, time_of
from headwater.log.codecs.layout import Layout, contradiction_of
from headwater.model.change import Change, Record, Undecodable
from headwater.model.registry import Epoch
from headwater.model.version import Version
from headwater.recipe.condition import Condition

#: What `topic.delete` may name.
DELETE_VARIABLES = ("value", "key", "headers", "event")

Decode = Callable[[Record, tuple[Epoch, ...]], Change | Undecodable]

_NO_ID = (
    "a record without a value names no document, as `id` is not in the key: take it from the key, or let the producer "
    "write no delete markers (Debezium: `tombstones.on.delete: false`)"
)
_NO_ORDER = (
    "a delete without a value carries no `version:`, so nothing orders it: write deletes as values that carry it "
    "(Debezium's flattening: `delete.tombstone.handling.mode: rewrite`), or leave `version:` out"
)


class Schemas(Protocol):
    """Reads what was written with a schema registry, by schemas that are already here."""

    def value(self, record: Record) -> object:
        """Return the record's value as JSON-like values. Raise Reject where it cannot be read."""
        ...

    def key(self, record: Record) -> object:
        """Return the record's key as JSON-like values. Raise Reject where it cannot be read."""
        ...


def decoder(layout: Layout, schemas: Schemas | None) -> Decode:
    """Return what decodes this layout's records. Raise ValueError for a layout that cannot be, and Reject for a
    `delete` that is no condition.
    """
    if problem := contradiction_of(layout):
        raise ValueError(problem)
    if schemas is None and (layout.value_registered or layout.key_registered):
        raise ValueError(f"values as {layout.format} with keys as {layout.key_format} need a schema registry")
    if layout == Layout():
        return json.decode
    return _Decoder(layout, schemas).decode


class _Decoder:
    """One layout, made ready."""

    def __init__(self, layout: Layout, schemas: Schemas | None) -> None:
        place, _, path = layout.id.partition(".")
        self._layout = layout
        self._by_key = place == "key"
        self._id_path = Path(path) if path else None
        self._id_in_event = place == "event"
        self._read_key = _key_reader(layout, schemas)
        self._id_of_key = _identifier(layout, self._read_key)
        self._open = _opener(layout, schemas)
        self._text = tuple(map(Path, layout.text))
        self._kept = layout.body
        # An event has a time of its own; Debezium's is the envelope's to find.
        self._time_path = layout.time or ("event.time" if layout.envelope == "cloudevents" else "")
        self._time = _finder(layout, self._time_path)
        self._version = _finder(layout, layout.version)
        self._delete = Condition.parse(layout.delete, DELETE_VARIABLES) if layout.delete else None
        self._debezium = layout.envelope == "debezium"
        self._always_check = layout.value_registered

    def decode(self, record: Record, epochs: tuple[Epoch, ...]) -> Change | Undecodable:
        """Read one record, as `json.decode` does."""
        version = records.place_version(record, epochs)
        document = ""
        refusal = None
        ordered = not self._version
        try:
            if record.headers and (copied := records.copied_version(record.headers)):
                version = copied
                ordered = True
            if self._by_key:
                try:
                    document = self._id_of_key(record)
                except Reject as error:
                    # What the value says comes first: events that are about no row have no key either.
                    refusal = error
            event = self._open(record) if record.value is not None else None
            if refusal:
                raise refusal
            if event is None:
                return self._marker(record, version, document, ordered=ordered)
            if not self._by_key:
                document = self._id_of_event(event)
            if self._version and not ordered:
                version = msgspec.structs.replace(version, order=order_of(self._version(event), self._layout.version))
                ordered = True
            return self._change(record, version, document, event)
        except Reject as error:
            if not ordered and self._layout.id != "key":
                # Two of these in two partitions could not be compared, and would halt the stream.
                document = ""
            return records.undecodable(record, version, document or records.name_of(record), error.reason)

    def _id_of_event(self, event: Event) -> str:
        assert self._id_path is not None, "only `key` stands alone"
        value = self._id_path.find(event.attributes if self._id_in_event else event.row)
        if self._debezium and debezium.is_unavailable(value):
            value = MISSING
        return id_of(value, f"`{self._layout.id}`")

    def _marker(self, record: Record, version: Version, document: str, *, ordered: bool) -> Change:
        """Make the delete that a record without a value is."""
        if not document:
            raise Reject(_NO_ID)
        if not ordered and not self._layout.version_in_envelope:
            raise Reject(_NO_ORDER)
        return records.delete(record, version, document, record.time_us)

    def _change(self, record: Record, version: Version, document: str, event: Event) -> Change:
        if self._layout.envelope == "change":
            return json.change(record, version, document, object_of(event.row))
        time_us = time_of(self._time(event), self._time_path) if self._time else event.time_us
        if time_us is None:
            time_us = record.time_us
        lacking = self._debezium and (self._always_check or debezium.may_lack_columns(record.value or b""))
        if event.deleted or (self._delete and self._is_delete(self._delete, record, event, lacking=lacking)):
            return records.delete(record, version, document, time_us)
        return records.upsert(record, version, document, self._body(event.row, lacking=lacking), time_us)

    def _is_delete(self, condition: Condition, record: Record, event: Event, *, lacking: bool) -> bool:
        variables: dict[str, object] = {"value": event.row, "event": event.attributes}
        if lacking and isinstance(event.row, dict):
            # A condition on a column that is not there must fail, not see its placeholder.
            variables["value"] = {name: it for name, it in event.row.items() if not debezium.is_unavailable(it)}
        if "key" in condition.variables:
            variables["key"] = self._read_key(record) if record.key else None
        if "headers" in condition.variables:
            variables["headers"] = {name: _text_or_bytes(value) for name, value in record.headers}
        try:
            return condition.holds(variables)
        except Reject as error:
            raise Reject(f"`delete`: {error.reason}") from error

    def _body(self, row: Any, *, lacking: bool) -> dict[str, Any]:
        if isinstance(row, str):
            row = {"text": row}
        elif row is None:
            raise Reject("the event holds no data")
        elif not isinstance(row, dict):
            raise Reject("the row is not an object")
        if lacking:
            debezium.check_available((path.text, path.find(row)) for path in self._text)
        text = joined_text(row, self._text) if self._text else None
        if self._kept:
            body = {name: row[name] for name in self._kept if name in row}
            if text is None and "text" in row:
                body["text"] = row["text"]
        elif self._debezium:
            body = {name: it for name, it in row.items() if not name.startswith(debezium.ADDED_PREFIX)}
        else:
            body = row
        if lacking:
            # The row's own `text` is not used where another text is mapped.
            debezium.check_available((name, it) for name, it in body.items() if text is None or name != "text")
        if text is not None:
            body["text"] = text
        return body


def _key_reader(layout: Layout, schemas: Schemas | None) -> Callable[[Record], object]:
    """Return what reads a key: None for a record that has none."""
    if layout.key_registered:
        assert schemas is not None
        return lambda record: schemas.key(record) if record.key else None
    return _text_key if layout.key_format == "text" else _json_key


def _identifier(layout: Layout, read: Callable[[Record], object]) -> Callable[[Record], str]:
    """Return what makes a document id of a key."""
    if layout.id == "key":
        if layout.key_format == "text":
            return _text_id
        return lambda record: id_of_key(read(record))
    path = Path(layout.id.partition(".")[2])
    return lambda record: id_of(path.find(read(record)), f"the key's `{path.text}`")


def _text_id(record: Record) -> str:
    if not record.key:
        raise Reject("the record has no key, so it names no document")
    return records.document_of(record.key)


def _text_key(record: Record) -> object:
    try:
        return record.key.decode() if record.key else None
    except UnicodeDecodeError as error:
        raise Reject("the record's key is not UTF-8") from error


def _json_key(record: Record) -> object:
    if not record.key:
        return None
    try:
        return without_schema(json.parse_any(record.key))
    except Reject as error:
        raise Reject(f"the record's key: {error.reason}") from error


def _value_reader(layout: Layout, schemas: Schemas | None) -> Callable[[Record], object]:
    if layout.value_registered:
        assert schemas is not None
        return schemas.value
    return _text_value if layout.format == "text" else _json_value


def _text_value(record: Record) -> object:
    try:
        return (record.value or b"").decode()
    except UnicodeDecodeError as error:
        raise Reject("not UTF-8") from error


def _json_value(record: Record) -> object:
    return json.parse(record.value or b"")


def _opener(layout: Layout, schemas: Schemas | None) -> Callable[[Record], Event | None]:
    """Return what opens a record that has a value; None where the value turns out to be none."""
    read = _value_reader(layout, schemas)
    if layout.envelope == "cloudevents":
        data = _data_reader(layout, read)
        return lambda record: cloudevents.open_event(record, data)
    if layout.envelope == "change":
        return lambda record: bare(read(record))
    enveloped = debezium.open_event if layout.envelope == "debezium" else bare

    def unwrapped(record: Record) -> Event | None:
        value = without_schema(read(record))
        return None if value is None else enveloped(value)

    return unwrapped


def _data_reader(layout: Layout, read: Callable[[Record], object]) -> Callable[[Record], object]:
    """The data of an event may be any JSON value."""
    return (lambda record: json.parse_any(record.value or b"")) if layout.format == "json" else read


def _finder(layout: Layout, path: str) -> Callable[[Event], object] | None:
    """Return what finds this path in an event."""
    if not path:
        return None
    if layout.envelope == "cloudevents" and path.startswith("event."):
        attribute = Path(path.removeprefix("event."))
        return lambda event: attribute.find(event.attributes)
    find = Path(path).find
    return lambda event: find(event.whole)


def _text_or_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
