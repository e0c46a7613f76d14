"""The configuration file: what is accepted, and the place and words of each error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from headwater.errors import HeadwaterError, Misconfigured
from headwater.settings import loading
from headwater.settings.failures import ConfigurationErrors
from headwater.settings.loading import load
from headwater.settings.schema import Settings
from headwater.settings.stores import Store

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "headwater.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def errors(path: Path, **environment: str) -> tuple[Misconfigured, ...]:
    with pytest.raises(ConfigurationErrors) as caught:
        load(path, environment)
    return caught.value.errors


def only(path: Path, **environment: str) -> Misconfigured:
    (error,) = errors(path, **environment)
    return error


def at(error: Misconfigured) -> tuple[int | None, int | None, str]:
    return error.line, error.column, error.path


def test_the_smallest_file_has_sensible_defaults(write: Write) -> None:
    path = write("streams: {articles: {}}")
    settings = load(path, {})
    stream = settings.streams["articles"]
    database = Store("sqlite", path.parent / "headwater.db")
    assert (settings.log, stream.index, stream.source) == (database, database, None)
    assert (stream.freshness_s, stream.replay_s, stream.partitions) == (60.0, 7200.0, 8)
    assert (stream.recipe.chunk.size, stream.recipe.chunk.minimum, stream.recipe.chunk.maximum) == (800, None, None)
    assert (stream.recipe.embed.model, dict(stream.recipe.payload), stream.recipe.format) == ("static", {}, None)


def test_every_key_is_read(write: Write) -> None:
    text = """\
log: sqlite:////var/lib/log.db
streams:
  a-1_b:
    source: {folder: ../docs, include: ["*.rst"], rescan: 250ms}
    freshness: 1.5m
    replay: 1d
    partitions: 3
    recipe:
      chunk: {size: 400, minimum: 50, maximum: 500}
      embed: {model: hash}
      payload: {title: meta.title, author: {from: author, required: true}}
      format: text
    index: sqlite:///sub/index.db
