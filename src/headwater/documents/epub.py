"""EPUB books: their chapters are pages, in the order of the book's spine."""

from __future__ import annotations

from posixpath import dirname, join, normpath
from typing import Any
from urllib.parse import unquote

from headwater.documents import kinds, office, webpage
from headwater.documents.archive import Archive
from headwater.documents.charset import decode_page
from headwater.documents.markdown import to_markdown
from headwater.documents.metadata import label, language, moment
from headwater.documents.port import Extracted
from headwater.errors import Reject

_PAGES = ("application/xhtml+xml", "text/html")


def parse(archive: Archive) -> Extracted:
    """Read the chapters. Raise Reject for a book with a lock on it."""
    if "META-INF/rights.xml" in archive.names:
        raise Reject("a book with copy protection")
    package = _package(archive)
    root = office.xml(archive.read(package) or _damaged())
    said: dict[str, str] = {}
    for element in _named(root, "metadata"):
        for child in element:
            if isinstance(child.tag, str):
                said.setdefault(_name(child), "".join(child.itertext()))
    chapters = [_chapter(archive, name) for name in _spine(root, dirname(package))]
    return Extracted(
        "\n".join(chapter for chapter in chapters if chapter),
        "markdown",
        kinds.EPUB,
        title=label(said.get("title")),
        author=label(said.get("creator")),
        created=moment(said.get("date")),
        language=language(said.get("language")),
    )


def _package(archive: Archive) -> str:
    for element in _named(office.xml(archive.read("META-INF/container.xml") or _damaged()), "rootfile"):
        return str(element.get("full-path") or "")
    return ""


def _spine(root: Any, folder: str) -> list[str]:
    pages = {
        item.get("id"): normpath(join(folder, unquote(item.get("href") or "")))
        for item in _named(root, "item")
        if item.get("media-type") in _PAGES and item.get("properties") != "nav"
    }
    return [pages[ref.get("idref")] for ref in _named(root, "itemref") if ref.get("idref") in pages]


def _chapter(archive: Archive, name: str) -> str:
    text = decode_page(archive.read(name) or _damaged())
    if text is None:
        raise Reject("a damaged or locked book: a chapter is no text")
    root = webpage.tree(text)
    return "" if root is None else to_markdown(root)


def _named(root: Any, name: str) -> list[Any]:
    return [element for element in root.iter() if isinstance(element.tag, str) and _name(element) == name]


def _name(element: Any) -> str:
    return str(element.tag.rpartition("}")[2])


def _damaged() -> bytes:
    raise Reject("a damaged book: a part of it is missing")
