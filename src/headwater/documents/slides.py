"""PPTX files: each slide is a section, with what its speaker notes say."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pptx

from headwater.documents import kinds, office
from headwater.documents.archive import Archive
from headwater.documents.markdown import table_lines
from headwater.documents.port import Extracted


def parse(data: bytes, archive: Archive) -> Extracted:
    """Read titles, texts, tables and notes, slide by slide."""
    show = pptx.Presentation(BytesIO(data))
    sections = [_slide(number, slide) for number, slide in enumerate(show.slides, 1)]
    text = "\n\n".join(sections) + ("\n" if sections else "")
    return Extracted(text, "markdown", kinds.PPTX, pages=len(sections), **office.properties(archive))


def _slide(number: int, slide: Any) -> str:
    title = slide.shapes.title
    heading = " ".join(title.text_frame.text.split()) if title is not None else ""
    blocks = [f"## {heading or f'Slide {number}'}"]
    named = title.shape_id if title is not None else None
    for shape in _flat(slide.shapes):
        if shape.has_text_frame and shape.shape_id != named:
            blocks += _paragraphs(shape.text_frame)
        elif getattr(shape, "has_table", False):
            rows = [[" ".join(cell.text.split()) for cell in row.cells] for row in shape.table.rows]
            blocks.append("\n".join(table_lines(rows)))
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        blocks += _paragraphs(slide.notes_slide.notes_text_frame)
    return "\n\n".join(block for block in blocks if block)


def _paragraphs(frame: Any) -> list[str]:
    texts = (" ".join(paragraph.text.split()) for paragraph in frame.paragraphs)
    return [text for text in texts if text]


def _flat(shapes: Any) -> Iterator[Any]:
    """Yield the shapes, those of groups among them, in their order."""
    stack = [iter(shapes)]
    while stack:
        shape = next(stack[-1], None)
        if shape is None:
            stack.pop()
        elif hasattr(shape, "shapes"):
            stack.append(iter(shape.shapes))
        else:
            yield shape
