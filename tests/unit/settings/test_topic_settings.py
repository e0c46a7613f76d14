"""Another system's topic as the source of changes: what is read, what does not go together, and when order is known."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from headwater.log.codecs.layout import Envelope, Layout, ValueFormat, contradiction_of
from headwater.settings.schema import StreamSettings
from headwater.settings.topic import TopicSettings, unordered, with_schemas
from tests.unit.settings.reading import lines, read

SCHEMAS = "log: {url: kafka://h, registry: {url: 'https://r'}}"
ORDER = (
    "(records of one document could lie in two partitions, and offsets of two partitions have no order: name the "
    "source's own order with `version`)"
)


def stream(folder: Path, text: str) -> StreamSettings:
    return read(folder, f"{SCHEMAS}\nstreams: {{a: {{{text}}}}}").streams["a"]


def topic(folder: Path, text: str) -> TopicSettings:
    found = stream(folder, f"topic: {{name: t, {text}}}").topic
    assert found is not None
    return found


def test_a_name_alone_has_sensible_defaults(tmp_path: Path) -> None:
    found = stream(tmp_path, "topic: shop.public.Orders_1").topic
    assert found == TopicSettings(name="shop.public.Orders_1")
    assert (found.format, found.key_format, found.envelope, found.id, found.keyed) == (
        "json",
        "text",
        "none",
        "key",
        True,
    )
    assert (found.text, found.time, found.body, found.delete, found.dead_letters) == (
        None,
        None,
        None,
        None,
        "reference",
    )


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """\
log: {url: kafka://h, registry: {url: "https://r"}}
streams:
  a:
    topic:
      name: t
      format: avro
      key_format: protobuf
      envelope: none
      id: value.meta.id
      keyed: false
      text: [title, meta.text]
      time: meta.at
      body: [id, title, meta]
      delete: value.__deleted == "true"
      dead_letters: payload
    version: source.lsn
    recipe: {filter: body.lang == "en"}
"""
    settings = read(tmp_path, text)
    found = settings.streams["a"].topic
    assert found is not None
    assert (found.format, found.key_format, found.id, found.keyed) == ("avro", "protobuf", "value.meta.id", False)
    assert (found.text, found.time, found.body) == (("title", "meta.text"), "meta.at", ("id", "title", "meta"))
    assert (found.delete, found.dead_letters) == ('value.__deleted == "true"', "payload")
    assert settings.streams["a"].version == "source.lsn"
    assert settings.streams["a"].recipe.filter == 'body.lang == "en"'


def test_one_path_is_short_for_a_list_of_one(tmp_path: Path) -> None:
    assert topic(tmp_path, "text: title").text == ("title",)


@pytest.mark.parametrize(
    ("text", "key_format"),
    [
        ("envelope: debezium", "json"),
        ("envelope: debezium, format: avro", "avro"),
        ("envelope: debezium, format: avro, key_format: json", "json"),
        ("envelope: cloudevents", "text"),
        ("format: avro", "text"),
    ],
)
def test_keys_are_texts_but_with_debezium(tmp_path: Path, text: str, key_format: str) -> None:
    assert topic(tmp_path, text).key_format == key_format


def test_two_streams_may_read_one_topic(tmp_path: Path) -> None:
    settings = read(tmp_path, "log: kafka://h\nstreams: {a: {topic: t}, b: {topic: {name: t}}}")
    assert settings.streams["a"].topic == settings.streams["b"].topic


@pytest.mark.parametrize(
    ("made", "keys"),
    [
        (TopicSettings(name="t"), []),
        (TopicSettings(name="t", envelope="debezium", key_format="json"), []),
        (TopicSettings(name="t", envelope="debezium", key_format="json", id="key.id"), []),
        (TopicSettings(name="t", key_format="json", id="key.id"), ["id"]),
        (TopicSettings(name="t", envelope="cloudevents", key_format="json", id="key.id"), ["id"]),
        (TopicSettings(name="t", envelope="debezium", id="value.after.id"), ["id"]),
        (TopicSettings(name="t", id="value.id"), ["id"]),
        (TopicSettings(name="t", envelope="cloudevents", id="event.subject"), ["id"]),
        (TopicSettings(name="t", keyed=False), ["keyed"]),
        (TopicSettings(name="t", keyed=False, id="value.id"), ["id", "keyed"]),
    ],
)
def test_order_is_known_where_a_document_stays_in_its_partition(made: TopicSettings, keys: list[str]) -> None:
    assert [key for (key,), _ in unordered(made)] == keys


@pytest.mark.parametrize("id_", ["value.id", "event.subject", "key.id"])
def test_with_the_sources_own_order_any_id_will_do(tmp_path: Path, id_: str) -> None:
    text = f"topic: {{name: t, envelope: cloudevents, key_format: json, id: {id_}, keyed: false}}, version: seq"
    assert stream(tmp_path, text).version == "seq"


def test_what_needs_a_registry() -> None:
    assert with_schemas(TopicSettings(name="t")) is None
    assert with_schemas(TopicSettings(name="t", format="text")) is None
    assert with_schemas(TopicSettings(name="t", format="protobuf")) == "format"
    assert with_schemas(TopicSettings(name="t", key_format="json-schema")) == "key_format"


# (what the stream says, the error, behind the line's number)
REFUSED = [
    ("topic: a/b", "22: streams.a.topic.name: expected the name of a topic: letters, digits, ., _ and -, at most 249"),
    ("topic: ..", "22: streams.a.topic.name: expected the name of a topic"),
    (f"topic: {'t' * 250}", "22: streams.a.topic.name: expected the name of a topic"),
    ("topic: 3", "22: streams.a.topic: expected a mapping, got a number"),
    ("topic: {}", "22: streams.a.topic.name: expected this key, got nothing (it has no default)"),
    ("topic: {name: t, format: xml}", "40: streams.a.topic.format: expected json, text, avro, json-schema or protobuf"),
    ("topic: {name: t, format: {}, envelope: debezium}", "40: streams.a.topic.format: expected json, text, avro"),
    ("topic: {name: t, envelope: debezum}", "did you mean debezium?"),
    ("topic: {name: t, id: keys}", "36: streams.a.topic.id: expected `key`, key.FIELD, value.PATH or event.ATTRIBUTE"),
    ("topic: {name: t, id: value.}", "36: streams.a.topic.id: expected `key`, key.FIELD, value.PATH or event.ATTRI"),
    ("topic: {name: t, id: value..x}", "36: streams.a.topic.id: expected `key`, key.FIELD"),
    ("topic: {name: t, keyed: no}", "39: streams.a.topic.keyed: expected true or false, got 'no'"),
    ("topic: {name: t, text: []}", "38: streams.a.topic.text: expected at least 1 entry, got a list"),
    ("topic: {name: t, text: ''}", "streams.a.topic.text[0]: expected a text that is not empty"),
    ("topic: {name: t, body: x}", "38: streams.a.topic.body: expected a list, got 'x' (put it in brackets: [...])"),
    ("topic: {name: t, delete: ''}", "40: streams.a.topic.delete: expected a text that is not empty, got ''"),
    ("topic: {name: t, dead_letters: none}", "streams.a.topic.dead_letters: expected reference or payload, got 'none'"),
    ("topic: {name: t, deleted: x}", "streams.a.topic.deleted: expected one of the keys name, format, key_format"),
    ("version: ''", "24: streams.a.version: expected a text that is not empty"),
    ("version: [a]", "24: streams.a.version: expected a text, got a list"),
    ("version: x", "24: streams.a.version: expected `topic` beside it, got 'x'"),
    ("topic: t, source: {folder: x}", "33: streams.a.source: expected `source` or `topic`, not both, got a mapping"),
    ("topic: t, partitions: 3", "37: streams.a.partitions: expected this key left out, got 3 (`topic` has its own"),
    (
        "topic: {name: t, id: value.x}",
        f"36: streams.a.topic.id: expected key, or `version` beside `topic`, got 'value.x' {ORDER}",
    ),
    (
        "topic: {name: t, keyed: false}",
        f"39: streams.a.topic.keyed: expected true, or `version` beside `topic`, got false {ORDER}",
    ),
    ("topic: {name: t, key_format: json, id: key.x}", ORDER),
    (
        "topic: {name: t, id: event.subject}, version: x",
        "36: streams.a.topic.id: expected key, key.FIELD or value.PATH",
    ),
    (
        "topic: {name: t, id: key.x}, version: x",
        "36: streams.a.topic.id: expected key, got 'key.x' (with `key_format: ",
    ),
    ("topic: {name: t, format: text, id: value.x}, version: x", "streams.a.topic.id: expected key, got 'value.x'"),
    ("topic: {name: t, format: text}, version: x", "56: streams.a.version: expected this key left out, got 'x'"),
    ("topic: {name: t, format: text, text: x}", "streams.a.topic.text: expected this key left out, got 'x' (with `for"),
    ("topic: {name: t, format: text, time: x}", "streams.a.topic.time: expected this key left out, got 'x' (with `for"),
    ("topic: {name: t, format: text, body: [x]}", "streams.a.topic.body: expected this key left out, got a list"),
    ("topic: {name: t, format: text, envelope: debezium}", "40: streams.a.topic.format: expected json, avro, json-sch"),
    ("topic: {name: t, format: text, envelope: change}", "40: streams.a.topic.format: expected json, avro, json-sch"),
    ("topic: {name: t, envelope: change, text: x}", "streams.a.topic.text: expected this key left out, got 'x' (`env"),
    ("topic: {name: t, envelope: change, time: x}", "streams.a.topic.time: expected this key left out"),
    ("topic: {name: t, envelope: change, body: [x]}", "streams.a.topic.body: expected this key left out"),
    ("topic: {name: t, envelope: change, delete: value.x}", "streams.a.topic.delete: expected this key left out"),
    (
        "topic: {name: t, delete: body.x}",
        (
            "40: streams.a.topic.delete: expected a CEL expression over `value`, `key`, `headers` and `event`, got "
            "'body.x' (line 1, column 1: unknown variable `body`, there is `value`, `key`, `headers`, `event`)"
        ),
    ),
    (
        "recipe: {filter: body.x ==}",
        "32: streams.a.recipe.filter: expected a CEL expression over `body` and `id`, got 'body.x ==' (line 1, ",
    ),
    ("recipe: {filter: value.x}", "(line 1, column 1: unknown variable `value`, there is `body`, `id`)"),
    ("recipe: {filter: ''}", "32: streams.a.recipe.filter: expected a text that is not empty, got ''"),
    ("recipe: {filter: true}", "32: streams.a.recipe.filter: expected a text, got true (put it in quotes"),
]


@pytest.mark.parametrize(("text", "error"), REFUSED)
def test_an_error_has_its_place_and_its_cure(tmp_path: Path, text: str, error: str) -> None:
    (line,) = lines(tmp_path, f"{SCHEMAS}\nstreams: {{a: {{{text}}}}}")
    assert line.startswith("headwater.yaml:2:")
    assert error in line


def test_what_the_decoder_refuses_is_refused_in_the_file_and_nothing_else(tmp_path: Path) -> None:
    """Two sets of rules, here with places and there without, must not part: every combination is tried."""
    mapped: list[dict[str, object]] = [{}, {"text": ("x",)}, {"time": "x"}, {"body": ("x",)}, {"delete": "value.x"}]
    for envelope, format_, key_format, id_, more in product(
        get_args(Envelope), get_args(ValueFormat), ("text", "json"), ("key", "key.x", "value.x", "event.x"), mapped
    ):
        fields = {"envelope": envelope, "format": format_, "key_format": key_format, "id": id_, **more}
        problem = contradiction_of(Layout(**fields))
        try:
            made = TopicSettings.model_validate({"name": "t", **fields})
        except ValidationError:
            assert problem, fields
        else:
            assert problem is None, fields
            assert made.layout(None) == Layout(**fields)


def test_the_layout_has_the_streams_version() -> None:
    assert TopicSettings(name="t").layout("source.lsn") == Layout(envelope="none", version="source.lsn")


def test_a_topic_needs_a_kafka(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, "streams: {a: {topic: t}}")
    expected = "1:22: streams.a.topic: expected a Kafka as `log`, got 't' (write `log: kafka://HOST:PORT`)"
    assert line == f"headwater.yaml:{expected}"


def test_schemas_need_a_registry(tmp_path: Path) -> None:
    text = """\
log: kafka://h
streams:
  a: {topic: {name: t, format: avro}}
  b: {topic: {name: t, envelope: debezium, format: json-schema}}
  c: {topic: {name: t, key_format: protobuf}}
"""
    hint = "(schemas need `log.registry`)"
    assert lines(tmp_path, text) == [
        f"headwater.yaml:3:32: streams.a.topic.format: expected json or text, got 'avro' {hint}",
        f"headwater.yaml:4:52: streams.b.topic.format: expected json or text, got 'json-schema' {hint}",
        f"headwater.yaml:5:36: streams.c.topic.key_format: expected json or text, got 'protobuf' {hint}",
    ]


def test_all_errors_of_all_streams_are_told_at_once(tmp_path: Path) -> None:
    text = "log: kafka://h\nstreams:\n  a: {topic: t, partitions: 1, source: {folder: x}}\n  b: {version: x}\n"
    found = [line.split(": ")[1] for line in lines(tmp_path, text)]
    assert found == ["streams.a.partitions", "streams.a.source", "streams.b.version"]
