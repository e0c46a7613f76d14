"""How long a newcomer waits: the README's first run over 500 documents, from an empty environment to the first hit."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from bench.report import Figure
from tools import newcomer


def measure() -> list[Figure]:
    """The wheel is built and installed. What it depends on is lent: neither its download nor its installing counts."""
    with TemporaryDirectory() as home:
        first = newcomer.follow(Path(home))
    assert first.code == 0, first.printed
    assert first.hits, first.printed
    name = f"the README, from an empty environment to the first of {newcomer.DOCUMENTS} documents"
    return [Figure(name, "s", first.seconds, target="<= 60")]
