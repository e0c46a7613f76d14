"""The JSON Schema: valid itself, and true of every example that people copy. `reading.py` holds all else to it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from headwater.settings.json_schema import FILE_NAME, json_schema, text
from headwater.settings.outline import keys
from headwater.settings.schema import Settings
from headwater.settings.templates import Template, template
from headwater.settings.values import Section
from tests.unit.settings.reading import SCHEMA, read

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^(?:```yaml|cat > headwater.yaml <<'?YAML'?)\n(.*?)^(?:```|YAML)$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(BLOCK.findall(page.read_text()))
    if re.search(r"^(log|streams|accounts|cache):", block, re.MULTILINE)
]
ENVIRONMENT = {"OPENAI_API_KEY": "sk-1", "KAFKA_PASSWORD": "secret"}


def test_it_is_a_valid_schema_and_one_json_document() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json.loads(text()) == json_schema()
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("which", Template)
def test_each_template_fits_and_loads_and_names_the_schema(which: Template, tmp_path: Path) -> None:
    written = template(which)
    assert written.splitlines()[0] == f"# yaml-language-server: $schema=./{FILE_NAME}"
    read(tmp_path, written, **ENVIRONMENT)


@pytest.mark.parametrize("block", EXAMPLES)
def test_the_examples_of_the_docs_fit(block: str) -> None:
    # Some show a part: what they leave out is not what they are about.
    data = YAML(typ="safe").load(block)
    data.setdefault("streams", {"any": {}})
    error = next(SCHEMA.iter_errors(data), None)
    assert error is None, f"{error.json_path}: {error.message}"


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 5


def test_every_key_is_described() -> None:
    schema = json_schema()

    def check(section: type[Section], described: dict[str, Any]) -> None:
        inner = next((it for it in described.get("anyOf", ()) if it.get("type") == "object"), described)
        assert list(inner["properties"]) == list(keys(section))
        assert inner["additionalProperties"] is False
        for key in keys(section).values():
            assert {"description", "$ref"} & {*inner["properties"][key.name]}, f"{section.__name__}.{key.name}"
            if key.section:
                check(key.section, schema["$defs"][key.section.__name__])

    check(Settings, schema)


def test_defaults_are_written_as_a_person_would() -> None:
    definitions = json_schema()["$defs"]
    stream = definitions["StreamSettings"]["properties"]
    assert stream["freshness"]["default"] == "60s"
    assert stream["partitions"]["default"] == 8
    assert definitions["KafkaLog"]["properties"]["largest"]["default"] == "1MiB"
    assert definitions["SourceSettings"]["properties"]["include"]["default"][:4] == [
        "**/*.md",
        "**/*.MD",
        "**/*.markdown",
        "**/*.MARKDOWN",
    ]
    assert "required" not in definitions["StreamSettings"]


@pytest.mark.parametrize(
    "bad",
    [
        "streams: {a: {freshness: 60}}",
        "streams: {a: {freshness: 60 s}}",
        "streams: {a: {freshness_s: 60s}}",
        "streams: {a: {freshness: 0s}}",
        "streams: {a: {freshness: 0.00h}}",
        "streams: {a: {recipe: {chunk: {size: 15}}}}",
        "cache: {url: 'sqlite:///c.db', size: 1B}\nstreams: {a: {}}",
        "cache: {url: 'sqlite:///c.db', size: 0MB}\nstreams: {a: {}}",
        "streams: {a: {partitions: 0}}",
        "streams: {A: {}}",
        "streams: {}",
        "streams: {a: {source: {folder: x}, topic: y}}",
        "streams: {a: {recipe: {embed: {model: static, key: k}}}}",
        "streams: {a: {recipe: {embed: {key: k}}}}",
        "log: postgres://x\nstreams: {a: {}}",
        "log: {url: 'sqlite:///a', prefix: x}\nstreams: {a: {}}",
        "log: {url: 'kafka://a', security: {protocol: sasl_ssl}}\nstreams: {a: {}}",
        "accounts: {a: {budget: {hard: 1}}}\nstreams: {a: {}}",
        "streams: {a: {index: ~}}",
        "streams: {a: {source: ~}}",
        "cache: ~\nstreams: {a: {}}",
    ],
)
def test_what_an_editor_must_mark(bad: str, tmp_path: Path) -> None:
    assert not SCHEMA.is_valid(YAML(typ="safe").load(bad))
    with pytest.raises(Exception, match="expected"):
        read(tmp_path, bad)


@pytest.mark.parametrize(
    "good",
    [
        "streams: {a: {freshness: 0.5s, replay: 10h}}",
        "streams: {a: {recipe: {chunk: {size: 16}}}}",
        "cache: {url: 'sqlite:///c.db', size: 16777216.0B}\nstreams: {a: {}}",
        "cache: {url: 'sqlite:///c.db', size: 0.1GB}\nstreams: {a: {}}",
    ],
)
def test_what_an_editor_must_not_mark(good: str, tmp_path: Path) -> None:
    read(tmp_path, good)


@pytest.mark.parametrize("value", ["${env:X}", "prefix-${env:X}"])
def test_the_environment_may_stand_for_any_value(value: str) -> None:
    for key in ("freshness", "partitions", "index", "version"):
        data = {"streams": {"a": {"topic": "t", key: value} if key == "version" else {key: value}}}
        assert SCHEMA.is_valid(data), key
    assert not SCHEMA.is_valid({"streams": {"a": {"freshness": "${file:x}"}}})
