"""Hostile files and secrets: nothing but ConfigurationErrors comes out, soon, and never what the environment holds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.settings.failures import ConfigurationErrors
from headwater.settings.loading import load
from headwater.settings.schema import Settings

SECRET = "hunter2-planted-secret"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "headwater.yaml"


def outcome(file: Path, content: str | bytes, environment: dict[str, str] | None = None) -> str:
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(load(file, environment or {}), Settings)
    except ConfigurationErrors as error:
        return str(error) or "no errors at all"
    return ""


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


# (file, words of the error, seconds that it may take on a slow machine)
HOSTILE = [
    (bomb(), "those behind aliases counted each time", 1),
    ("[" * 5000, "at most 32 levels of nesting", 1),
    ("{" * 5000, "at most 32 levels of nesting", 1),
    ("a:\n" + "".join(" " * n + "a:\n" for n in range(1, 100)), "at most 32 levels of nesting", 1),
    ("a: &a x\nb: [" + "*a, " * 1000 + "]", "at most 200 aliases", 1),
    ("[" + "x, " * 300_000 + "]", "at most 20000 values", 8),
    ("- x\n" * 250_000, "at most 20000 values", 8),
    ("x" * 1_000_000, "expected a mapping", 8),
    ("a: '" + "x " * 500_000 + "'", "one of the keys", 8),
    ("\n" * 1_000_000, "an empty file", 8),
    ("x: " + "9" * 100_000, "one of the keys", 2),
    ("streams: {a: {freshness: " + "9" * 5000 + "s}}", "a duration such as", 2),
    ("streams: {" + "k" * 900 + ": {}}", "a name of a-z", 2),
    ("streams: {" + "k" * 2000 + ": {}}", "a syntax error", 2),
    ('a: "\\UFFFFFFFF"', "", 1),
    ("a: 1e999\nstreams: {a: {partitions: .5}}", "expected a whole number, got 0.5", 1),
]


@pytest.mark.parametrize(("content", "words", "seconds"), HOSTILE, ids=range(len(HOSTILE)))
def test_limits_end_the_reading_soon(file: Path, content: str, words: str, seconds: float) -> None:
    start = time.process_time()
    message = outcome(file, content)
    assert time.process_time() - start < seconds
    assert message
    assert words in message
    assert len(message) < 2000


KEYS = st.sampled_from(
    [
        "log",
        "streams",
        "a",
        "source",
        "folder",
        "include",
        "rescan",
        "freshness",
        "recipe",
        "chunk",
        "size",
        "payload",
        "t",
        "<<",
        "from",
        "embed",
        "model",
        "index",
        "topic",
        "url",
        "keep",
        "oversized",
        "claim_check",
        "security",
        "protocol",
        "password",
        "registry",
        "name",
        "envelope",
        "id",
        "body",
        "delete",
        "version",
        "filter",
        "x",
    ]
)
SCALARS = st.sampled_from(
    [
        "1s",
        "60",
        "true",
        "~",
        "kafka://x",
        "sqlite:///x",
        "'${env:S}'",
        "${env:S}",
        "${env:NO}",
        "$${",
        "static",
        "!t",
        "*a",
        "-1",
        "1.5",
        "openai/x",
        "''",
        "'\\0'",
        '"\\ud800"',
        "docs",
        "'${env:S}/x'",
        "'sqlite:///${env:S}'",
        "'kafka://u:${env:S}@h'",
        "'https://${env:S}'",
        "debezium",
        "sasl_ssl",
        "key.id",
        "value == '${env:S}'",
    ]
)


def flow_list(items: list[str]) -> str:
    return "[" + ", ".join(items) + "]"


def flow_mapping(pairs: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"


YAMLS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(flow_list) | st.lists(st.tuples(KEYS, inner), max_size=4).map(flow_mapping)
    ),
    max_leaves=12,
)
fuzz = settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@fuzz
@given(text=st.text(max_size=200) | st.text(alphabet="ab:-[]{}&*!%@`'\"\\#|>?,\n\t $\x00\x85\u2028\ufeff", max_size=60))
def test_any_text_is_settings_or_errors(file: Path, text: str) -> None:
    outcome(file, text)


@fuzz
@given(content=st.binary(max_size=60))
def test_any_bytes_are_settings_or_errors(file: Path, content: bytes) -> None:
    outcome(file, content)


@fuzz
@given(text=YAMLS)
def test_anything_like_a_configuration_is_settings_or_errors_without_secrets(file: Path, text: str) -> None:
    assert SECRET not in outcome(file, text, {"S": SECRET})
    assert SECRET not in outcome(file, f"streams: {{a: {text}}}", {"S": SECRET})
    assert SECRET not in outcome(file, f"log: {{url: kafka://h, security: {text}, registry: {text}}}", {"S": SECRET})
    assert SECRET not in outcome(file, f"log: kafka://h\nstreams: {{a: {{topic: {text}}}}}", {"S": SECRET})


PLACES = [
    "log: ${env:S}",
    "log: sqlite:///${env:S}?x",
    "log: kafka://u:${env:S}@h",
    "log: {url: 'kafka://${env:S} '}",
    "log: {url: kafka://h, prefix: '!${env:S}'}",
    "log: {url: kafka://h, keep: '${env:S}'}",
    "log: {url: kafka://h, instance: '!${env:S}'}",
    "log: {url: kafka://h, oversized: '${env:S}'}",
    "log: {url: kafka://h, security: '${env:S}'}",
    "log: {url: kafka://h, security: {protocol: '${env:S}'}}",
    "log: {url: kafka://h, security: {protocol: ssl, username: '${env:S}'}}",
    "log: {url: kafka://h, registry: {url: 'http://${env:S}', username: u, password: p}}",
    "log: {url: 'sqlite:///x', keep: '${env:S}'}",
    "streams: {a: {topic: '${env:S}/'}}",
    "streams: {a: {topic: {name: x, id: '${env:S}'}}}",
    "streams: {a: {topic: {name: x, delete: '${env:S}'}}}",
    "streams: {a: {version: '${env:S}'}}",
    "streams: {a: {recipe: {filter: '${env:S}'}}}",
    "streams: ${env:S}",
    "streams: {a: '${env:S}'}",
    "streams: {a: {freshness: '${env:S}'}}",
    "streams: {a: {freshness: '1${env:S}'}}",
    "streams: {a: {partitions: '${env:S}'}}",
    "streams: {a: {source: '${env:S}'}}",
    "streams: {a: {source: {folder: x, include: '${env:S}'}}}",
    "streams: {a: {source: {folder: x, include: ['/${env:S}']}}}",
    "streams: {a: {recipe: {format: '${env:S}'}}}",
    "streams: {a: {recipe: {embed: {model: '${env:S}'}}}}",
    "streams: {a: {recipe: {embed: {model: '/${env:S}'}}}}",
    "streams: {a: {recipe: {embed: {model: openai/m, dimensions: '${env:S}'}}}}",
    "streams: {a: {recipe: {payload: '${env:S}'}}}",
    "streams: {a: {recipe: {payload: {t: {required: '${env:S}', from: x}}}}}",
    "streams: {a: {x: '${env:S}'}}",
]


@pytest.mark.parametrize("text", PLACES)
def test_the_environment_is_never_shown(file: Path, text: str) -> None:
    message = outcome(file, text, {"S": SECRET})
    assert message
    assert "hunter2" not in message
    assert "the value of ${env:S}" in message or "unknown key 'x'" in message


def test_numbers_from_the_environment_are_not_shown_by_hints(file: Path) -> None:
    message = outcome(file, "streams: {a: {recipe: {chunk: {size: '${env:S}', minimum: 900}}}}", {"S": "777"})
    assert "sizes that fit together" in message
    assert "777" not in message


def test_the_environment_gives_values_but_no_structure(file: Path) -> None:
    text = (
        "streams: {a: {partitions: '${env:N}', freshness: '${env:T}s', source: {folder: 'x$${y}/${env:F}'}, "
        "recipe: {embed: {model: '${env:M}'}, payload: {t: {from: '${env:F}', required: '${env:B}'}}}}}"
    )
    file.write_text(text)
    loaded = load(file, {"N": "4", "T": "5", "F": "{a: [1, ${env:N}", "M": "hash", "B": "true"}).streams["a"]
    assert loaded.source is not None
    assert (loaded.partitions, loaded.freshness_s, loaded.recipe.embed.model) == (4, 5.0, "hash")
    assert loaded.source.folder == file.parent / "x${y}" / "{a: [1, ${env:N}"
    assert loaded.recipe.payload["t"].required
    assert type(loaded.recipe.payload["t"].from_) is str


def test_keys_are_not_interpolated(file: Path) -> None:
    assert "'${env:S}'" in outcome(file, "streams: {a: {'${env:S}': 1}}", {"S": "freshness"})
