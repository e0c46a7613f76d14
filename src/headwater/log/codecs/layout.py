"""PURE: how the records of an existing topic are read: which bytes mean what, and what of them becomes the document."""

from __future__ import annotations

from typing import Literal

import msgspec

ValueFormat = Literal["json", "text", "avro", "json-schema", "protobuf"]
KeyFormat = Literal["text", "json", "avro", "json-schema", "protobuf"]
Envelope = Literal["change", "none", "debezium", "cloudevents"]

#: Written with a schema registry.
REGISTERED = frozenset({"avro", "json-schema", "protobuf"})

#: What a Debezium envelope has at its top, which tells a path into it from one into a flattened row.
_DEBEZIUM = frozenset({"source", "before", "after", "transaction", "ts_ms", "ts_us", "ts_ns"})


class Layout(msgspec.Struct, frozen=True):
    """Where a topic keeps what Headwater asks for.

    "Row" is what describes the document: the value itself, of a Debezium envelope `after` (`before` for a delete), of a
    CloudEvent its data. "Record" is the decoded value with its envelope.

    - `id`: `key` (the whole key; several columns become an object with sorted keys, as JSON), `key.PATH`, `value.PATH`
      (in the row), `event.ATTRIBUTE`.
    - `text`: paths in the row, joined by a blank line and put into the body's `text`, in place of a field of that name
      that the row may have. Empty: the row's own `text`.
    - `time`, `version`: paths in the record; of a CloudEvent, in its data or `event.ATTRIBUTE`. `version` orders the
      changes of a document, whatever their places in the log: a whole number from 0 of at most 18 digits.
    - `body`: the row's fields that are kept, at the top. Empty: all.
    - `delete`: a condition on `value` (the row), `key`, `headers`, `event`: where it holds the record is a delete.
    """

    format: ValueFormat = "json"
    key_format: KeyFormat = "text"
    envelope: Envelope = "change"
    id: str = "key"
    text: tuple[str, ...] = ()
    time: str = ""
    body: tuple[str, ...] = ()
    delete: str = ""
    version: str = ""

    @property
    def value_registered(self) -> bool:
        """Whether values are read with a registry's schemas."""
        return self.format in REGISTERED

    @property
    def key_registered(self) -> bool:
        """Whether keys are read with a registry's schemas."""
        return self.key_format in REGISTERED

    @property
    def version_in_envelope(self) -> bool:
        """Whether the order stands in a full Debezium envelope, beside the row."""
        return self.envelope == "debezium" and self.version.split(".")[0] in _DEBEZIUM


def contradiction_of(layout: Layout) -> str | None:
    """Say what in this layout cannot be, or None."""
    place, _, path = layout.id.partition(".")
    if layout.id != "key" and (place not in {"key", "value", "event"} or not path):
        return "`id` is `key`, `key.FIELD`, `value.PATH` or `event.ATTRIBUTE`"
    if place == "key" and path and layout.key_format == "text":
        return "`id: key.FIELD` needs a key with fields: say with `key_format` how it is written"
    if place == "event" and layout.envelope != "cloudevents":
        return "`id: event.ATTRIBUTE` is for `envelope: cloudevents`"
    if layout.envelope == "change" and (layout.text or layout.body or layout.time or layout.delete):
        return "`envelope: change` has its own text, time and body: map them with `envelope: none`"
    if layout.envelope == "change" and layout.format == "text":
        return "`format: text` is for `envelope: none`: the whole value is the text"
    if layout.envelope == "debezium" and layout.format == "text":
        return "`envelope: debezium` is never `format: text`"
    if layout.format == "text" and layout.envelope == "none":
        mapped = [name for name in ("text", "time", "body", "version") if getattr(layout, name)]
        if mapped or place == "value":
            return f"`{mapped[0] if mapped else 'id'}` needs a value with fields, which `format: text` has not"
    return None


def compaction_problem_of(layout: Layout) -> str:
    """Say why a compacted topic must not be read with this layout; empty: it may be.

    A delete event carries its order, the marker behind it does not, so markers count as older than everything (see
    `decoder`). Compaction takes the event and leaves the marker: then the delete would pass unseen.
    """
    if not layout.version_in_envelope:
        return ""
    return "compaction keeps only the marker of a delete, which carries no order: " + (
        "leave `version:` out, as the whole key orders the changes"
        if layout.id == "key"
        else "read a topic that is not compacted"
    )
