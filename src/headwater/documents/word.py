"""DOCX files: mammoth makes HTML of them, which becomes Markdown."""

from __future__ import annotations

import xml.dom.expatbuilder  # noqa: F401 - minidom imports it when it first parses, and then no file can be opened
from io import BytesIO
from typing import Any

import mammoth
import mammoth.html

from headwater.documents import kinds, office, webpage
from headwater.documents.archive import Archive
from headwater.documents.markdown import to_markdown
from headwater.documents.port import Extracted

_STYLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => p:fresh\n"


def parse(data: bytes, archive: Archive) -> Extracted:
    """Read headings, paragraphs, lists, tables, notes; of images their description. Linked images are not opened."""
    page = mammoth.convert_to_html(
        BytesIO(data),
        style_map=_STYLES,
        convert_image=_described,
        external_file_access=False,
        include_embedded_style_map=False,
    ).value
    root = webpage.tree(page)
    text = "" if root is None else to_markdown(root)
    return Extracted(text, "markdown", kinds.DOCX, **office.properties(archive))


def _described(image: Any) -> list[Any]:
    return [mammoth.html.text(image.alt_text)] if image.alt_text else []