"""
    path = write(text)
    settings = load(path, {})
    stream = settings.streams["a-1_b"]
    assert settings.log == Store("sqlite", Path("/var/lib/log.db"))
    assert stream.index.path == path.parent / "sub/index.db"
    assert stream.source is not None
    assert (stream.source.folder, stream.source.include) == (path.parent.parent / "docs", ("*.rst",))
    assert (stream.source.rescan_s, stream.freshness_s, stream.replay_s) == (0.25, 90.0, 86400.0)
    assert (stream.partitions, stream.recipe.embed.model, stream.recipe.format) == (3, "hash", "text")
    assert {name: (field.from_, field.required) for name, field in stream.recipe.payload.items()} == {
        "title": ("meta.title", False),
        "author": ("author", True),
    }


def test_paths_are_relative_to_the_file_and_absolute_in_the_settings(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write("log: sqlite:///x.db\nstreams: {a: {source: {folder: docs}}}")
    monkeypatch.chdir(tmp_path)
    settings = load(Path("headwater.yaml"), {})
    source = settings.streams["a"].source
    assert source is not None
    assert (settings.log, source.folder) == (Store("sqlite", tmp_path / "x.db"), tmp_path / "docs")


def test_the_index_follows_the_log(write: Write) -> None:
    assert load(write("log: sqlite:///other.db\nstreams: {a: {}}"), {}).streams["a"].index.path.name == "other.db"


def test_settings_are_frozen(write: Write) -> None:
    settings = load(write("streams: {a: {recipe: {payload: {t: t}}}}"), {})
    with pytest.raises(ValidationError):
        settings.streams["a"].partitions = 9
    with pytest.raises(TypeError):
        settings.streams["b"] = settings.streams["a"]  # type: ignore[index]
    with pytest.raises(TypeError):
        settings.streams["a"].recipe.payload["u"] = settings.streams["a"].recipe.payload["t"]  # type: ignore[index]


# (file, line, column, path, words of the message)
SINGLE = [
    ("streams: {a: {freshnes: 1s}}", 1, 15, "streams.a.freshnes", "did you mean freshness?"),
    ("steams: {a: {}}\nstreams: {a: {}}", 1, 1, "steams", "did you mean streams?"),
    ("streams:\n  a: {}\n  a: {}", 3, 3, "streams.a", "a duplicate key (the first stands in line 2, column 3)"),
    ("streams: {a: {recipe: {format: markdwn}}}", 1, 32, "streams.a.recipe.format", "did you mean markdown?"),
    ("streams: {a: {recipe: {embed: {model: statik}}}}", 1, 39, "streams.a.recipe.embed.model", "did you mean static?"),
    ("streams: {a: {recipe: {embed: {model: {a: b}}}}}", 1, 39, "streams.a.recipe.embed.model", "got a mapping"),
    ("streams: {a: {recipe: {embed: {model: openai/}}}}", 1, 39, "streams.a.recipe.embed.model", "PROVIDER/MODEL"),
    ("streams: {a: {recipe: {embed: {url: 'http://h'}}}}", 1, 37, "streams.a.recipe.embed.url", "needs no service"),
    (
        "streams: {a: {recipe: {embed: {model: openai/m, key: k, url: 'http://h'}}}}",
        1,
        62,
        "streams.a.recipe.embed.url",
        "only encrypted",
    ),
    ("streams: {a: {freshness: 60}}", 1, 26, "streams.a.freshness", "got 60 (the unit is missing)"),
    ("streams: {a: {freshness: 5min}}", 1, 26, "streams.a.freshness", "one of ms, s, m, h or d"),
    ("streams: {a: {freshness: '60'}}", 1, 26, "streams.a.freshness", "the unit is missing: one of ms"),
    ("streams: {a: {freshness: 0s}}", 1, 26, "streams.a.freshness", "a duration between 1ms and 366d"),
    ("streams: {a: {freshness: -5s}}", 1, 26, "streams.a.freshness", "got '-5s'"),
    ("streams: {a: {replay: [1h]}}", 1, 23, "streams.a.replay", "got a list"),
    ("streams: {a: {partitions: 0}}", 1, 27, "streams.a.partitions", "expected at least 1, got 0"),
    ("streams: {a: {partitions: 2000}}", 1, 27, "streams.a.partitions", "expected at most 1024, got 2000"),
    ("streams: {a: {partitions: 1.5}}", 1, 27, "streams.a.partitions", "expected a whole number, got 1.5"),
    ("streams: {a: {partitions: '8'}}", 1, 27, "streams.a.partitions", "expected a whole number, got '8'"),
    ("streams: {a: {partitions: true}}", 1, 27, "streams.a.partitions", "expected a whole number, got true"),
    ("streams: {a: {source: {}}}", 1, 23, "streams.a.source.folder", "expected this key, got nothing"),
    ("streams: {a: {source: {folder: ''}}}", 1, 32, "streams.a.source.folder", "the path of a folder"),
    ("streams: {a: {source: {folder: x, include: '*'}}}", 1, 44, "streams.a.source.include", "put it in brackets"),
    ("streams: {a: {source: {folder: x, include: []}}}", 1, 44, "streams.a.source.include", "at least 1 entry"),
    (
        "streams: {a: {source: {folder: x, include: [a, ../b]}}}",
        1,
        48,
        "streams.a.source.include[1]",
        "inside the folder",
    ),
    ("streams: {a: {recipe: {chunk: {size: 3}}}}", 1, 31, "streams.a.recipe.chunk", "the chunk size is 3"),
    ("streams: {a: {recipe: {chunk: {size: 100, minimum: 200}}}}", 1, 31, "streams.a.recipe.chunk", "must ascend"),
    (
        "streams: {a: {recipe: {payload: {t: 3}}}}",
        1,
        37,
        "streams.a.recipe.payload.t",
        "expected a mapping, got a number",
    ),
    ("streams: {a: {recipe: {payload: {t: {from: ''}}}}}", 1, 44, "streams.a.recipe.payload.t.from", "not empty"),
    ("streams: {a: {recipe: {payload: {'a b': t}}}}", 1, 34, "streams.a.recipe.payload.'a b'", "a name of letters"),
    ("streams: {A: {}}", 1, 11, "streams.A", "a name of a-z, 0-9, _ and -, beginning with a letter"),
    ("streams: {1a: {}}", 1, 11, "streams.1a", "a name of a-z"),
    ("streams: {}", 1, 10, "streams", "at least 1 entry"),
    ("streams: {a: }", 1, 13, "streams.a", "leave the key out to have its default"),
    ("streams: [a]", 1, 10, "streams", "expected a mapping, got a list"),
    ("log: sqlite:///x.db", 1, 1, "streams", "expected this key, got nothing"),
    ("log: headwater.db\nstreams: {a: {}}", 1, 6, "log", "write sqlite:/// before it"),
    ("log: sqlite://x.db\nstreams: {a: {}}", 1, 6, "log", "three slashes"),
    ("log: sqlite:///\nstreams: {a: {}}", 1, 6, "log", "the path of a file is missing"),
    ("log: sqlite:///x?mode=ro\nstreams: {a: {}}", 1, 6, "log", "no ? or #"),
    ("log: 3\nstreams: {a: {}}", 1, 6, "log", "expected sqlite:///PATH or kafka://HOST:PORT[,HOST:PORT...], got 3"),
    ("[1]", 1, 1, "the file", "expected a mapping, got a list"),
    ("just text", 1, 1, "the file", "expected a mapping, got a text"),
    ("<<: {a: 1}\nstreams: {a: {}}", 1, 1, "the file", "the merge key <<"),
    ("? [a, b]\n: 1\nstreams: {a: {}}", 1, 3, "the file", "a list or a mapping as a key"),
    (
        "streams: {a: !!python/object:os.system {}}",
        1,
        14,
        "streams.a",
        "got one with a tag (put it in quotes",
    ),
    ("streams: {a: {partitions: !!int 3}}", 1, 27, "streams.a.partitions", "a value without a tag"),
    ("streams: {a: {}}\n---\nstreams: {a: {}}", 2, 1, "the file", "expected one document, got a second one"),
    ("%YAML 1.1\n---\nstreams: {a: {}}", 2, 1, "the file", "a directive for YAML 1.1"),
    ("streams: [1,\n", 2, 1, "the file", "a syntax error"),
    ("streams: {a: {replay: ${env:X}}}", 1, 24, "the file", "put ${env:NAME} in quotes"),
    ("a: b: c", 1, 5, "the file", "mapping values are not allowed here"),
    ("\tstreams: {}", 1, 1, "the file", "cannot start any token"),
    ("streams: *nowhere", 1, 10, "streams", "an alias of nothing (put it in quotes"),
    ("streams: &x {a: *x}", 1, 17, "streams.a", "an alias inside its own anchor"),
    ('streams: {a: {source: {folder: "\\ud800"}}}', 1, 32, "streams.a.source.folder", "a lone surrogate"),
    ("streams:\n  a: \x01", 2, 6, "the file", "a control character"),
    ("streams: {a: {freshness: '${env:NO}'}}", 1, 26, "streams.a.freshness", "expected the environment variable NO"),
    ("streams: {a: {freshness: '${env:NO:-1s}'}}", 1, 26, "streams.a.freshness", "defaults are not supported"),
    ("streams: {a: {freshness: '${HOME}'}}", 1, 26, "streams.a.freshness", "expected ${env:NAME}"),
    ("streams: {a: {freshness: '${env:NO'}}", 1, 26, "streams.a.freshness", "expected ${env:NAME}"),
]


@pytest.mark.parametrize(("text", "line", "column", "where", "words"), SINGLE)
def test_an_error_has_its_place_and_its_cure(
    write: Write, text: str, line: int, column: int, where: str, words: str
) -> None:
    path = write(text)
    error = only(path)
    assert at(error) == (line, column, where)
    assert error.file == str(path)
    assert str(error).startswith(f"{path}:{line}:{column}: {where}: expected ")
    assert words in str(error)
    assert error.code != "not-yet"


@pytest.mark.parametrize("word", ["yes", "no", "on", "True", "TRUE", "1", "'true'"])
def test_truths_are_only_true_and_false(write: Write, word: str) -> None:
    text = f"streams: {{a: {{recipe: {{payload: {{t: {{from: t, required: {word}}}}}}}}}}}"
    assert "expected true or false" in str(only(write(text)))


def test_a_zero_in_front_makes_no_octal_number(write: Write) -> None:
    assert load(write("streams: {a: {partitions: 010}}"), {}).streams["a"].partitions == 10


# (file, line, column, path, words of the hint)
LATER = [
    (
        "streams: {a: {index: 'postgresql://u:p@h/d'}}",
        1,
        22,
        "streams.a.index",
        "postgresql:// comes with a later version",
    ),
    ("streams: {a: {index: 'qdrant://h'}}", 1, 22, "streams.a.index", "qdrant:// comes with a later version"),
    ("streams: {a: {index: 'lance://h'}}", 1, 22, "streams.a.index", "lance:// comes with a later version"),
    ("streams: {a: {access: acl}}", 1, 15, "streams.a.access", "`access` comes with a later version"),
    ("streams: {a: {retention: 3d}}", 1, 15, "streams.a.retention", "`retention` comes with a later version"),
    ("streams: {a: {region: eu}}", 1, 15, "streams.a.region", "`region` comes with a later version"),
    ("streams: {a: {source: {postgres: x}}}", 1, 24, "streams.a.source.postgres", "this one has `folder: PATH`"),
    ("streams: {a: {source: {http: x}}}", 1, 24, "streams.a.source.http", "this one has `folder: PATH`"),
    ("streams: {a: {recipe: {enrich: x}}}", 1, 24, "streams.a.recipe.enrich", "`enrich` comes with a later version"),
    ("streams: {a: {recipe: {enrich: x}}}", 1, 24, "streams.a.recipe.enrich", "`enrich` comes with a later version"),
]


@pytest.mark.parametrize(("text", "line", "column", "where", "words"), LATER)
def test_what_is_not_built_yet_is_no_unknown_key(
    write: Write, text: str, line: int, column: int, where: str, words: str
) -> None:
    error = only(write(text))
    assert error.code == "not-yet"
    assert at(error) == (line, column, where)
    assert error.hint is not None
    assert words in error.hint
    assert "unknown" not in str(error)
    assert "u:p@" not in str(error)


def test_all_errors_are_told_at_once_in_the_order_of_the_file(write: Write) -> None:
    text = """\
