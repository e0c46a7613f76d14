"""HTML pages, mended as browsers mend them."""

from __future__ import annotations

import re
from typing import Any

import lxml.etree
import lxml.html

from headwater.documents import kinds
from headwater.documents.charset import decode_page
from headwater.documents.markdown import to_markdown
from headwater.documents.metadata import label, language, moment
from headwater.documents.port import Extracted
from headwater.errors import Reject

_AUTHORS = ("author", "article:author", "dc.creator", "dcterms.creator")
_CREATED = ("article:published_time", "dcterms.created", "dc.date", "date", "datepublished")
_MODIFIED = ("article:modified_time", "dcterms.modified", "last-modified", "og:updated_time", "datemodified")
#: A declaration that is no longer true of the decoded text.
_DECLARATION = re.compile(r"^\s*<\?xml[^>]{0,200}\?>")


def parse(data: bytes) -> Extracted:
    """Read a page. Of one that has a main part, that: the author of the page says that the rest is not its content."""
    text = decode_page(data)
    if text is None:
        raise Reject("not text in any charset")
    return of_markup(text)


def of_markup(text: str) -> Extracted:
    """Read a page that is text already."""
    root = tree(text)
    if root is None:
        return Extracted("", "markdown", kinds.HTML)
    said = _meta(root)
    title = next((element.text_content() for element in root.xpath("//title[not(ancestor::svg)]")), None)
    return Extracted(
        to_markdown(_main(root)),
        "markdown",
        kinds.HTML,
        title=label(title) or label(said.get("og:title")),
        author=next(filter(None, (label(said.get(name)) for name in _AUTHORS)), None),
        created=next(filter(None, (moment(said.get(name)) for name in _CREATED)), None),
        modified=next(filter(None, (moment(said.get(name)) for name in _MODIFIED)), None),
        language=language(root.get("lang")),
    )


def tree(text: str) -> Any:
    """Return the root of a page's tree, mended as browsers do; None of an empty one. Nothing is fetched."""
    data = _DECLARATION.sub("", text.replace("\0", "")).encode("utf-8", "replace")
    parser = lxml.html.HTMLParser(
        encoding="utf-8", no_network=True, huge_tree=True, remove_comments=True, remove_pis=True
    )
    try:
        root = lxml.html.document_fromstring(data, parser=parser)
    except lxml.etree.ParserError:
        return None  # there is no element in it
    # Otherwise the rest of the page would be missing without a word.
    for entry in parser.error_log.filter_from_fatals():
        deep = entry.type == lxml.etree.ErrorTypes.ERR_RESOURCE_LIMIT
        raise Reject("HTML that is nested too deep" if deep else "HTML that cannot be read to its end")
    return root


def _main(root: Any) -> Any:
    found = list(root.iter("main")) or root.xpath("//*[@role='main']")
    return found[0] if len(found) == 1 and found[0].text_content().strip() else root


def _meta(root: Any) -> dict[str, str]:
    said: dict[str, str] = {}
    for element in root.iter("meta"):
        name = element.get("name") or element.get("property") or element.get("itemprop") or element.get("http-equiv")
        if name and element.get("content"):
            said.setdefault(name.lower(), element.get("content"))
    return said
