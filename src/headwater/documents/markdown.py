"""PURE: a tree of marked-up text becomes Markdown: headings, lists, tables, quotes, code; of links and images the text.

Nothing is taken for boilerplate by guessing. Walks with a stack of its own, because trees may be deeper than calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

#: Deeper lists and quotes are written like these, or indents would outgrow the text.
DEEPEST = 8
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_BLOCKS = re.compile(
    "address|article|aside|blockquote|body|caption|center|dd|details|div|dl|dt|fieldset|figcaption|figure|footer|form"
    "|header|hgroup|hr|html|legend|main|optgroup|option|p|section|summary|tbody|tfoot|thead|h[1-6]"
).fullmatch
_DROPPED = re.compile(
    "applet|audio|base|button|canvas|datalist|embed|head|iframe|input|link|map|math|meta|nav|noframes|noscript|object"
    "|param|script|select|style|svg|template|textarea|title|video"
).fullmatch
_SPACE = re.compile(r"[ \t\n\r\f\v]+")
_LANGUAGE = re.compile(r"\blang(?:uage)?-([\w+#.-]{1,30})")
_TICKS = re.compile(r"`{3,}")
_BREAK = "\x00"


def to_markdown(root: Any, tag_of: Callable[[Any], str | None] | None = None) -> str:
    """Return a tree of lxml as Markdown. `tag_of` names an element in HTML's words; None drops it with all below."""
    writer = _Writer()
    name = tag_of or html_tag
    for begins, element, tag in _walk(root, name):
        if begins:
            writer.begin(tag, element)
            writer.text(element.text)
        else:
            writer.end(tag)
    return writer.finish()


def html_tag(element: Any) -> str | None:
    """Name an element of HTML; None for what shows no text of the document: code, forms, navigation, what is hidden."""
    tag = element.tag
    if not isinstance(tag, str):
        return None
    tag = tag.rpartition("}")[2].lower()
    if _DROPPED(tag) or element.get("hidden") is not None or "headerlink" in (element.get("class") or ""):
        return None
    return tag


def _walk(root: Any, name: Callable[[Any], str | None]) -> Iterator[tuple[bool, Any, str]]:
    """Yield each element when it begins and when it ends. Tails are yielded as the beginning of the tag ''."""
    tag = name(root)
    if tag is None:
        return
    yield True, root, tag
    stack = [(root, tag, iter(root))]
    while stack:
        element, tag, children = stack[-1]
        child = next(children, None)
        if child is None:
            stack.pop()
            yield False, element, tag
            if stack and element.tail:
                yield True, _Tail(element.tail), ""
            continue
        below = name(child)
        if below is not None:
            yield True, child, below
            stack.append((child, below, iter(child)))
        elif child.tail:
            yield True, _Tail(child.tail), ""


