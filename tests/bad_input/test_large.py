"""Documents and files that are larger than anybody meant: bounded memory, and the neighbours are not held up."""

from __future__ import annotations

import os
import time

from tests.bad_input.process import MARKER, WatchedCli, upsert

MAX_BYTES = 32 << 20
#: How much more than with next to nothing a process may hold while it works on a document of 32 MiB.
LARGE_MIB = 500
#: How much more publishing many lines may hold than publishing a few: SQLite caches up to 32 MiB of pages.
LINES_MIB = 64
LINES = int(os.environ.get("BAD_INPUT_LINES", "100000"))
BAD_LINE = 1_000


def _text(size_bytes: int) -> str:
    """Sentences, of exactly so many bytes."""
    sentence = f"The {MARKER} and the river meet where the delta is wide and the water is slow. "
    return (sentence * (size_bytes // len(sentence) + 1))[:size_bytes]


def test_a_document_of_32_mib_is_indexed_and_one_byte_more_is_a_dead_letter(notes: WatchedCli) -> None:
    notes.publish(upsert("small", "small"))
    publishing = notes.measured("publish", "notes", "changes.jsonl").peak_mib
    running = notes.measured("run", "--once").peak_mib
    notes.publish(
        upsert("before", "before"),
        {"id": "largest", "kind": "k", "text": _text(MAX_BYTES)},
        {"id": "too large", "kind": "k", "text": _text(MAX_BYTES + 1)},
        upsert("after", "after"),
    )
    published = notes.measured("publish", "notes", "changes.jsonl")
    began = time.monotonic()
    ran = notes.measured("run", "--once")
    print(
        f"32 MiB: publish held {published.peak_mib} MiB ({publishing} for a small one), run held {ran.peak_mib} MiB "
        f"({running} for a small one) and took {time.monotonic() - began:.1f} s"
    )
    assert published.peak_mib - publishing < LARGE_MIB
    assert ran.peak_mib - running < LARGE_MIB
    assert notes.dead().keys() == {"too large"}
    assert f"at most {MAX_BYTES} are allowed" in notes.dead()["too large"]
    documents = notes.documents()
    assert documents.keys() == {"small", "before", "after", "largest"}
    assert sum(len(chunk["text"]) for chunk in documents["largest"]["chunks"]) > MAX_BYTES * 0.95


def test_a_line_over_64_mib_is_refused_and_never_held(notes: WatchedCli) -> None:
    notes.publish(upsert("small", "small"))
    least = notes.measured("publish", "notes", "changes.jsonl").peak_mib
    with (notes.folder / "changes.jsonl").open("wb") as file:
        file.write(b'{"id": "before", "kind": "k", "text": "x"}\n{"id": "endless", "text": "')
        for _ in range(200):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"id": "after", "kind": "k", "text": "x"}\n')
    published = notes.measured("publish", "notes", "changes.jsonl", code=1)
    print(f"a line of 200 MiB: publish held {published.peak_mib} MiB ({least} for a small one)")
    assert published.stdout == '{"appended":2,"rejected":1}\n'
    assert published.stderr == "line 2: longer than 64 MiB\n"
    assert published.peak_mib - least < 3 * 64


def test_one_bad_line_among_very_many(notes: WatchedCli) -> None:
    """A million lines with BAD_INPUT_LINES=1000000."""
    path = notes.folder / "many.jsonl"

    def write(count: int) -> None:
        with path.open("w") as file:
            for number in range(1, count + 1):
                if number == BAD_LINE:
                    file.write(f'{{"id": "bad", "text": "{MARKER}\n')
                else:
                    file.write(f'{{"id": "n{number % 5_000}", "kind": "k", "text": "{number} {MARKER}"}}\n')

    write(2 * BAD_LINE)
    few = notes.measured("publish", "notes", path.name, code=1)
    write(LINES)
    many = notes.measured("publish", "notes", path.name, code=1)
    print(f"{LINES} lines: publish held {many.peak_mib} MiB, {few.peak_mib} for {2 * BAD_LINE}")
    assert many.stdout == f'{{"appended":{LINES - 1},"rejected":1}}\n'
    assert many.stderr.startswith(f"line {BAD_LINE}: not JSON")
    assert len(many.stderr.splitlines()) == 1
    assert many.peak_mib - few.peak_mib < LINES_MIB
    assert notes.json("status", "--json")["streams"]["notes"]["lag"]["records"] == LINES + 2 * BAD_LINE - 2
