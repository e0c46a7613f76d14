"""What `headwater try` shows to people: colours on a terminal, plain text elsewhere."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from headwater.cli.output import say, styled
from headwater.observability.findings import counted

#: So much of the text is shown: the chunks, where there are any, show all of it.
_SHOWN_LINES, _SHOWN_CHARACTERS = 12, 2000
_BOLD, _DIM, _RED, _CYAN = "1", "2", "31", "36"


def show(trial: Mapping[str, Any]) -> None:
    """Print a trial, as `try --json` writes it."""
    about = [trial["id"], trial["type"], trial["format"], counted(trial["characters"], "character")]
    _head("document", ", ".join(it for it in about if it))
    _redacted(trial["redacted"])
    if trial["rejected"]:
        _head("rejected", trial["rejected"], _RED)
    if trial["text"]:
        _text(trial["text"])
    if trial["filtered"]:
        _head("filtered", "it does not pass `filter`: it is in no index", _RED)
    for number, chunk in enumerate(trial["chunks"], 1):
        _chunk(number, chunk)
    if trial["chunks"]:
        _head("payload", json.dumps(trial["payload"], ensure_ascii=False))
    for part, print_ in trial["fingerprints"].items():
        digest = print_["digest"][:16] if print_["digest"] else "(the service tells)"
        _head("fingerprint", f"{part} {digest}  {json.dumps(print_['covers'], ensure_ascii=False)}", _DIM)


def _redacted(places: list[Mapping[str, Any]]) -> None:
    kinds = Counter(place["kind"] for place in places)
    _head("redacted", ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "nothing")
    for place in places:
        length = place["end"] - place["start"]
        say(f"  line {place['line']}, column {place['column']}: {place['kind']}, {counted(length, 'character')}")


def _text(text: str) -> None:
    """Print how the text begins, line by line as it is."""
    begin = text[:_SHOWN_CHARACTERS].splitlines()[:_SHOWN_LINES]
    whole = begin == text.splitlines()
    _head("text", "all of it" if whole else "how it begins; --json writes all of it")
    for line in begin:
        say(f"  | {line}")


def _chunk(number: int, chunk: Mapping[str, Any]) -> None:
    size = counted(len(chunk["text"]), "character")
    tokens = "" if chunk["tokens"] is None else f", {counted(chunk['tokens'], 'token')}"
    _head(f"chunk {number}", f"{size}{tokens}, [{chunk['start']}, {chunk['end']})")
    if chunk["too_long"]:
        _head("  too long", "for the model: `embed.too_long` says what becomes of it", _RED)
    for word, mark, style in (("context", "^", _CYAN), ("overlap", "<", _DIM), ("text", " ", "")):
        for line in chunk[word].splitlines():
            if line.strip():
                say(head=styled(f"  {mark} {line}", style))


def _head(word: str, rest: str, style: str = _BOLD) -> None:
    say(f" {rest}", head=styled(f"{word}:", style))
