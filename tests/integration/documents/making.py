"""Makes documents of every type, small ones, from their parts."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from importlib import import_module
from io import BytesIO
from typing import Any

import pytest


def _extra(module: str) -> Any:
    """A library of the extra: a machine without it skips, CI fails."""
    return import_module(module) if os.environ.get("CI") else pytest.importorskip(module)


openpyxl, library = _extra("openpyxl"), _extra("pptx")

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
CORE = (
    '<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><dc:title>{title}</dc:title><dc:creator>Ada</dc:creator>'
    '<dcterms:created xsi:type="dcterms:W3CDTF">2024-03-01T10:00:00Z</dcterms:created>'
    '<dcterms:modified xsi:type="dcterms:W3CDTF">2024-03-02T11:00:00+01:00</dcterms:modified>'
    "<dc:language>de-DE</dc:language></cp:coreProperties>"
)


def archive(entries: Mapping[str, bytes | str], *, stored: bool = False) -> bytes:
    written = BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as made:
        for name, data in entries.items():
            made.writestr(name, data)
    return written.getvalue()


def paragraph(text: str, style: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t xml:space='preserve'>{text}</w:t></w:r></w:p>"


def docx(
    body: str,
    *,
    title: str = "A pump",
    prolog: str = "",
    relations: str = "",
    more: Mapping[str, bytes | str] | None = None,
) -> bytes:
    rels = "http://schemas.openxmlformats.org/package/2006/relationships"
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="Heading{n}"><w:name w:val="heading {n}"/></w:style>' for n in (1, 2)
    )
    return archive(
        {
            "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{_MAIN}"/></Types>',
            "_rels/.rels": f'<Relationships xmlns="{rels}"><Relationship Id="r1" Target="word/document.xml"'
            f' Type="{_R}/officeDocument"/></Relationships>',
            "word/_rels/document.xml.rels": f'<Relationships xmlns="{rels}"><Relationship Id="s1" Target="styles.xml"'
            f' Type="{_R}/styles"/>{relations}</Relationships>',
            "word/styles.xml": f'<w:styles xmlns:w="{_W}">{styles}</w:styles>',
            "word/document.xml": f'{prolog}<w:document xmlns:w="{_W}" xmlns:r="{_R}"'
            ' xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing"'
            ' xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
            ' xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture">'
            f"<w:body>{body}</w:body></w:document>",
            "docProps/core.xml": CORE.format(title=title),
            **(more or {}),
        }
    )


def linked_image(address: str) -> tuple[str, str]:
    """A paragraph with an image that lies elsewhere, and the relation that says where."""
    blip = (
        '<w:p><w:r><w:drawing><wp:inline><wp:docPr id="1" name="i" descr="a pump in snow"/><a:graphic><a:graphicData>'
        '<pic:pic><pic:blipFill><a:blip r:link="rId9"/></pic:blipFill></pic:pic></a:graphicData></a:graphic>'
        "</wp:inline></w:drawing></w:r></w:p>"
    )
    return blip, f'<Relationship Id="rId9" Type="{_R}/image" Target="{address}" TargetMode="External"/>'


def xlsx(rows: list[list[Any]], title: str = "Pumps") -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(title)
    for row in rows:
        sheet.append(row)
    book.properties.title, book.properties.creator = "Stock", "Ada"
    written = BytesIO()
    book.save(written)
    return written.getvalue()


def pptx(slides: list[tuple[str, list[str], str]]) -> bytes:
    """Slides of a title, lines and notes; the last one has a table."""
    show = library.Presentation()
    for title, lines, notes in slides:
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = "\n".join(lines)
        if notes:
            slide.notes_slide.notes_text_frame.text = notes
    table = show.slides[len(slides) - 1].shapes.add_table(2, 2, 0, 0, 100, 100).table
    for number, text in enumerate(("part", "count", "valve", "7")):
        table.cell(number // 2, number % 2).text = text
    show.core_properties.title, show.core_properties.author = "Frost", "Ada"
    written = BytesIO()
    show.save(written)
    return written.getvalue()


def odt(body: str, kind: str = "text", office: str = "text") -> bytes:
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "text", "table", "meta")
    )
    return archive(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": f"<office:document-content {names}><office:body><office:{office}>{body}</office:{office}>"
            "</office:body></office:document-content>",
            "meta.xml": f'<office:document-meta {names} xmlns:dc="http://purl.org/dc/elements/1.1/"><office:meta>'
            "<dc:title>Report</dc:title><meta:initial-creator>Ada</meta:initial-creator><dc:date>2024-05-01T00:00:00"
            "</dc:date></office:meta></office:document-meta>",
        },
        stored=True,
    )


def epub(chapters: list[str], **more: str) -> bytes:
    items = "".join(
        f'<item id="c{n}" href="text/c{n}.xhtml" media-type="application/xhtml+xml"/>' for n in range(len(chapters))
    )
    refs = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    return archive(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": "<container>"
            '<rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>',
            "OPS/book.opf": '<package xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><dc:title>Book</dc:title>'
            f"<dc:creator>Ada</dc:creator><dc:language>en</dc:language></metadata><manifest>{items}</manifest>"
            f"<spine>{refs}</spine></package>",
            **{
                f"OPS/text/c{n}.xhtml": "<?xml version='1.0' encoding='utf-8'?><!DOCTYPE html>"
                f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{chapter}</body></html>'
                for n, chapter in enumerate(chapters)
            },
            **more,
        },
        stored=True,
    )


def content(text: str) -> bytes:
    """A page's content stream: the lines of a text."""
    lines = "".join(f"({line}) Tj 0 -14 Td " for line in text.split("\n"))
    return f"BT /F1 12 Tf 72 720 Td {lines}ET".encode("latin-1")


def stream(data: bytes, more: bytes = b"") -> bytes:
    return b"<< /Length %d %s >> stream\n%s\nendstream" % (len(data), more, data)


def deflated(data: bytes, times: int = 1) -> bytes:
    for _ in range(times):
        data = zlib.compress(data, 9)
    return stream(data, b"/Filter [" + b"/FlateDecode " * times + b"]")


def pdf(
    *pages: bytes, kids: bytes | None = None, count: int | None = None, trailer: bytes = b"", title: str = "Pump manual"
) -> bytes:
    """A PDF of pages, each given by its content stream object."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>"
        % (
            b" ".join(b"%d 0 R" % (5 + 2 * n) for n in range(len(pages))) if kids is None else kids,
            len(pages) if count is None else count,
        ),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Title <%s> /Author (Ada) /CreationDate (D:20240301110000+01'00') >>"
        % ("\ufeff" + title).encode("utf-16-be").hex().encode(),
    ]
    for n, page in enumerate(pages):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >>"
            b" /Contents %d 0 R >>" % (6 + 2 * n)
        )
        objects.append(page)
    written = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, item in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    start = len(written)
    written += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    written += b"".join(b"%010d 00000 n \n" % place for place in places)
    written += b"trailer << /Size %d /Root 1 0 R /Info 4 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        trailer,
        start,
    )
    return bytes(written)
