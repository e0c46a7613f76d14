"""Office files are archives. What an archive declares is checked before any parser opens it."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from io import BytesIO

from headwater.documents import kinds
from headwater.errors import Reject

MAX_ENTRIES = 10_000
MAX_UNPACKED = 512 << 20
#: The name, the extra field and the header come before an entry's data.
_HEADER = 30
_ENCRYPTED = 1
#: Everything before the root element of an XML part fits into this.
_PROLOG = 1 << 16
#: What zipfile raises on archives that are not what they say, or packed in a way it does not know.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    struct.error,
    KeyError,
)
_XML = (".xml", ".rels", ".vml")


class Archive:
    """A checked archive. Entries are read by name from memory, and never written anywhere."""

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(BytesIO(data))
        except _DAMAGED as error:
            raise Reject("a damaged archive") from error
        self.names = self._zip.namelist()
        self._check(len(data))

    def read(self, name: str) -> bytes:
        """Return an entry; nothing if there is none."""
        if name not in self._zip.NameToInfo:
            return b""
        try:
            return self._zip.read(name)
        except _DAMAGED as error:
            raise Reject("a damaged archive") from error

    def kind(self) -> str:
        """Tell which type of document this is. Raise Reject for an archive of anything else."""
        found = kinds.in_archive(self._head("mimetype", 200), self.read("[Content_Types].xml"))
        if found is None:
            raise Reject(f"a zip archive, which is not read; {kinds.READABLE} are")
        return found

    def check_parts(self) -> None:
        """Raise Reject when a part declares a document type: no program writes one, and entities hide behind them."""
        for name in self.names:
            if name.lower().endswith(_XML) and b"<!DOCTYPE" in self._head(name, _PROLOG).replace(b"\0", b""):
                raise Reject("a part of it declares XML entities, which are not read")

    def _head(self, name: str, size: int) -> bytes:
        if name not in self._zip.NameToInfo:
            return b""
        try:
            with self._zip.open(name) as stream:
                return stream.read(size)
        except _DAMAGED as error:
            raise Reject("a damaged archive") from error

    def _check(self, size: int) -> None:
        entries = self._zip.infolist()
        if len(entries) > MAX_ENTRIES:
            raise Reject(f"an archive of {len(entries):,} entries, at most {MAX_ENTRIES:,} are read")
        if any(entry.flag_bits & _ENCRYPTED for entry in entries):
            raise Reject("an archive that is protected with a password")
        # zipfile reads no more of an entry than it declares, so what is declared can be believed.
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > MAX_UNPACKED:
            raise Reject(f"an archive that unpacks to over {MAX_UNPACKED >> 20} MiB")
        end = 0
        for entry in sorted(entries, key=lambda entry: entry.header_offset):
            if entry.header_offset < end:
                raise Reject("an archive whose entries overlap")
            end = entry.header_offset + _HEADER + entry.compress_size
        if end > size:
            raise Reject("a damaged archive")
