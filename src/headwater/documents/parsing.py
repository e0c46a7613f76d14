"""From bytes to text: tells the type and calls its parser. Runs in a process that has nothing to lose.

Whatever a parser raises becomes a Reject here: its messages may hold text of the document, so only its type is told.
"""

from __future__ import annotations

import encodings
import errno
import pkgutil
from importlib import import_module
from typing import Any

import msgspec

from headwater.documents import kinds, metadata
from headwater.documents.archive import Archive
from headwater.documents.charset import decode
from headwater.documents.plain import of_text
from headwater.documents.port import Extracted
from headwater.errors import Reject

_MODULES = {
    kinds.PDF: "pdf",
    kinds.HTML: "webpage",
    kinds.DOCX: "word",
    kinds.PPTX: "slides",
    kinds.XLSX: "sheets",
    kinds.ODT: "opendocument",
    kinds.ODP: "opendocument",
    kinds.ODS: "opendocument",
    kinds.EPUB: "epub",
}
_OFFICE = (kinds.DOCX, kinds.PPTX, kinds.XLSX)
#: Legacy charsets, and the names of what is not read.
_SNIFFERS = ("charset_normalizer", "puremagic")
EXTRA = "pip install 'headwater[documents]'"
_BINARY = "binary data"


class Parsers:
    """The parsers that are installed, loaded once: afterwards no file is opened, whatever is parsed."""

    def __init__(self) -> None:
        self._modules = {kind: _load(f"headwater.documents.{name}") for kind, name in _MODULES.items()}
        self._sniffers = {name: _load(name) for name in _SNIFFERS}
        for codec in pkgutil.iter_modules(encodings.__path__):
            _load(f"encodings.{codec.name}")

    def parse(self, name: str, data: bytes, text_bytes: int) -> Extracted:
        """Return what is in a document. Raise Reject, and nothing else, when it cannot be read."""
        kind = ""
        try:
            kind, archive = self._kind(name, data)
            found = self._extract(kind, archive, name, data, text_bytes)
            if kind:
                found = msgspec.structs.replace(found, text=metadata.body(found.text))
            if len(found.text.encode("utf-8", "replace")) > text_bytes:
                raise Reject(f"it holds over {text_bytes >> 20} MiB of text")
        except MemoryError:
            raise Reject("it needs more memory to be read than a document may take") from None
        except RecursionError:
            raise Reject(f"{_called(kind)} that is nested too deep") from None
        except Reject:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a parser raises is said of the document
            if isinstance(error, OSError) and error.errno == errno.EMFILE:
                raise Reject("it refers to something outside of itself, which is not opened") from None
            raise Reject(f"{_called(kind)} that is damaged or unusual ({type(error).__name__})") from None
        return found

    def _kind(self, name: str, data: bytes) -> tuple[str, Archive | None]:
        """Tell the type; empty for text. Raise Reject for what is not read."""
        if kinds.is_pdf(data):
            return kinds.PDF, None
        if kinds.is_zip(data):
            archive = Archive(data)
            return archive.kind(), archive
        known = kinds.refused(data)
        if known is not None:
            raise Reject(f"{known}, which is not read; {kinds.READABLE} are")
        head = data[: kinds.HEAD].replace(b"\0", b"").decode("latin-1").lstrip("\xff\xfe\xef\xbb\xbf")
        return (kinds.HTML if kinds.is_html(head, name) else ""), None

    def _extract(self, kind: str, archive: Archive | None, name: str, data: bytes, text_bytes: int) -> Extracted:
        if not kind:
            return self._text(name, data)
        module = self._modules[kind]
        if module is None:
            raise Reject(f"{_called(kind)}, which needs {EXTRA}")
        if archive is None:
            return module.parse(data, text_bytes) if kind == kinds.PDF else module.parse(data)  # type: ignore[no-any-return] # a module
        if kind in _OFFICE:
            archive.check_parts()
            more = (text_bytes,) if kind == kinds.XLSX else ()
            return module.parse(data, archive, *more)  # type: ignore[no-any-return] # a module
        return module.parse(archive) if kind == kinds.EPUB else module.parse(archive, kind)  # type: ignore[no-any-return] # a module

    def _text(self, name: str, data: bytes) -> Extracted:
        try:
            text = decode(data)
        except ImportError:
            raise Reject(f"text that is not UTF-8, which needs {EXTRA}") from None
        if text is None:
            raise Reject(f"{self._call(data)}, which is not read; {kinds.READABLE} are")
        return of_text(name, text)

    def _call(self, data: bytes) -> str:
        """Name what is no document."""
        puremagic = self._sniffers["puremagic"]
        if puremagic is None:
            return _BINARY
        try:
            found = puremagic.from_string(data, mime=True)
        except (puremagic.PureError, ValueError):
            return _BINARY
        return _BINARY if found.startswith("text/") else metadata.label(found) or _BINARY


def _load(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        return None


def _called(kind: str) -> str:
    return kinds.NAMES.get(kind, "a file")
