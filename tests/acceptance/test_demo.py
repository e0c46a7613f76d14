"""`headwater demo`: it keeps its promises, and leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.corpus import ROOT, Corpus

pytestmark = pytest.mark.corpus

REAPING_STEPS = 100


@contextmanager
def demo(corpus: Corpus, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start it as a process group of its own, with temporary files in `folder`."""
    archives = corpus.releases[0].folder.parent.parent / "archives"
    command = [sys.executable, "-m", "headwater", "demo", "--archives", str(archives), *arguments]
    with subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
    assert not list(folder.iterdir()), "a folder was left"
    # A killed child stays in its group until whoever inherited it has reaped it.
    for _ in range(REAPING_STEPS):
        if not group_exists(process.pid):
            break
        time.sleep(0.1)
    assert not group_exists(process.pid), "a process of its own was left"


def group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def sigint(handler: Callable[..., object] | int) -> Iterator[None]:
    """Have what is started meanwhile ignore SIGINT or not, whatever this process was started with."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_it_measures_and_breaks_no_promise(corpus: Corpus, tmp_path: Path) -> None:
    with demo(corpus, tmp_path, "--json") as process:
        output, messages = process.communicate()
    assert process.returncode == 0, messages
    figures = json.loads(output)
    print({name: figures[name] for name in ("acts", "crash", "freshness", "outcomes", "verify", "seconds")})
    assert figures["broken"] == []
    assert figures["receipts"] == figures["appended"]
    load, edit, *_ = figures["acts"]
    assert load["added"] == len(corpus.releases[0].changes)
    assert edit["added"] + edit["edited"] == len(corpus.releases[1].changes)
    assert edit["embedded"] < edit["chunks"] / 2
    for page in ("README.md", "docs/explanation/compared.md"):
        said = re.search(r"^\| \**Headwater\** .* ([\d,]+) of ([\d,]+)", (ROOT / page).read_text(), re.MULTILINE)
        assert said, f"{page} does not say how many texts are embedded"
        embedded, chunks = (int(it.replace(",", "")) for it in said.groups())
        assert chunks == edit["chunks"], page
        assert embedded == pytest.approx(edit["embedded"], rel=0.01), page  # equal texts in two files may meet or not
    assert figures["crash"]["waiting"] > 0, "the kill came too late to show anything"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_the_middle_it_leaves_nothing(corpus: Corpus, tmp_path: Path, number: signal.Signals) -> None:
    # What a shell starts in the background ignores SIGINT, and so does all that this starts: SIGTERM ends it still.
    handler = signal.SIG_IGN if number == signal.SIGTERM else signal.default_int_handler
    with sigint(handler), demo(corpus, tmp_path) as process:
        assert process.stderr is not None
        while "files added" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        output, messages = process.communicate()
    assert process.returncode == 130, messages
    assert output == ""
    assert "stopped" in messages
    assert "Traceback" not in messages
