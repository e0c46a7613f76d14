"""Dirty documents: what people have in their folders, and what somebody puts there who means no good.

Each is made here, and comes with what must become of it: a text that it holds, or the reason of its rejection.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import NamedTuple

from tests.integration.documents import making


class Dirty(NamedTuple):
    """A document under a file name. `read` is in its text; or `rejected` is a pattern of the reason."""

    name: str
    data: Callable[[], bytes]
    read: str | None = None
    rejected: str | None = None


def _zeros(size: int) -> bytes:
    """So many zeros, deflated as a bare stream."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*parts, packer.flush()])


def _bomb(size: int) -> bytes:
    """A DOCX whose text unpacks to far more than it may."""
    return making.docx(making.paragraph("x" * size))


def _liar() -> bytes:
    """A DOCX whose document.xml is declared as 100 bytes and unpacks to 100 MB."""
    data = bytearray(making.docx(making.paragraph("a" * (100 << 20))))
    with zipfile.ZipFile(BytesIO(data)) as archive:
        size = archive.getinfo("word/document.xml").file_size
    return bytes(data.replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little")))


def _nested() -> bytes:
    data = b"x" * (10 << 20)
    for level in range(6):
        data = making.archive({f"{n}{level}.zip": data for n in range(10)})
    return data


def _overlapping() -> bytes:
    """Every entry listed twice over the same bytes, as the densest bombs do."""
    data = making.docx(making.paragraph("shared"))
    end = data.rindex(b"PK\x05\x06")
    count, size, start = struct.unpack("<HII", data[end + 10 : end + 20])
    listed = data[start : start + size] * 2
    closing = struct.pack("<HHIIH", 2 * count, 2 * count, 2 * size, start, 0)
    return data[:start] + listed + data[end : end + 8] + closing


def _laughs(element: str) -> str:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    return f'<!DOCTYPE {element} [<!ENTITY l0 "ha">{entities}]>'


def _outside(element: str) -> str:
    return f'<!DOCTYPE {element} [<!ENTITY outside SYSTEM "file:///etc/passwd">]>'


def _sheet(prolog: str, rows: str) -> bytes:
    """A workbook whose sheet is written by hand."""
    source = BytesIO(making.xlsx([["x"]]))
    written = BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data: bytes | str = old.read(name)
            if name.endswith("sheet1.xml"):
                data = (
                    f'{prolog}<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
                    f'<dimension ref="A1:XFD1048576"/><sheetData>{rows}</sheetData></worksheet>'
                )
            new.writestr(name, data)
    return written.getvalue()


def _cell(place: str, text: str) -> str:
    row = re.sub("[A-Z]", "", place)
    return f'<row r="{row}"><c r="{place}" t="inlineStr"><is><t>{text}</t></is></c></row>'


def _ole(name: str) -> bytes:
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + name.encode("utf-16-le") + bytes(512)


def _locked_pdf() -> bytes:
    lock = b"/Encrypt << /Filter /Standard /V 1 /R 2 /Length 40 /P -4 /O <%s> /U <%s> >> /ID [<00> <00>]"
    return making.pdf(making.stream(making.content("secret")), trailer=lock % (b"11" * 32, b"22" * 32))


def _huge_stream() -> bytes:
    packer = zlib.compressobj(9)
    parts = [packer.compress(b"BT /F1 12 Tf (pump) Tj ET\n" * 40_000) for _ in range(200)]
    return making.pdf(making.stream(b"".join([*parts, packer.flush()]), b"/Filter /FlateDecode"))


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (50_000).to_bytes(4, "big") * 2 + b"\x08\x06\0\0\0" + bytes(64)
GERMAN = "Die Straße führt über die Brücke, größer und schöner als früher. Äpfel und Öl gehören zusammen, müde Füße."
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. Насосы на северных воротах замерзают зимой."
ARABIC = "<p dir='rtl'>المضخة تتجمد في الشتاء \u202eevil\u202c</p>"
GOOD = making.paragraph("The pump freezes.")

DIRTY = (
    # Archives
    Dirty("text bomb.docx", lambda: _bomb(60 << 20), rejected="over 32 MiB of text|more memory|processor"),
    Dirty("declares too much.docx", lambda: _bomb(600 << 20), rejected="unpacks to over 512 MiB"),
    Dirty("declares too little.docx", _liar, rejected="damaged"),
    Dirty("nested.docx", _nested, rejected="a zip archive, which is not read"),
    Dirty("overlapping.docx", _overlapping, rejected="entries overlap"),
    Dirty(
        "many entries.docx",
        lambda: making.docx(GOOD, more={f"word/{n}.xml": b"" for n in range(20_000)}),
        rejected="20,00. entries, at most 10,000",
    ),
    Dirty("cut.docx", lambda: making.docx(GOOD)[:-200], rejected="damaged"),
    Dirty("no end.docx", lambda: making.docx(GOOD)[:300], rejected="damaged"),
    Dirty(
        "climbs.docx",
        lambda: making.docx(GOOD, more={"../../etc/evil": b"x", "/tmp/evil": b"x"}),
        read="The pump freezes.",
    ),
    Dirty("no document.docx", lambda: making.archive({"[Content_Types].xml": "<Types/>"}), rejected="a zip archive"),
    Dirty(
        "missing part.docx",
        lambda: making.archive({"[Content_Types].xml": making._MAIN}),
        rejected="damaged or unusual",
    ),
    Dirty("empty.zip", lambda: making.archive({}), rejected="a zip archive"),
    Dirty("programs.jar", lambda: making.archive({"A.class": b"\xca\xfe\xba\xbe"}), rejected="a zip archive"),
    # XML
    Dirty(
        "laughs.docx", lambda: making.docx(making.paragraph("&l11;"), prolog=_laughs("w:document")), rejected="entities"
    ),
    Dirty(
        "outside.docx",
        lambda: making.docx(making.paragraph("&outside;"), prolog=_outside("w:document")),
        rejected="entities",
    ),
    Dirty("laughs.xlsx", lambda: _sheet(_laughs("worksheet"), _cell("A1", "&l11;")), rejected="entities"),
    Dirty("outside.xlsx", lambda: _sheet(_outside("worksheet"), _cell("A1", "&outside;")), rejected="entities"),
    Dirty(
        "laughs behind a comment.xlsx",
        lambda: _sheet(f"<!--{'x' * 100_000}-->{_laughs('worksheet')}", _cell("A1", "&l11;")),
        rejected="damaged or unusual",
    ),
    Dirty("laughs.odt", lambda: making.odt("<text:p>a&l11;b</text:p>").replace(b"x", b"x"), rejected="no XML"),
    Dirty("no XML.docx", lambda: making.docx("<w:p>"), rejected="damaged or unusual"),
    Dirty(
        "deep.docx",
        lambda: making.docx("<w:sdt><w:sdtContent>" * 20_000 + "</w:sdtContent></w:sdt>" * 20_000),
        rejected=".",
    ),
    Dirty("empty rows.xlsx", lambda: _sheet("", _cell("A1", "first") + _cell("A1048576", "last")), read="| last |"),
    Dirty(
        "far column.xlsx",
        lambda: _sheet("", _cell("XFD1", "far") + "".join(_cell(f"A{row}", "near") for row in range(2, 300))),
        read="|  | far |\n| --- | --- |\n| near |\n",
    ),
    Dirty(
        "many rows.xlsx",
        lambda: _sheet("", '<row r="1"></row>' * 300_000 + _cell("A1048576", "end")),
        read="| end |",
    ),
    # PDF
    Dirty("truncated.pdf", lambda: making.pdf(making.stream(making.content("The pump.")))[:400], rejected="PDF"),
    Dirty(
        "no xref.pdf",
        lambda: making.pdf(making.stream(making.content("The pump."))).replace(b"xref\n0", b"none\n7"),
        read="The pump.",
    ),
    Dirty("rubbish.pdf", lambda: b"%PDF-1.7\n" + b"\x9c\x00rubbish" * 1000, rejected="a damaged PDF"),
    Dirty("locked.pdf", _locked_pdf, rejected="password"),
    Dirty("no pages.pdf", lambda: making.pdf(kids=b"", count=0), rejected="without pages|damaged"),
    Dirty("scanned.pdf", lambda: making.pdf(making.stream(b"0 0 100 100 re f")), rejected="without text"),
    Dirty("tree of itself.pdf", lambda: making.pdf(kids=b"2 0 R 2 0 R", count=1_000_000), rejected="PDF|processor"),
    Dirty("page of itself.pdf", lambda: making.pdf(making.stream(b"x"), kids=b"2 0 R 5 0 R", count=3), rejected="PDF"),
    Dirty(
        "page missing.pdf",
        lambda: making.pdf(making.stream(making.content("One")), kids=b"5 0 R 99 0 R", count=2),
        rejected="1 of 2 pages cannot be read",
    ),
    Dirty("huge stream.pdf", _huge_stream, rejected="processor|memory|crashed|over 32 MiB"),
    Dirty("deflated nine times.pdf", lambda: making.pdf(making.deflated(making.content("inside"), 9)), read="inside"),
    Dirty(
        "after rubbish.pdf",
        lambda: b"\x80\x81\r\n" + making.pdf(making.stream(making.content("The pump."))),
        read="The pump.",
    ),
    Dirty(
        "escape.pdf",
        lambda: making.pdf(making.stream(making.content("x y")), title="\x1b[2J\x1b]0;owned\x07Fine\nline\u202e"),
        read="x y",
    ),
    # Names that lie
    Dirty("image.pdf", lambda: PNG, rejected="image/png, which is not read; text, PDF"),
    Dirty("document.md", lambda: making.docx(GOOD), read="The pump freezes."),
    Dirty("manual.docx", lambda: making.pdf(making.stream(making.content("The pump."))), read="The pump."),
    Dirty("page.pdf", lambda: b"<!doctype html><p>The pump</p>", read="The pump"),
    Dirty("letter.docx", lambda: _ole("EncryptedPackage"), rejected="protected with a password"),
    Dirty("letter.doc", lambda: _ole("WordDocument"), rejected="before 2007"),
    Dirty("letter.rtf", lambda: rb"{\rtf1\ansi The pump}", rejected="RTF, which is not read"),
    Dirty("program", lambda: b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 20, rejected="which is not read"),
    Dirty("noise.txt", lambda: bytes((n * 7919 + n // 13) % 256 for n in range(20_000)), rejected="which is not read"),
    # HTML
    Dirty(
        "deep.html",
        lambda: b"<!doctype html>" + b"<div>" * 100_000 + b"ground" + b"</div>" * 100_000,
        rejected="nested too deep",
    ),
    Dirty("deep lists.html", lambda: b"<!doctype html>" + b"<ul><li>" * 20_000 + b"ground", rejected="nested too deep"),
    Dirty(
        "deep quotes.html",
        lambda: b"<!doctype html>" + b"<blockquote>" * 20_000 + b"ground",
        rejected="nested too deep",
    ),
    Dirty(
        "deep tables.html",
        lambda: b"<!doctype html>" + b"<table><tr><td>" * 5_000 + b"ground",
        rejected="nested too deep",
    ),
    Dirty(
        "hardly deep.html",
        lambda: b"<!doctype html>" + b"<ul><li>" * 500 + b"ground" + b"<blockquote>" * 900 + b"x",
        read="ground",
    ),
    Dirty("one line.html", lambda: b"<!doctype html><p>" + b"pump " * (2 << 20), read="pump pump"),
    Dirty("open tags.html", lambda: b"<!doctype html><b><i>" * 50_000 + b"end", rejected="nested too deep"),
    Dirty("rtl.html", f"<!doctype html>{ARABIC}".encode, read="المضخة تتجمد في الشتاء"),
    Dirty(
        "emoji.html",
        "<!doctype html><p>👩‍👩‍👧 e\u0301\u0301\u0301 🇩🇪</p>".encode,
        read="👩‍👩‍👧 e\u0301\u0301\u0301 🇩🇪",
    ),
    Dirty("nuls.html", lambda: b"<!doctype html><p>The\0 pump\0</p>", rejected="not read|not text"),
    Dirty("empty.html", lambda: b"<!doctype html>", read=""),
    Dirty("says latin is utf8.html", lambda: f"<html><meta charset=utf-8><p>{GERMAN}".encode("cp1252"), read=GERMAN),
    Dirty("says utf8 is latin.html", f"<html><meta charset=iso-8859-1><p>{RUSSIAN}".encode, read=RUSSIAN),
    Dirty("says nonsense.html", lambda: f"<html><meta charset=zlib><p>{GERMAN}".encode("cp1252"), read=GERMAN),
    Dirty("says koi8.html", lambda: f"<html><meta charset=koi8-r><p>{RUSSIAN}".encode("koi8-r"), read=RUSSIAN),
    Dirty("utf16.html", lambda: f"<html><meta charset=utf-8><p>{RUSSIAN}".encode("utf-16"), read=RUSSIAN),
    # Text
    Dirty("utf16.txt", lambda: RUSSIAN.encode("utf-16"), read=RUSSIAN),
    Dirty("utf16 without a mark.txt", lambda: GERMAN.encode("utf-16-be"), read=GERMAN),
    Dirty("utf32.txt", lambda: GERMAN.encode("utf-32"), read=GERMAN),
    Dirty("latin.txt", lambda: GERMAN.encode("cp1252"), read=GERMAN),
    Dirty("cyrillic.txt", lambda: RUSSIAN.encode("cp1251"), read=RUSSIAN),
    Dirty("short latin.txt", lambda: "Café".encode("cp1252"), rejected="charset cannot be told"),
    Dirty("cut utf16.txt", lambda: RUSSIAN.encode("utf-16")[:-1], rejected="damaged text"),
    Dirty("long latin.txt", lambda: (GERMAN * 20_000).encode("cp1252"), read=GERMAN),
    Dirty("long lines.txt", lambda: ((GERMAN + "\n") * 20_000).encode("cp1252"), read=GERMAN),
)
