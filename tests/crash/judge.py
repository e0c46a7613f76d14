"""Judges what a campaign left behind: the product's own `verify`, and an oracle that knows only what was published."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

from headwater.model.receipt import DeadState
from headwater.wiring import open_site
from tests.crash.campaign import ROOT, Batch, Report
from tests.crash.places import STREAM, Places


def judge(places: Places, report: Report) -> None:
    """Let the last worker settle everything, and write all that is wrong into the report."""
    headwater(places, "run", "--once", "--timeout", "60s")
    report.violations += [*_judge(places, report)]


def headwater(places: Places, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "headwater", *arguments],
        cwd=places.folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in codes, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _judge(places: Places, report: Report) -> Iterator[str]:
    verified = json.loads(headwater(places, "verify", STREAM, "--json", codes=(0, 5)))
    wrong = {key: verified[key] for key in ("missing", "stale", "orphans", "duplicates", "resurrected", "unverifiable")}
    if not verified["ok"] or any(wrong.values()):
        yield f"verify: {verified}"
    for path in places.files:
        with closing(sqlite3.connect(path)) as connection:
            (found,) = connection.execute("PRAGMA integrity_check").fetchone()
            if found != "ok":
                yield f"{path.name}: {found}"
    present = _present(places, report.batches)
    lost = [number for number, batch in enumerate(report.batches) if batch.acknowledged and number not in present]
    if lost:
        yield f"acknowledged batches are not in the log: {lost}"
    report.doubtful_found = sum(not report.batches[number].acknowledged for number in present)
    yield from _oracle(places, [report.batches[number] for number in present])
    settled, found_wrong = asyncio.run(_receipts(places))
    report.settled = settled
    yield from found_wrong


def _present(places: Places, batches: list[Batch]) -> list[int]:
    """Tell which batches are in the log. The log is read as a file: each batch must be there whole, once, in order."""
    with closing(sqlite3.connect(places.log)) as connection:
        rows = connection.execute("SELECT partition, key, value FROM log_record ORDER BY partition, offset").fetchall()
    partition_of = {key.decode(): partition for partition, key, _ in rows}
    stored: dict[int, list[str]] = {}
    for partition, key, value in rows:
        if key.startswith(b"p"):
            stored.setdefault(partition, []).append(value.decode())
    every = {line for lines in stored.values() for line in lines}
    present = [number for number, batch in enumerate(batches) if every.intersection(batch.lines)]
    wanted: dict[int, list[str]] = {}
    for number in present:
        for line in batches[number].lines:
            wanted.setdefault(partition_of.get(json.loads(line)["id"], -1), []).append(line)
    assert wanted == stored, "the log holds a part of a batch, or twice, or in another order, or what nobody published"
    return present


def _oracle(places: Places, published: list[Batch]) -> Iterator[str]:
    """Ask the oracle, which imports nothing of Headwater. What the folder holds at the end is its truth."""
    changes = [json.loads(line) for batch in published for line in batch.lines]
    changes += [{"id": path.name, "text": path.read_text()} for path in places.docs.glob("*.md")]
    given, exported = places.folder / "changes.jsonl", places.folder / "export.jsonl"
    given.write_text("".join(json.dumps(change) + "\n" for change in changes))
    exported.write_text(headwater(places, "export", STREAM, "--jsonl", "--deleted"))
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/oracle/oracle.py"), str(given), str(exported)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        yield f"oracle: {done.stdout}{done.stderr}"


async def _receipts(places: Places) -> tuple[int, list[str]]:
    """Every offset has its receipt, all are committed, and nothing is dead."""
    site = open_site(places.config, {})
    wrong = []
    marks = await site.history(STREAM).watermarks()
    behind = {partition: mark for partition, mark in marks.items() if mark.committed != mark.high}
    if behind:
        wrong.append(f"not settled: {behind}")
    ledger = site.ledger(STREAM)
    if letters := await ledger.dead(frozenset(DeadState)):
        wrong.append(f"dead letters: {letters}")
    documents: set[str] = set()
    for partition, mark in marks.items():
        async for record in site.history(STREAM).read(partition, 0, mark.high):
            documents.add(record.key.decode())
    receipts = [receipt for document in documents for receipt in await ledger.receipts(document)]
    settled = {(it.place.partition, it.place.offset) for it in receipts}
    every = {(partition, offset) for partition, mark in marks.items() for offset in range(mark.high)}
    if settled != every:
        wrong.append(f"no receipt: {sorted(every - settled)[:20]}, nobody's receipt: {sorted(settled - every)[:20]}")
    await site.close()
    return len(settled), wrong
