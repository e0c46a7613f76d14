"""Each type of document, as it should be: its text, its structure, and what it says of itself."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from headwater.documents import kinds
from headwater.documents.port import Extracted
from tests.integration.documents import making
from tests.integration.documents.conftest import Ask

HTML = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Pumps &amp; frost</title>
<meta name="author" content="Ada"><meta property="article:published_time" content="2024-03-01T11:00:00+01:00"></head>
<body><nav><a href="/">Home</a></nav><main><h1 id="a">Pumps<a class="headerlink" href="#a">¶</a></h1>
<p>They <em>freeze</em> in <a href="x">winter</a>.<br>Often.</p><h2>Care</h2><ul><li>drain<ul><li>all</li></ul></li>
<li><p>cover</p><p>well</p></li></ul><ol><li>one</li><li>two</li></ol><blockquote><p>said</p></blockquote>
<pre><code class="language-sh">drain --all
  # now</code></pre><table><tr><th>part</th><th>count</th></tr><tr><td>valve | tap</td><td>7</td></tr></table>
<script>alert(1)</script><p hidden>nothing</p></main><footer>imprint</footer></body></html>"""
MARKDOWN = """# Pumps

They freeze in winter.
Often.

## Care

- drain
  - all
- cover

  well

1. one
2. two

> said

```sh
drain --all
  # now
```

| part | count |
| --- | --- |
| valve \\| tap | 7 |
"""


def test_html(ask: Ask) -> None:
    assert ask("pumps", HTML.encode()) == Extracted(
        MARKDOWN,
        "markdown",
        kinds.HTML,
        title="Pumps & frost",
        author="Ada",
        created="2024-03-01T10:00:00Z",
        language="en",
    )


def test_docx(ask: Ask) -> None:
    body = (
        making.paragraph("Care", "Heading1")
        + making.paragraph("Drain &amp; cover.")
        + "<w:tbl><w:tr><w:tc>"
        + making.paragraph("part")
        + "</w:tc><w:tc>"
        + making.paragraph("count")
        + "</w:tc></w:tr></w:tbl>"
    )
    assert ask("care", making.docx(body)) == Extracted(
        "# Care\n\nDrain & cover.\n\n| part | count |\n| --- | --- |\n",
        "markdown",
        kinds.DOCX,
        title="A pump",
        author="Ada",
        created="2024-03-01T10:00:00Z",
        modified="2024-03-02T10:00:00Z",
        language="de-DE",
    )


def test_pdf(ask: Ask) -> None:
    data = making.pdf(
        making.stream(making.content("Drain it.\nCover it.")), making.deflated(making.content("Page two."))
    )
    assert ask("manual", data) == Extracted(
        "Drain it.\nCover it.\n\nPage two.\n",
        "text",
        kinds.PDF,
        title="Pump manual",
        author="Ada",
        created="2024-03-01T10:00:00Z",
        pages=2,
    )


def test_pptx(ask: Ask) -> None:
    found = ask("frost", making.pptx([("Frost", ["Drain it.", "Cover it."], "say it slowly"), ("", ["End"], "")]))
    assert isinstance(found, Extracted)
    assert found.text == (
        "## Frost\n\nDrain it.\n\nCover it.\n\nsay it slowly\n\n## Slide 2\n\nEnd\n\n"
        "| part | count |\n| --- | --- |\n| valve | 7 |\n"
    )
    said = (found.type, found.format, found.title, found.author, found.pages)
    assert said == (
        kinds.PPTX,
        "markdown",
        "Frost",
        "Ada",
        2,
    )


def test_xlsx(ask: Ask) -> None:
    moment = datetime(2024, 3, 1, 10, 30)  # noqa: DTZ001 (a cell has no zone)
    rows: list[list[Any]] = [["part", "count", "on"], [], ["valve", 7, date(2024, 3, 1)], ["tap", 1.5, moment, True]]
    found = ask("stock", making.xlsx(rows))
    assert isinstance(found, Extracted)
    assert found.text == (
        "## Pumps\n\n| part | count | on |  |\n| --- | --- | --- | --- |\n| valve | 7 | 2024-03-01 |\n"
        "| tap | 1.5 | 2024-03-01T10:30:00 | TRUE |\n"
    )
    assert (found.type, found.format, found.title, found.author) == (kinds.XLSX, "markdown", "Stock", "Ada")


@pytest.mark.parametrize(
    ("kind", "office"), [(kinds.ODT, "text"), (kinds.ODP, "presentation"), (kinds.ODS, "spreadsheet")]
)
def test_opendocument(ask: Ask, kind: str, office: str) -> None:
    body = (
        '<text:h text:outline-level="2">Care</text:h><text:p>Drain<text:s/>it.<text:line-break/>Now.</text:p>'
        "<text:list><text:list-item><text:p>cover</text:p></text:list-item></text:list><table:table><table:table-row>"
        "<table:table-cell><text:p>part</text:p></table:table-cell></table:table-row></table:table>"
        "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"
    )
    assert ask("report", making.odt(body, kind.rpartition(".")[2], office)) == Extracted(
        "## Care\n\nDrain it.\nNow.\n\n- cover\n\n| part |\n| --- |\n",
        "markdown",
        kind,
        title="Report",
        author="Ada",
        modified="2024-05-01T00:00:00Z",
    )


def test_epub(ask: Ask) -> None:
    found = ask("book", making.epub(["<h1>One</h1><p>Rain.</p>", "<h1>Two</h1><p>Snow.</p>"]))
    assert found == Extracted(
        "# One\n\nRain.\n\n# Two\n\nSnow.\n", "markdown", kinds.EPUB, title="Book", author="Ada", language="en"
    )
