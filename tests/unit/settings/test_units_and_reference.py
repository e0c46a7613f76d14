"""Numbers with units, and the generated texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.settings.failures import Unfit, listed, shown
from headwater.settings.loading import load
from headwater.settings.reference import reference
from headwater.settings.templates import template
from headwater.settings.units import duration_s, size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("1ms", 0.001), ("30s", 30.0), ("1.5h", 5400.0), ("5m", 300.0), ("2h", 7200.0), ("1d", 86400.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("64KiB", 65536), ("10MB", 10_000_000), ("1.5KiB", 1536), ("0.001kB", 1), ("2GiB", 2 << 30)],
)
def test_sizes(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("30", "the unit is missing: one of ms, s, m, h or d"),
        ("30S", "there is no such unit: one of ms, s, m, h or d"),
        ("", None),
        ("-1s", None),
        ("1 s", None),
        ("1e3s", None),
        ("٣s", None),
        ("9999999999s", None),
    ],
)
def test_what_is_no_duration(text: str, hint: str | None) -> None:
    with pytest.raises(Unfit) as caught:
        duration_s(text)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("text", "hint"), [("64", "the unit is missing"), ("64kb", "there is no such unit"), ("0.5B", "whole")]
)
def test_what_is_no_size(text: str, hint: str) -> None:
    with pytest.raises(Unfit) as caught:
        size_bytes(text)
    assert hint in (caught.value.hint or "")


def test_values_are_shown_as_the_file_has_them() -> None:
    values: list[object] = [None, True, 3, "x", [], {}]
    assert list(map(shown, values)) == ["nothing", "true", "3", "'x'", "a list", "a mapping"]
    assert len(shown("x" * 1000)) == 60
    assert listed(["a"]) == "a"


def test_the_template_loads(tmp_path: Path) -> None:
    path = tmp_path / "headwater.yaml"
    path.write_text(template())
    stream = load(path, {}).streams["articles"]
    assert stream.source is not None
    assert stream.source.folder == tmp_path / "docs"
    assert stream.recipe.payload["title"].from_ == "title"


def test_the_template_says_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "headwater.yaml"
    path.write_text(template())
    written = load(path, {}).streams["articles"]
    path.write_text("streams: {articles: {source: {folder: ./docs}, recipe: {payload: {title: title}}}}")
    assert load(path, {}).streams["articles"] == written


def test_the_reference_has_a_line_for_every_key() -> None:
    lines = reference().splitlines()
    assert "| `log` | URL or mapping | `sqlite:///headwater.db` |" in "\n".join(lines)
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("| `")}
    assert len(rows) == 97
    assert "| duration | `2h` |" in rows["`streams.NAME.replay`"]
    assert "| true or false | `false` |" in rows["`streams.NAME.recipe.payload.FIELD.required`"]
    assert all("None" not in row and "Undefined" not in row for row in rows.values())
