"""Precision and recall of redaction on the labelled set, by kind: `python -m tests.unit.recipe.redaction_score` writes
the table into the docs.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from headwater.recipe.options import REDACTABLE
from headwater.recipe.redact.redactor import Redactor

from .redaction_set import NEGATIVES, POSITIVES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "shape-chunks.md"
_TABLE = re.compile(r"(?<=<!-- redaction: generated -->\n).*?(?=<!-- /redaction -->)", re.DOTALL)


def table() -> str:
    """Return the table in Markdown."""
    planted, caught, found, true = (Counter[str]() for _ in range(4))
    redactor = Redactor(REDACTABLE)
    for it in [*POSITIVES, *NEGATIVES]:
        findings = redactor.find(it.text)
        for start, end in it.spans:
            planted[it.kind] += 1
            caught[it.kind] += any(f.kind == it.kind and f.start <= start and end <= f.end for f in findings)
        for f in findings:
            found[f.kind] += 1
            true[f.kind] += f.kind == it.kind and any(f.start < end and start < f.end for start, end in it.spans)
    hard = Counter(it.kind for it in NEGATIVES)
    head = "| kind | planted | recall | found | precision | texts without any that look like it |\n"
    rows = [
        f"| `{kind}` | {planted[kind]} | {caught[kind] / planted[kind]:.2f} | {found[kind]} "
        f"| {true[kind] / found[kind]:.2f} | {hard[kind]} |\n"
        for kind in REDACTABLE
    ]
    return head + "| --- | --- | --- | --- | --- | --- |\n" + "".join(rows)


def page(text: str) -> str:
    """Return the page with the table of now."""
    return _TABLE.sub(lambda _: table(), text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
    print(table())
