"""How questions are asked and answered, over real documents and processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from headwater.documents.port import Extracted
from headwater.documents.reader import SandboxedReader
from headwater.errors import Reject
from tests.integration.documents import making
from tests.integration.documents.conftest import Ask, answered
from tests.integration.documents.dirty import DIRTY
from tests.integration.documents.test_sandbox import until

PAGE = b"<!doctype html><p>%s</p>"


def text(answer_outcome: object) -> str:
    assert isinstance(answer_outcome, Extracted), answer_outcome
    return answer_outcome.text


def test_every_question_is_answered_once(reader: SandboxedReader) -> None:
    for number in range(40):
        reader.ask(f"{number}.html", number, partial(bytes, PAGE % b"%d" % number))
    found = answered(reader, 40)
    assert sorted((answer.name, answer.ticket, text(answer.outcome)) for answer in found) == sorted(
        (f"{number}.html", number, f"{number}\n") for number in range(40)
    )
    assert reader.outstanding() == 0
    assert reader.answers(0) == []


def test_a_newer_question_takes_the_place_of_one_that_has_not_begun(reader: SandboxedReader) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> bytes:
        begun.set()
        go_on.wait()
        return PAGE % b"first"

    reader.ask("page", 1, slowly)
    begun.wait()
    reader.ask("page", 2, lambda: PAGE % b"second")
    reader.ask("page", 3, lambda: PAGE % b"third")
    reader.ask("other", 4, lambda: PAGE % b"other")
    (other,) = answered(reader, 1)
    assert other.ticket == 4, "the second question about the page waits for the first, and delays nobody"
    assert reader.outstanding() == 2
    go_on.set()
    assert [(answer.ticket, text(answer.outcome)) for answer in answered(reader, 2)] == [(1, "first\n"), (3, "third\n")]


def test_what_cannot_be_loaded_is_said(reader: SandboxedReader) -> None:
    def refuse() -> bytes:
        raise Reject("cannot be read: Permission denied")

    reader.ask("gone", None, lambda: None)
    reader.ask("closed", None, refuse)
    found = {answer.name: answer.outcome for answer in answered(reader, 2)}
    assert found["gone"] is None
    assert str(found["closed"]) == "cannot be read: Permission denied"


def test_a_defect_reaches_whoever_waits() -> None:
    def broken() -> bytes:
        raise AssertionError("a defect")

    reader = SandboxedReader()
    reader.ask("page", None, broken)
    with pytest.raises(AssertionError, match="a defect"):
        reader.answers(60)
    reader.close()


def test_answers_that_nobody_fetches_stop_the_reading() -> None:
    reader = SandboxedReader()
    loaded = []

    def load(number: int) -> bytes:
        loaded.append(number)
        return PAGE % b"x"

    for number in range(50):
        reader.ask(str(number), None, partial(load, number))
    until(lambda: len(loaded) >= 5)
    assert len(loaded) <= 6
    assert len(answered(reader, 50)) == 50
    reader.close()


def test_at_least_two_workers() -> None:
    with pytest.raises(ValueError, match="the last one"):
        SandboxedReader(workers=1)


def test_nothing_outside_of_a_document_is_fetched(ask: Ask, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        image, relation = making.linked_image(f"{address}/image.png")
        word = ask("linked.docx", making.docx(making.paragraph("Text.") + image, relations=relation))
        assert text(word) == "Text.\n\na pump in snow\n"
        page = f'<!doctype html><base href="{address}/"><link rel=stylesheet href="/s.css"><p>Text.'
        page += '<img src="/i.png" alt="pump"><iframe src="/f"></iframe><object data="/o"></object>'
        assert text(ask("linked.html", page.encode())) == "Text. pump\n"
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the most memory that a process had")
def test_memory_stays_bounded_and_nothing_is_left(tmp_path: Path) -> None:
    folder, work = tmp_path / "documents", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    for dirty in DIRTY:
        (folder / dirty.name).write_bytes(dirty.data())
    program = (
        "import re, sys\nfrom pathlib import Path\n"
        "from headwater.documents.limits import Limits\nfrom headwater.documents.reader import SandboxedReader\n"
        "reader = SandboxedReader(Limits(cpu_s=2))\npaths = sorted(Path(sys.argv[1]).iterdir())\n"
        "for path in paths: reader.ask(path.name, None, path.read_bytes)\n"
        "count = 0\n"
        "while reader.outstanding(): count += len(reader.answers(60))\n"
        "reader.close()\nprint(count, re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(work)}
    done = subprocess.run(
        [sys.executable, "-c", program, folder], cwd=work, env=environment, capture_output=True, check=True, timeout=300
    )
    count, resident_kib = map(int, done.stdout.split())
    assert count == len(DIRTY)
    # The largest document, twice as a frame, and its text.
    assert resident_kib < 300 << 10
    assert list(work.iterdir()) == []
    assert sorted(path.name for path in folder.iterdir()) == sorted(dirty.name for dirty in DIRTY)
