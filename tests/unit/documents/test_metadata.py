"""What documents say of themselves is cleaned, whoever wrote it."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.documents.metadata import LONGEST, body, label, language, moment


@pytest.mark.parametrize(
    ("said", "clean"),
    [
        ("  Pumps \n &\tfrost ", "Pumps & frost"),
        ("\x1b[31mred\x1b[0m \x1b]0;owned\x07title", "red title"),
        ("\u202egnp.exe\u202c", "gnp.exe"),
        ("المضخة 👩‍👩‍👧", "المضخة 👩‍👩‍👧"),
        ("e\u0301", "é"),
        ("x" * 1000, "x" * LONGEST),
        ("\0\x9b", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_labels(said: object, clean: str | None) -> None:
    assert label(said) == clean


@settings(derandomize=True)
@given(st.text(st.characters(codec=None), max_size=400))
def test_a_label_is_one_printable_line(said: str) -> None:
    clean = label(said)
    assert clean is None or (clean.strip() == clean and 0 < len(clean) <= LONGEST)
    assert not clean or not set(clean) & set("\x00\x07\n\r\t\x1b\x7f\x85\x9b\u202e\u2066\ud800")


@settings(derandomize=True)
@given(st.text(st.characters(codec=None), max_size=200))
def test_a_body_is_text(text: str) -> None:
    clean = body(text)
    clean.encode()
    assert not set(clean) & set("\x00\x07\r\x1b\x7f\x9b")
    assert body(clean) == clean


@pytest.mark.parametrize(
    ("said", "time"),
    [
        ("D:20240301113000+01'30'", "2024-03-01T10:00:00Z"),
        ("D:20240301113000-01'30", "2024-03-01T13:00:00Z"),
        ("D:20240301113000Z00'00'", "2024-03-01T11:30:00Z"),
        ("D:202403", "2024-03-01T00:00:00Z"),
        ("D:2024", "2024-01-01T00:00:00Z"),
        ("D:20241399", None),
        ("D:20240301113000+99'99'", None),
        ("2024-03-01", "2024-03-01T00:00:00Z"),
        ("2024-03-01T11:30:00.5+01:00", "2024-03-01T10:30:00Z"),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        (datetime(2024, 3, 1, 11), "2024-03-01T11:00:00Z"),  # noqa: DTZ001 (a file without a zone)
        (None, None),
    ],
)
def test_moments(said: object, time: str | None) -> None:
    assert moment(said) == time


@settings(derandomize=True)
@given(st.one_of(st.text(max_size=40), st.from_regex(r"D:[0-9'+\-Z]{0,25}", fullmatch=True)))
def test_any_moment_is_a_time_or_none(said: str) -> None:
    found = moment(said)
    assert found is None or datetime.fromisoformat(found) is not None


@pytest.mark.parametrize(
    ("said", "tag"),
    [("de_DE", "de-DE"), (" en ", "en"), ("zh-Hant-TW", "zh-Hant-TW"), ("English", None), ("", None), (1, None)],
)
def test_languages(said: object, tag: str | None) -> None:
    assert language(said) == tag
