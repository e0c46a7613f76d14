"""Forms as browsers and HTTP clients send files in: multipart/form-data. Pure."""

from __future__ import annotations

from email.message import Message
from email.parser import BytesHeaderParser
from typing import NamedTuple


class Part(NamedTuple):
    """A field of a form; `file` is the name of a file, where it is one."""

    file: str | None
    content: bytes


def read_form(content_type: str, body: bytes) -> dict[str, Part] | None:
    """Read a form: its fields by name, byte for byte. None where it is none."""
    head = Message()
    head["content-type"] = content_type
    boundary = head.get_param("boundary")
    if head.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        return None
    mark = b"\r\n--" + boundary.encode("utf-8")
    first, *written = (b"\r\n" + body).split(mark)
    if first.strip() or not written or not written.pop().startswith(b"--"):
        return None
    fields: dict[str, Part] = {}
    for part in written:
        headers, blank, content = part.partition(b"\r\n\r\n")
        disposition = BytesHeaderParser().parsebytes(headers.removeprefix(b"\r\n"))
        name = disposition.get_param("name", header="content-disposition")
        if not blank or not isinstance(name, str):
            return None
        fields[name] = Part(disposition.get_filename(), content)
    return fields
