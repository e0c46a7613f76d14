"""Without the extra, text is read all the same, and anything else says what it needs."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError

import pytest

from headwater.documents import identity, parsing
from headwater.documents.identity import documents_identity
from headwater.documents.limits import Limits, quick
from headwater.documents.parsing import Parsers
from headwater.errors import Reject

EXTRA = "pip install 'headwater[documents]'"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"%PDF-1.4", f"PDF, which needs {EXTRA}"),
        (b"<html>", f"HTML, which needs {EXTRA}"),
        ("Grüße aus der Küche".encode("cp1252"), f"text that is not UTF-8, which needs {EXTRA}"),
    ],
)
def test_what_needs_the_extra_says_so(monkeypatch: pytest.MonkeyPatch, data: bytes, reason: str) -> None:
    monkeypatch.setattr(parsing, "_load", lambda name: None)
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    with pytest.raises(Reject) as caught:
        Parsers().parse("a", data, 1000)
    assert caught.value.reason == reason


def test_what_is_no_document_says_what_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "_load", lambda name: None)
    with pytest.raises(Reject) as caught:
        Parsers().parse("a.md", b"\x89PNG\0", 1000)
    assert caught.value.reason == (
        "binary data, which is not read; text, PDF, HTML, DOCX, PPTX, XLSX, ODT, ODP, ODS, EPUB are"
    )


def test_the_identity_changes_with_a_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    before = documents_identity()
    assert "\n" not in before
    assert before == documents_identity()
    monkeypatch.setattr(identity, "version", lambda name: "999" if name == "pypdfium2" else "1")
    assert "pypdfium2=999" in documents_identity()

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(identity, "version", missing)
    assert "mammoth=none" in documents_identity()


def test_the_first_attempt_is_short_and_never_longer_than_the_second() -> None:
    assert quick(Limits()) == Limits(cpu_s=1, wall_s=10.0)
    assert quick(Limits(cpu_s=1, wall_s=0.5)) == Limits(cpu_s=1, wall_s=0.5)