class _Tail:
    """The text behind an element, as `_walk` yields it."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Table:
    def __init__(self, around: list[str]) -> None:
        self.around = around
        self.caption: list[str] = []
        self.rows: list[list[str]] = []


class _Writer:
    """Holds what is open: the line of text, lists, quotes, tables; and the blocks that are done."""

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._line: list[str] = []
        self._lists: list[int | None] = []
        self._marker = ""
        self._quotes = 0
        self._tables: list[_Table] = []
        self._pre = 0
        self._language = ""
        self._heading = 0
        self._tight = False

    def begin(self, tag: str, element: Any) -> None:
        if tag in _HEADINGS and not self._tables:
            self._flush()
            self._heading = _HEADINGS[tag]
        elif tag in ("ul", "ol", "menu"):
            self._flush()
            self._lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            self._flush()
            self._item()
        elif tag in ("table", "tr", "td", "th"):
            self._begin_table(tag)
        elif tag == "pre":
            self._flush()
            self._pre += 1
            self._learn_language(element)
        elif tag == "br":
            self._line.append("\n" if self._pre else _BREAK)
        elif tag == "img":
            self._line.append(" " + (element.get("alt") or "") + " ")
        elif tag == "code" and self._pre:
            self._learn_language(element)
        elif tag in ("code", "kbd", "samp", "tt"):
            self._line.append("`")
        elif _BLOCKS(tag):
            self._flush()
            self._quotes += tag == "blockquote"

    def end(self, tag: str) -> None:
        if tag in ("ul", "ol", "menu"):
            self._flush()
            self._lists.pop()
        elif tag == "li":
            self._flush()
            self._marker = ""
        elif tag in ("table", "tr", "td", "th"):
            self._end_table(tag)
        elif tag == "pre":
            self._code()
            self._pre -= 1
        elif tag in ("code", "kbd", "samp", "tt") and not self._pre:
            self._line.append("`")
        elif _BLOCKS(tag):
            self._flush()
            self._quotes -= tag == "blockquote"
            self._heading = 0

    def text(self, text: str | None) -> None:
        if text:
            self._line.append(text if self._pre else _SPACE.sub(" ", text.replace(_BREAK, "")))

    def finish(self) -> str:
        self._flush()
        return "\n".join(self._blocks).strip("\n") + ("\n" if self._blocks else "")

    def _item(self) -> None:
        if self._lists and self._lists[-1] is not None:
            self._lists[-1] += 1
            self._marker = f"{self._lists[-1]}. "
        else:
            self._marker = "- "

    def _begin_table(self, tag: str) -> None:
        if tag == "table":
            self._flush()
            self._tables.append(_Table(self._line))
            self._line = []
        elif self._tables:
            self._spill()
            if tag == "tr":
                self._tables[-1].rows.append([])

    def _end_table(self, tag: str) -> None:
        if not self._tables:
            self._flush()
        elif tag in ("td", "th"):
            rows = self._tables[-1].rows
            if not rows:
                rows.append([])
            rows[-1].append(self._cell())
        else:
            self._spill()
            if tag == "table":
                self._close(self._tables.pop())

    def _cell(self) -> str:
        text, self._line = " ".join("".join(self._line).replace(_BREAK, " ").split()), []
        return text

    def _spill(self) -> None:
        """Keep the text that stands between cells: before the first row it is the caption, later a cell of its own."""
        table, text = self._tables[-1], self._cell()
        if text and table.rows:
            table.rows[-1].append(text)
        elif text:
            table.caption.append(text)

    def _close(self, table: _Table) -> None:
        self._line = table.around
        rows = [row for row in table.rows if any(row)]
        if self._tables:
            # A table within a cell is text of that cell.
            self._line += [f" {' '.join(words)} " for words in (table.caption, *rows)]
            return
        self._line += [" ".join(table.caption)]
        self._flush()
        self._put(table_lines(rows))

    def _learn_language(self, element: Any) -> None:
        found = _LANGUAGE.search(element.get("class") or "")
        if found:
            self._language = found[1]

    def _code(self) -> None:
        code = "".join(self._line).strip("\n")
        self._line = []
        language, self._language = self._language, ""
        if self._tables:
            self._line = [" ", code, " "]
        elif code.strip():
            fence = max((len(run) for run in _TICKS.findall(code)), default=2) + 1
            self._put(["`" * fence + language, *code.split("\n"), "`" * fence])

    def _flush(self) -> None:
        """End the paragraph, if there is one."""
        if self._tables:
            self._line.append(" ")
            return
        if self._pre:
            return
        text, self._line = "".join(self._line), []
        lines = [" ".join(line.split()) for line in text.split(_BREAK)]
        lines = [line for line in lines if line]
        if not lines:
            return
        if self._heading:
            self._put(["#" * self._heading + " " + " ".join(lines)])
        else:
            self._put(["\\" + line if line.startswith(("#", "```", "~~~")) else line for line in lines])

    def _put(self, lines: list[str]) -> None:
        """Add a block, under the quotes and lists that are open."""
        if not lines:
            return
        quote = "> " * min(self._quotes, DEEPEST)
        depth = min(len(self._lists), DEEPEST)
        marker, self._marker = self._marker, ""
        first = "  " * (depth - 1) + marker if marker else "  " * depth
        rest = "  " * depth
        if not (marker and self._tight) and self._blocks:
            self._blocks.append("")
        self._tight = bool(marker)
        self._blocks += [quote + (rest if number else first) + line for number, line in enumerate(lines)]


def table_lines(rows: list[list[str]]) -> list[str]:
    """Return rows as a table, the first as its head. Columns without any text are left out.

    Only the head is as long as the longest row, as Markdown demands: one far cell does not fill the others' rows.
    """
    columns = sorted({number for row in rows for number, cell in enumerate(row) if cell})
    cells = [[row[it].replace("|", "\\|") for it in columns if it < len(row)] for row in rows]
    if not cells:
        return []
    cells[0] += [""] * (len(columns) - len(cells[0]))
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return [lines[0], "|" + " --- |" * len(columns), *lines[1:]]
