"""A corpus from a seed: batches of changes that create, edit, delete and re-create documents, and edits of a folder."""

from __future__ import annotations

import json
import random
from pathlib import Path

WORDS = ("amber", "basalt", "cedar", "delta", "ember", "fjord", "glacier", "harbour", "island", "juniper", "kelp")
DOCUMENTS = 40
FILES = 12
DELETES = 0.25
UNCHANGED = 0.1


class Corpus:
    """Draws what is published next. Half of the paragraphs of an edited document stay."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._paragraphs: dict[str, list[str]] = {}
        self._count = 0

    def batch(self) -> list[str]:
        """Return the lines of one to six changes, as `headwater publish` takes them."""
        return [json.dumps(self._change()) for _ in range(self._random.randint(1, 6))]

    def _change(self) -> dict[str, object]:
        name = f"p{self._random.randrange(DOCUMENTS)}.md"
        # A time of its own tells each change from all others, and is no part of the body.
        self._count += 1
        change = {"id": name, "time": f"2026-01-01T00:00:00.{self._count:06}Z"}
        if self._random.random() < DELETES:
            return {**change, "op": "delete"}
        return {**change, "body": {"text": self._text(name), "title": self._random.choice(WORDS)}}

    def _text(self, name: str) -> str:
        held = self._paragraphs.get(name, [])
        if not held or self._random.random() > UNCHANGED:
            kept = [paragraph for paragraph in held if self._random.random() < 0.5]
            added = [self._paragraph() for _ in range(self._random.randint(1, 3))]
            self._paragraphs[name] = (kept + added)[-5:]
        return "\n\n".join(self._paragraphs[name])

    def _paragraph(self) -> str:
        # Few words and short: paragraphs repeat across documents, so that vectors are reused.
        words = self._random.choices(WORDS, k=self._random.choice((3, 40, 90)))
        return " ".join(words).capitalize() + "."

    def edit(self, folder: Path) -> None:
        """Write or remove one file, as an editor does: whole or not at all."""
        path = folder / f"f{self._random.randrange(FILES)}.md"
        if self._random.random() < DELETES:
            path.unlink(missing_ok=True)
            return
        beside = path.with_suffix(".new")
        beside.write_text(f"# {self._random.choice(WORDS)}\n\n{self._text(path.name)}\n")
        beside.replace(path)
