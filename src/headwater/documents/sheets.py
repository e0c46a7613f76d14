"""XLSX files: each sheet is a section with a table of what its cells show."""

from __future__ import annotations

from contextlib import closing
from datetime import date, datetime, time
from io import BytesIO
from typing import Any

import openpyxl

from headwater.documents import kinds, office
from headwater.documents.archive import Archive
from headwater.documents.markdown import table_lines
from headwater.documents.port import Extracted
from headwater.errors import Reject


def parse(data: bytes, archive: Archive, most_bytes: int) -> Extracted:
    """Read the values, of formulas the last result. Empty rows, and empty cells at a row's end, are left out."""
    sections = []
    size = 0
    with closing(openpyxl.load_workbook(BytesIO(data), read_only=True, data_only=True, keep_links=False)) as book:
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # what a file declares may be far more than what is in it
            rows = []
            for row in sheet.iter_rows(values_only=True):
                cells = _cells(row)
                if not cells:
                    continue
                rows.append(cells)
                size += sum(map(len, cells)) + 3 * len(cells)
                if size > most_bytes:
                    raise Reject(f"it holds over {most_bytes >> 20} MiB of text")
            if rows:
                sections.append("\n".join([f"## {' '.join(sheet.title.split())}", "", *table_lines(rows)]))
    text = "\n\n".join(sections) + ("\n" if sections else "")
    return Extracted(text, "markdown", kinds.XLSX, **office.properties(archive))


def _cells(row: tuple[Any, ...]) -> list[str]:
    cells = [_shown(value) for value in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return " ".join(str(value).split())
