"""PDF files: the text of their pages."""

from __future__ import annotations

import re
from contextlib import closing

import pypdfium2
import pypdfium2.raw

from headwater.documents import kinds
from headwater.documents.metadata import label, moment
from headwater.documents.port import Extracted
from headwater.errors import Reject

MAX_PAGES = 20_000
#: What pdfium puts where a word was divided at the end of a line.
_DIVIDED = re.compile("[\ufffe\x02]\r?\n?")


def parse(data: bytes, most_bytes: int) -> Extracted:
    """Read the text that is in the file. Pictures of text are not read."""
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if pypdfium2.raw.FPDF_GetLastError() == pypdfium2.raw.FPDF_ERR_PASSWORD or "password" in str(error).lower():
            raise Reject("a PDF that is protected with a password") from None
        raise Reject("a damaged PDF") from None
    with closing(document):
        count = len(document)
        if count == 0:
            raise Reject("a PDF without pages")
        if count > MAX_PAGES:
            raise Reject(f"a PDF of {count:,} pages, at most {MAX_PAGES:,} are read")
        text = _text(document, count, most_bytes)
        said = document.get_metadata_dict(skip_empty=True)
    return Extracted(
        text,
        "text",
        kinds.PDF,
        title=label(said.get("Title")),
        author=label(said.get("Author")),
        created=moment(said.get("CreationDate")),
        modified=moment(said.get("ModDate")),
        pages=count,
    )


def _text(document: pypdfium2.PdfDocument, count: int, most_bytes: int) -> str:
    pages = []
    size = damaged = 0
    for number in range(count):
        try:
            with closing(document[number]) as page, closing(page.get_textpage()) as text:
                pages.append(_DIVIDED.sub("", text.get_text_bounded()).strip())
        except pypdfium2.PdfiumError:
            damaged += 1
            continue
        size += len(pages[-1])
        if size > most_bytes:
            raise Reject(f"it holds over {most_bytes >> 20} MiB of text")
    # A half of a document that passes for the whole is worse than none.
    if damaged:
        raise Reject(f"a damaged PDF: {damaged:,} of {count:,} pages cannot be read")
    if not size:
        raise Reject("a PDF without text: perhaps scanned pages, which are not read")
    return "\n\n".join(page for page in pages if page) + "\n"
