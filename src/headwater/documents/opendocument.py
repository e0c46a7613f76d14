"""ODT, ODP and ODS files: their elements have the meanings of HTML's, under other names."""

from __future__ import annotations

from typing import Any

from headwater.documents import office
from headwater.documents.archive import Archive
from headwater.documents.markdown import to_markdown
from headwater.documents.metadata import label, language, moment
from headwater.documents.port import Extracted
from headwater.errors import Reject

_TAGS = {
    "p": "p",
    "list": "ul",
    "list-item": "li",
    "list-header": "li",
    "table": "table",
    "table-row": "tr",
    "table-cell": "td",
    "covered-table-cell": "td",
    "line-break": "br",
    "page": "section",
    "section": "section",
    "note-body": "span",
}
#: What is no longer in the text, stands in it for the layout only, or belongs to somebody else.
_DROPPED = frozenset(
    ("tracked-changes", "annotation", "note-citation", "forms", "scripts", "sequence-decls", "page-number")
)


def parse(archive: Archive, kind: str) -> Extracted:
    """Read headings, paragraphs, lists, tables and notes."""
    if b"encryption-data" in archive.read("META-INF/manifest.xml"):
        raise Reject("a file that is protected with a password")
    content = archive.read("content.xml")
    if not content:
        raise Reject("a damaged file: it has no content.xml")
    said = _said(archive.read("meta.xml"))
    return Extracted(
        to_markdown(office.xml(content), _tag),
        "markdown",
        kind,
        title=label(said.get("title")),
        author=label(said.get("initial-creator") or said.get("creator")),
        created=moment(said.get("creation-date")),
        modified=moment(said.get("date")),
        language=language(said.get("language")),
    )


def _said(meta: bytes) -> dict[str, str]:
    if not meta:
        return {}
    return {
        element.tag.rpartition("}")[2]: "".join(element.itertext())
        for element in office.xml(meta).iter()
        if isinstance(element.tag, str)
    }


def _tag(element: Any) -> str | None:
    if not isinstance(element.tag, str):
        return None
    name = element.tag.rpartition("}")[2]
    if name in _DROPPED:
        return None
    if name == "h":
        level = next((value for key, value in element.attrib.items() if key.endswith("}outline-level")), "1")
        return f"h{min(6, int(level))}" if level.isdecimal() and level != "0" else "h1"
    if name in ("s", "tab"):
        element.text = " "
    return _TAGS.get(name, "span")
