"""Made-up documents for the recipe's tests: seeded prose in sections, and the checks that hold for every text."""

from __future__ import annotations

import random
from typing import Any

from headwater.model.change import Change, Op, digest
from headwater.model.document import Piece
from headwater.model.version import Place, Version
from headwater.recipe.options import Chunking
from headwater.recipe.standard import StandardRecipe

FIRSTS = ("ba", "ke", "lo", "mi", "su", "ta", "re", "no", "vi", "du")
LASTS = ("n", "r", "st", "m", "la", "to", "ne", "sk", "ri", "x")
WORDS = [first + last for first in FIRSTS for last in LASTS]


def upsert(body: dict[str, Any] | None, id_: str = "a.txt") -> Change:
    return Change(
        id=id_,
        op=Op.UPSERT,
        version=Version(1, 0, 0, 0),
        place=Place(0, 0),
        body=body,
        digest=digest("what is not JSON has no digest either"),
        time_us=0,
        appended_us=0,
        size_bytes=0,
    )


def recipe(chunking: Chunking | None = None) -> StandardRecipe:
    return StandardRecipe(1, chunking or Chunking(), {}, None, "model")


def derive(text: str, id_: str = "a.txt", chunking: Chunking | None = None) -> tuple[Piece, ...]:
    """Derive a text and check all that must hold for any."""
    chunking = chunking or Chunking()
    pieces = recipe(chunking).derive(upsert({"text": text}, id_)).pieces
    at = 0
    for piece in pieces:
        assert piece.text[piece.skip :] == text[piece.start : piece.end]
        assert at <= piece.start < piece.end
        assert not text[at : piece.start].strip(), "what is not white space is covered"
        assert piece.end - piece.start <= chunking.most
        assert text[piece.start : piece.end].strip()
        at = piece.end
    assert not text[at:].strip()
    return pieces


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(4, 18))).capitalize() + "."


def paragraph(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.1:
        return "\n".join(f"* {sentence(rng)}" for _ in range(rng.randint(2, 12)))
    if kind < 0.2:
        return "    " + "\n    ".join(sentence(rng) for _ in range(rng.randint(1, 4)))
    return " ".join(sentence(rng) for _ in range(rng.randint(1, 18 if kind > 0.95 else 6)))


def document(seed: int, length: int, *, markdown: bool) -> str:
    """Sections of three levels, with paragraphs, lists and indented code."""
    rng = random.Random(seed)
    blocks = [heading(rng, 1, markdown=markdown)]
    total = 0
    while total < length:
        blocks.append(heading(rng, rng.choice([2, 2, 3]), markdown=markdown))
        blocks += [paragraph(rng) for _ in range(rng.randint(0, 9))]
        total += sum(map(len, blocks[-10:]))
    return "\n\n".join(blocks) + "\n"


def heading(rng: random.Random, level: int, *, markdown: bool) -> str:
    title = " ".join(rng.choices(WORDS, k=rng.randint(1, 5))).capitalize()
    return "#" * level + " " + title if markdown else f"{title}\n{'=-~'[level - 1] * len(title)}"
