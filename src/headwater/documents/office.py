"""What DOCX, PPTX and XLSX files say of themselves, in their part docProps/core.xml."""

from __future__ import annotations

from typing import Any

import lxml.etree

from headwater.documents.archive import Archive
from headwater.documents.metadata import label, language, moment
from headwater.errors import Reject

_NAMES = {
    "title": ("title", label),
    "creator": ("author", label),
    "created": ("created", moment),
    "modified": ("modified", moment),
    "language": ("language", language),
}


def properties(archive: Archive) -> dict[str, Any]:
    """Return the fields of `Extracted` that the file states."""
    data = archive.read("docProps/core.xml")
    if not data:
        return {}
    found = {}
    for element in xml(data):
        name = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
        if name in _NAMES:
            field, clean = _NAMES[name]
            found[field] = clean("".join(element.itertext()))
    return found


def xml(data: bytes) -> Any:
    """Return the root of an XML part. Entities stay unread, nothing is fetched."""
    parser = lxml.etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True, remove_comments=True, remove_pis=True
    )
    try:
        return lxml.etree.fromstring(data, parser)
    except lxml.etree.XMLSyntaxError as error:
        raise Reject("a part of it is no XML") from error
