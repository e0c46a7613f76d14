"""Types are told by content; names decide only between what looks alike."""

from __future__ import annotations

import pytest

from headwater.documents import kinds
from headwater.documents.plain import plain


@pytest.mark.parametrize(
    ("name", "head", "html"),
    [
        ("a.txt", "<!DOCTYPE html><p>x", True),
        ("a", "\n <!-- saved -->\n<?xml version='1.0'?><HTML lang='en'>", True),
        ("a.md", "<body>x", True),
        ("a.md", '<p align="center">logo</p>\n# Title', False),
        ("a.md", "<!-- a comment --># Title", False),
        ("a.html", "<p>a fragment", True),
        ("a.HTM", "<!-- x --><div>", True),
        ("a.html", "# Markdown under a wrong name", False),
        ("a.txt", "<htmlish> is no tag", False),
        ("a.txt", "see <html> below", False),
        ("a.html", "< 5 is small", False),
        ("a.xml", "<?xml version='1.0'?><feed/>", False),
    ],
)
def test_html(name: str, head: str, html: bool) -> None:
    assert kinds.is_html(head, name) is html


@pytest.mark.parametrize(
    ("data", "pdf"),
    [
        (b"%PDF-1.4\n", True),
        (b"\n %PDF-1.4", True),
        (b"\x80\x81 rubbish %PDF-1.4", True),
        (b"\0\0%PDF-1.4", True),
        (b"A PDF begins with %PDF-1.4", False),
        ("Ein PDF beginnt so: ü %PDF-1.4".encode(), False),
        (b"x" * 1024 + b"%PDF-1.4", False),
    ],
)
def test_pdf(data: bytes, pdf: bool) -> None:
    assert kinds.is_pdf(data) is pdf


def test_a_character_that_the_head_cuts_is_text_still() -> None:
    assert not kinds.is_pdf(("about %PDF-1.4 " + "ü" * 600).encode())
    assert not kinds.is_pdf((" about %PDF-1.4 " + "ü" * 600).encode())


@pytest.mark.parametrize(
    ("types", "kind"),
    [
        (b"wordprocessingml.document.main+xml", kinds.DOCX),
        (b"ms-word.document.macroEnabled.main+xml", kinds.DOCX),
        (b"presentationml.slideshow.main+xml", kinds.PPTX),
        (b"spreadsheetml.sheet.main+xml", kinds.XLSX),
        (b"ms-excel.sheet.macroEnabled.main+xml", kinds.XLSX),
        (b"visio.drawing.main+xml", None),
    ],
)
def test_office(types: bytes, kind: str | None) -> None:
    assert kinds.in_archive(b"", types) == kind


def test_open_document_and_books_say_their_type() -> None:
    for kind in (kinds.ODT, kinds.ODP, kinds.ODS, kinds.EPUB):
        assert kinds.in_archive(kind.encode() + b"\n", b"") == kind
    assert kinds.in_archive(kinds.ODT.encode() + b"-template", b"") == kinds.ODT
    assert kinds.in_archive(b"application/java", b"") is None


@pytest.mark.parametrize(
    ("name", "kind", "form"),
    [
        ("a/b.MD", "text/markdown", "markdown"),
        ("b.markdown", "text/markdown", "markdown"),
        ("b.csv", "text/csv", "text"),
        ("b.json", "application/json", "text"),
        ("b", "text/plain", "text"),
        ("md", "text/plain", "text"),
        ("b.pdf", "text/plain", "text"),
    ],
)
def test_text_has_the_type_of_its_name(name: str, kind: str, form: str) -> None:
    found = plain(name, "\ufeffpump ❄\r\n\x1b".encode())
    assert found is not None
    assert (found.text, found.type, found.format, found.title) == ("pump ❄\r\n\x1b", kind, form, None)


@pytest.mark.parametrize(
    "data",
    [b"a\0b", b"\xff\xfea\0", b"caf\xe9", b"%PDF-1.4", b"{\\rtf1 x}", b"<html>", b"PK\x03\x04\xff", b"%!PS-Adobe"],
)
def test_what_a_reader_must_look_at(data: bytes) -> None:
    assert plain("a.txt", data) is None


def test_nothing_is_text() -> None:
    found = plain("a.pdf", b"")
    assert found is not None
    assert found.text == ""
