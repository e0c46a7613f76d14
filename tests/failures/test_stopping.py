"""A worker that is told to end under load: what was in flight is settled or done again, and the exit code says how."""

from __future__ import annotations

import json
import signal

import pytest

from tests.integration.cli.process import Cli, wait_for

CONFIG = "streams: {notes: {recipe: {embed: {model: hash}}}}\n"
DOCUMENTS = 8_000


@pytest.mark.parametrize(
    ("once", "number", "code"),
    [
        (False, signal.SIGTERM, 0),
        (False, signal.SIGINT, 130),
        (True, signal.SIGTERM, 143),
    ],
)
def test_stopped_under_load(cli: Cli, once: bool, number: signal.Signals, code: int) -> None:
    cli.write("headwater.yaml", CONFIG)
    changes = [{"id": f"n{i % (DOCUMENTS // 2)}", "text": f"{i} " + "word " * 50} for i in range(DOCUMENTS)]
    cli("publish", "notes", stdin="".join(json.dumps(change) + "\n" for change in changes))
    worker = cli.start("run", "--verbose", *(["--once"] if once else []))
    wait_for(worker, "changes.settled")
    worker.send_signal(number)
    assert worker.wait(60) == code
    assert worker.stderr is not None
    said = worker.stderr.read()
    assert "stopping" in said
    assert "Traceback" not in said

    left = cli.json("status", "--json")["streams"]["notes"]
    assert 0 < left["lag"]["records"] < DOCUMENTS, "it was not under load, or nothing was done"
    assert cli.json("verify", "notes", "--json")["ok"], "what was settled is there, whole"
    cli("run", "--once")
    done = cli.json("status", "--json")["streams"]["notes"]
    assert done["lag"]["records"] == 0
    assert done["dead_letters"]["open"] == 0
    assert sum(done["outcomes"].values()) >= DOCUMENTS
    assert cli.json("verify", "notes", "--json")["documents"] == DOCUMENTS // 2
