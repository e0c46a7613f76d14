"""PURE: which type a document has, by its content. A name only decides between types that share their content."""

from __future__ import annotations

import re

PDF = "application/pdf"
HTML = "text/html"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ODT = "application/vnd.oasis.opendocument.text"
ODP = "application/vnd.oasis.opendocument.presentation"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
EPUB = "application/epub+zip"

#: How people call them.
NAMES = {
    PDF: "PDF",
    HTML: "HTML",
    DOCX: "DOCX",
    PPTX: "PPTX",
    XLSX: "XLSX",
    ODT: "ODT",
    ODP: "ODP",
    ODS: "ODS",
    EPUB: "EPUB",
}
READABLE = "text, " + ", ".join(NAMES.values())

#: What files that can be read are called, mostly. Data is left out, such as CSV and JSON: it is text, and no document.
ENDINGS = (
    *("md", "markdown", "txt", "rst", "html", "htm", "xhtml", "pdf"),
    *("docx", "pptx", "xlsx", "odt", "odp", "ods", "epub"),
)

#: What an OOXML file calls its main part, without macros, with them, and as a template or show.
_MAIN_PARTS = (
    (re.compile(rb"wordprocessingml\.(document|template)\.main\+xml|ms-word\.(document|template)\.macro"), DOCX),
    (re.compile(rb"presentationml\.(presentation|template|slideshow)\.main\+xml|ms-powerpoint\.\w+\.macro"), PPTX),
    (re.compile(rb"spreadsheetml\.(sheet|template)\.main\+xml|ms-excel\.(sheet|template)\.macro"), XLSX),
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_HTML_SUFFIXES = (".html", ".htm", ".xhtml")
_BEFORE_HTML = re.compile(r"(?:\s+|<!--.*?-->|<\?xml[^>]*>)+", re.DOTALL)
_HTML = re.compile(r"<(?:!doctype\s+html|html|head|body)[\s>/]", re.IGNORECASE)
_TAG = re.compile(r"<[a-zA-Z!][^<]*>")
#: HTML that begins later than this is text about HTML.
HEAD = 8192


def is_pdf(data: bytes) -> bool:
    """Tell a PDF. Its header may follow rubbish, if that is no text; readers look for it in the first kilobyte."""
    if data[:1024].lstrip().startswith(b"%PDF-"):
        return True
    return b"%PDF-" in data[:1024] and not _is_text(data[:1024])


def is_zip(data: bytes) -> bool:
    """Tell an archive, which an Office file is too."""
    return data.startswith(_ZIP)


def is_html(head: str, name: str) -> bool:
    """Tell a page by how it begins: as pages do, or with any tag if it is named so.

    Markdown may begin with tags and comments, but not with those of a page's frame.
    """
    before = _BEFORE_HTML.match(head)
    rest = head[before.end() :] if before else head
    if _HTML.match(rest):
        return True
    return name.lower().endswith(_HTML_SUFFIXES) and _TAG.match(rest) is not None


def refused(data: bytes) -> str | None:
    """Name a type that is known and not read, by its first bytes."""
    if data.startswith(_OLE):
        if _ENCRYPTED_PACKAGE in data:
            return "an Office file that is protected with a password"
        return "an Office file of before 2007; save it in the format of today"
    if data[:64].lstrip().startswith(b"{\\rtf"):
        return "RTF"
    return "PostScript" if data.startswith(b"%!PS") else None


def in_archive(mimetype: bytes, content_types: bytes) -> str | None:
    """Tell the type of an archive by its entry `mimetype` and its part [Content_Types].xml; None for no document."""
    declared = mimetype.strip().decode("ascii", "replace").removesuffix("-template")
    if declared in (ODT, ODP, ODS, EPUB):
        return declared
    return next((kind for pattern, kind in _MAIN_PARTS if pattern.search(content_types)), None)


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4
    return b"\0" not in head
