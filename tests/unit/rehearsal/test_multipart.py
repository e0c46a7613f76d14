"""Forms are read byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.rehearsal.multipart import Part, read_form

TYPE = 'multipart/form-data; boundary="--x y"'


def form(*parts: tuple[str, bytes]) -> bytes:
    written = b"".join(
        b"----x y\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts
    )
    return written + b"----x y--\r\n"


@given(st.binary().filter(lambda content: b"----x y" not in content))
def test_a_file_is_what_was_sent(content: bytes) -> None:
    body = form(('name="purpose"', b"batch"), ('name="file"; filename="calls.jsonl"', content))
    assert read_form(TYPE, body) == {"purpose": Part(None, b"batch"), "file": Part("calls.jsonl", content)}


def test_more_headers_are_let_pass() -> None:
    body = form(('name="file"; filename="a b.txt"\r\nContent-Type: text/plain', b"\r\n--\r\n"))
    assert read_form(TYPE, body) == {"file": Part("a b.txt", b"\r\n--\r\n")}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", form(('name="a"', b"b"))),
        ("application/json", form(('name="a"', b"b"))),
        ("multipart/form-data", form(('name="a"', b"b"))),
        ("multipart/form-data; boundary=another", form(('name="a"', b"b"))),
        (TYPE, b""),
        (TYPE, form(('name="a"', b"b"))[:-4]),
        (TYPE, form(("nameless", b"b"))),
        (TYPE, b"before" + form(('name="a"', b"b"))),
    ],
)
def test_what_is_no_form_is_none(content_type: str, body: bytes) -> None:
    assert read_form(content_type, body) is None
