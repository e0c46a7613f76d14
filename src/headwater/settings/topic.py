"""Another system's topic as the source of changes: how its records are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from headwater.log.codecs.decoder import DELETE_VARIABLES
from headwater.log.codecs.layout import REGISTERED, Envelope, KeyFormat, Layout, ValueFormat
from headwater.settings.failures import Unfit, listed
from headwater.settings.schema_words import never, or_text, where, without
from headwater.settings.values import (
    BodyPath,
    BodyPaths,
    Fields,
    Location,
    Section,
    Text,
    Truth,
    Written,
    agree,
    expression,
    named,
)

Errors = Iterator[tuple[Location, Unfit]]

_FIELDED = ("json", "avro", "json-schema", "protobuf")

UNORDERED = (
    "records of one document could lie in two partitions, and offsets of two partitions have no order: name the "
    "source's own order with `version`"
)


class TopicSettings(Section):
    """A topic that another system writes."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                where({"envelope": ["change"]}, without("text", "time", "body", "delete")),
                where({"format": ["text"], "envelope": ["none", None]}, without("text", "time", "body")),
                never({"format": ["text"], "envelope": ["change", "debezium"]}),
            ]
        }
    )

    name: Annotated[
        str,
        named(
            r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}",
            "the name of a topic: letters, digits, ., _ and -, at most 249 long",
        ),
    ] = Field(description="The topic's name. Two streams may read one topic.")
    format: ValueFormat = Field(
        default="json",
        description="How values are written; `avro`, `json-schema` and `protobuf` need `log.registry`.",
    )
    key_format: Annotated[KeyFormat, Written(default="`text`; with Debezium that of `format`")] = Field(
        default="text", description="How keys are written."
    )
    envelope: Envelope = Field(
        default="none",
        description="What a value is: `none` the document's body as it stands; `change` Headwater's own shape, as "
        "`headwater publish` takes it; `debezium` and `cloudevents` an event with the body in it.",
    )
    id: Annotated[
        str,
        named(
            r"key|(key|value|event)\.[^.]+(\.[^.]+)*",
            "`key`, key.FIELD, value.PATH or event.ATTRIBUTE",
        ),
    ] = Field(
        default="key",
        max_length=1024,
        description="Where the document's id stands: `key` (of a key with several fields, all of them), `key.FIELD`, "
        "`value.PATH`, or `event.ATTRIBUTE` with CloudEvents. All but `key` need `version`, except `key.FIELD` with "
        "Debezium, for a key of one field.",
    )
    keyed: Truth = Field(
        default=True,
        description="Whether all records of a document have the same key, and so lie in one partition. Without that "
        "`version` is needed.",
    )
    text: BodyPaths | None = Field(
        default=None,
        description="Where the document's text stands in the body: a dotted path, or a list of them, joined by a blank "
        "line. The body's own `text` if left out.",
    )
    time: BodyPath | None = Field(
        default=None,
        description="Where the source's time of the change stands in the value: a dotted path, with CloudEvents also "
        "`event.ATTRIBUTE`. If left out the event's own time, else the record's.",
    )
    body: Fields | None = Field(
        default=None,
        description="The fields of the body that are kept, so that edits of others change nothing; all if left out.",
    )
    delete: Annotated[Text, expression(*DELETE_VARIABLES)] | None = Field(
        default=None,
        description="What marks a deletion, as a CEL expression over `value`, `key`, `headers` and `event`, such as "
        '`value.__deleted == "true"`. A record without a value always is one.',
    )
    dead_letters: Literal["reference", "payload"] = Field(
        default="reference",
        description="What a dead letter holds of a record that cannot be read: where it lies, or the record as well.",
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return or_text(handler(schema), "name")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        """`topic: NAME` is short for `topic: {name: NAME}`; the keys of Debezium are written as its values are."""
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and value.get("envelope") == "debezium":
            written = value.get("format", "json")
            return {"key_format": written, **value} if written in _FIELDED else value
        return value

    @model_validator(mode="after")
    def _agree(self) -> TopicSettings:
        agree((*_own_shape(self), *_text_only(self), *_addresses(self)))
        return self

    def layout(self, version: str | None) -> Layout:
        """Return how the topic's records are read. `version` is the stream's."""
        return Layout(
            format=self.format,
            key_format=self.key_format,
            envelope=self.envelope,
            id=self.id,
            text=self.text or (),
            time=self.time or "",
            body=self.body or (),
            delete=self.delete or "",
            version=version or "",
        )


def unordered(topic: TopicSettings) -> Iterator[tuple[Location, Unfit]]:
    """Say why the places of a document's records do not order them: each key that lets them lie in two partitions."""
    if topic.id != "key" and not (topic.id.startswith("key.") and topic.envelope == "debezium"):
        yield ("id",), Unfit("key, or `version` beside `topic`", UNORDERED)
    if not topic.keyed:
        yield ("keyed",), Unfit("true, or `version` beside `topic`", UNORDERED)


def with_schemas(topic: TopicSettings) -> str | None:
    """Return the key whose format needs a schema registry, if one does."""
    return next((key for key in ("format", "key_format") if getattr(topic, key) in REGISTERED), None)


def _own_shape(it: TopicSettings) -> Errors:
    """Headwater's own shape says all of itself."""
    if it.envelope != "change":
        return
    for key in ("text", "time", "body", "delete"):
        if getattr(it, key) is not None:
            yield (key,), Unfit("this key left out", "`envelope: change` says it itself, record by record")


def _text_only(it: TopicSettings) -> Errors:
    """A text has no fields, and an envelope is no text."""
    if it.format != "text" or it.envelope == "cloudevents":
        return
    if it.envelope != "none":
        yield ("format",), Unfit(listed(_FIELDED), f"`envelope: {it.envelope}` is no plain text")
        return
    for key in ("text", "time", "body"):
        if getattr(it, key) is not None:
            yield (key,), Unfit("this key left out", "with `format: text` the value has no fields")


def _addresses(it: TopicSettings) -> Errors:
    """The id must stand where there is something to stand in."""
    where, _, field = it.id.partition(".")
    if where == "event" and it.envelope != "cloudevents":
        yield ("id",), Unfit("key, key.FIELD or value.PATH", "only `envelope: cloudevents` has attributes")
    elif where == "value" and it.format == "text" and it.envelope == "none":
        yield ("id",), Unfit("key", "with `format: text` the value has no fields")
    elif where == "key" and field and it.key_format == "text":
        yield ("id",), Unfit("key", "with `key_format: text` the key has no fields")