log: kafka://
streams:
  a: {freshness: 3, replay: !t 2h}
  B: {}
  a: {}
  c: {nix: 1, partitions: '${env:NO}'}
"""
    path = write(text)
    found = errors(path)
    assert [at(error) for error in found] == [
        (1, 6, "log"),
        (3, 18, "streams.a.freshness"),
        (3, 29, "streams.a.replay"),
        (4, 3, "streams.B"),
        (5, 3, "streams.a"),
        (6, 7, "streams.c.nix"),
        (6, 27, "streams.c.partitions"),
    ]
    caught = ConfigurationErrors(found)
    assert isinstance(caught, HeadwaterError)
    assert len(str(caught).splitlines()) == 7


def test_a_missing_file_says_which_and_what_to_do(tmp_path: Path) -> None:
    error = only(tmp_path / "none.yaml")
    assert (error.file, error.line) == (str(tmp_path / "none.yaml"), None)
    assert "no such file" in str(error)
    assert "headwater init" in str(error)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "Is a directory" in str(only(tmp_path))


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a comment\n"])
def test_an_empty_file_says_what_to_do(write: Write, text: str) -> None:
    assert "headwater init" in str(only(write(text)))


@pytest.mark.parametrize("text", ["---\n", "~"])
def test_a_document_of_nothing_is_an_error(write: Write, text: str) -> None:
    assert "expected a value, got nothing" in str(only(write(text)))


def test_a_byte_order_mark_is_allowed(write: Write) -> None:
    assert load(write(b"\xef\xbb\xbfstreams: {a: {}}"), {}).streams["a"].partitions == 8


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [("streams: ü\nx: ".encode() + b"\xff", 2, 4), ("streams: {}".encode("utf-16"), 1, 1)],
)
def test_only_utf_8_is_read(write: Write, content: bytes, line: int, column: int) -> None:
    error = only(write(content))
    assert (error.line, error.column, error.expected) == (line, column, "UTF-8")


def test_a_large_file_is_not_read(write: Write) -> None:
    assert "at most 1 MiB" in str(only(write("#" * (loading.FILE_BYTES_MAX + 1))))


def test_anchors_and_aliases_may_be_used(write: Write) -> None:
    settings = load(write("streams:\n  a: {recipe: &r {chunk: {size: 400}}}\n  b: {recipe: *r}\n"), {})
    assert settings.streams["b"].recipe.chunk.size == 400
    assert isinstance(settings, Settings)
