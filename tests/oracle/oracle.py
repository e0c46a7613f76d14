"""The oracle: judges an export by nothing but the changes that were published. It knows nothing of Headwater.

    python tests/oracle/oracle.py CHANGES.jsonl EXPORT.jsonl

CHANGES holds what `headwater publish` was given, in order; EXPORT what `headwater export STREAM --jsonl` printed. Every
document whose last usable change is no delete must be exported once; its chunks must lie in its last text in order,
cover every character of it that is not white, and carry the right digests. Nothing else may be there.
Exits with 1 and the first violations, with 0 when there are none.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

TOLD = 20


def latest(changes: Iterable[dict[str, Any]]) -> dict[str, str | None]:
    """Return each document's last text, None for a deleted one. What no index can take changes nothing."""
    texts: dict[str, str | None] = {}
    for change in changes:
        if not isinstance(change.get("id"), str) or not change["id"]:
            continue
        op = change.get("op", "upsert")
        if op == "delete":
            texts[change["id"]] = None
        elif op == "upsert" and (text := text_of(change)) is not None:
            texts[change["id"]] = text
    return texts


def text_of(change: dict[str, Any]) -> str | None:
    """Return the text that an upsert gives its document; None where it gives none, or two."""
    if "body" in change and "text" in change:
        return None
    body = change.get("body", change.get("text"))
    if isinstance(body, dict):
        body = body.get("text")
    return body if isinstance(body, str) else None


def violations(changes: Iterable[dict[str, Any]], exported: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Tell all that is wrong with an export. Lines of fences (`"deleted": true`) may be among it."""
    texts = latest(changes)
    seen: set[str] = set()
    for line in exported:
        document = line["id"]
        if line.get("deleted"):
            if texts.get(document) is not None:
                yield f"{document!r}: exported as deleted, and its last change is no delete"
            if line["chunks"]:
                yield f"{document!r}: a deleted document with chunks"
            continue
        if document in seen:
            yield f"{document!r}: exported twice"
        seen.add(document)
        text = texts.get(document)
        if text is None:
            yield f"{document!r}: exported, and it was {'deleted' if document in texts else 'never published'}"
        else:
            yield from (f"{document!r}: {wrong}" for wrong in wrong_chunks(text, line["chunks"]))
    for document, text in texts.items():
        if text is not None and document not in seen:
            yield f"{document!r}: missing"


def wrong_chunks(text: str, chunks: list[dict[str, Any]]) -> Iterator[str]:
    """Tell what is wrong with one document's chunks."""
    names = [chunk["id"] for chunk in chunks]
    if len(set(names)) != len(names):
        yield "two chunks have the same id"
    for chunk in chunks:
        if hashlib.sha256(chunk["text"].encode()).hexdigest() != chunk["digest"]:
            yield f"chunk {chunk['id']} has another digest than its text"
    start = 0
    covered = skip_white(text, 0)  # every character before it that is not white lies in a chunk
    for chunk in chunks:
        # It begins no later than the first character that nothing covers yet, else that one is lost: the last such
        # place, so that of several equal passages each chunk gets its own.
        found = text.rfind(chunk["text"], start, covered + len(chunk["text"]))
        if found < 0:
            where = "here in" if chunk["text"] in text else "at all in"
            yield f"chunk {chunk['id']} does not stand {where} the last text"
            return
        end = found + len(chunk["text"])
        if end <= covered and chunk["text"].strip():
            yield f"chunk {chunk['id']} repeats what the chunks before it hold"
        start, covered = found, skip_white(text, max(end, covered))
    if covered < len(text):
        yield f"no chunk holds the text from character {covered} on"


def skip_white(text: str, start: int) -> int:
    """Return the first place from `start` on that is not white."""
    while start < len(text) and text[start].isspace():
        start += 1
    return start


def read(path: str) -> Iterator[dict[str, Any]]:
    """Read JSON lines; what is no JSON object is nobody's change."""
    with Path(path).open(encoding="utf-8") as file:
        for line in file:
            try:
                value = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(value, dict):
                yield value


def main(arguments: list[str]) -> int:
    """Judge two files; print the first violations."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    found = list(islice(violations(read(arguments[0]), read(arguments[1])), TOLD))
    for violation in found:
        print(violation)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
