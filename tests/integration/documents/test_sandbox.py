"""Whatever a parser does, it is one rejected document: the next one is read, and nothing is left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from headwater.documents import confine
from headwater.documents import reader as module
from headwater.documents.limits import Limits
from headwater.documents.port import Answer, Extracted
from headwater.documents.reader import SandboxedReader
from headwater.errors import Reject, Retry
from tests.integration.documents.conftest import answered
from tests.integration.documents.unruly import PROGRAM

LIMITS = Limits(memory_bytes=512 << 20, cpu_s=2, wall_s=60.0, text_bytes=1 << 20)
GOOD = Extracted("good", "text", "text/plain")
MEMORY = "needs more memory"
DEEDS = {
    "loop": "more than 2 s of processor time",
    "sleep": "longer than 4 s",
    "stop": "longer than 4 s",
    "memory": MEMORY,
    "native memory": "crashed on it .SIGSEGV.",
    "segfault": "crashed on it .SIGSEGV.",
    "abort": "crashed on it .SIGABRT.",
    "exit": "crashed on it .status 7.",
    "exit well": "wrote no answer",
    "lie": "wrote no answer",
    "flood": "over 1 MiB of text",
    "pipe": "over 1 MiB of text",
    "recursion": "nested too deep",
    "connect": "something outside of itself",
    "write": "something outside of itself",
    "read": "something outside of itself",
    # Not everywhere does the kernel refuse it.
    "kill the worker": r"killed, twice|\(PermissionError\)",
    "secret": r"damaged or unusual \(ZeroDivisionError\)",
}


OURS = [PROGRAM[-1], str(os.getpid())]
#: For deeds that use no processor.
SLEEPY = Limits(cpu_s=2, wall_s=4.0, text_bytes=1 << 20)


@pytest.fixture
def unruly(request: pytest.FixtureRequest) -> Iterator[SandboxedReader]:
    made = SandboxedReader(getattr(request, "param", LIMITS), program=PROGRAM)
    yield made
    made.close()
    assert not workers()


def say(reader: SandboxedReader, *deeds: str) -> list[Answer]:
    for number, deed in enumerate(deeds):
        reader.ask(f"{number} {deed}", number, deed.encode)
    return answered(reader, len(deeds))


@pytest.mark.parametrize(
    ("unruly", "deed"),
    [(SLEEPY if "longer" in reason else LIMITS, deed) for deed, reason in DEEDS.items()],
    indirect=["unruly"],
    ids=DEEDS,
)
def test_it_is_one_rejected_document(unruly: SandboxedReader, deed: str) -> None:
    found = {answer.ticket: answer.outcome for answer in say(unruly, deed, "good", "good")}
    assert isinstance(found[0], Reject), found
    assert re.search(DEEDS[deed], found[0].reason), found[0].reason
    assert [found[1], found[2]] == [GOOD, GOOD]
    assert say(unruly, "good")[0].outcome == GOOD
    assert not Path("/tmp/headwater-unruly").exists()


def test_what_a_parser_prints_goes_nowhere(unruly: SandboxedReader) -> None:
    found = {answer.ticket: answer.outcome for answer in say(unruly, "say", "good")}
    assert found == {0: Extracted("said", "text", "text/plain"), 1: GOOD}


@pytest.mark.skipif(
    sys.platform != "linux" or confine.landlock_abi() < 6, reason="without Landlock, paths and signals stay open"
)
def test_a_parser_can_touch_nothing_outside_of_itself(unruly: SandboxedReader) -> None:
    inside = Path("/tmp/headwater-unruly-folder")
    shutil.rmtree(inside, ignore_errors=True)
    (inside / "c").mkdir(parents=True)
    (inside / "a").touch()
    for path in (inside, inside / "c", inside / "a"):
        path.chmod(0o777)  # what the kernel refuses, it refuses whoever the parser is
    found = [answer.outcome for answer in say(unruly, "break out")]
    shutil.rmtree(inside)
    assert found == [Extracted("", "text", "text/plain")]


@pytest.mark.parametrize("unruly", [SLEEPY], indirect=True)
def test_what_a_parser_starts_is_killed(unruly: SandboxedReader) -> None:
    (answer,) = say(unruly, "fork")
    # The kernel refuses the fork to all but root, for whom the process group is killed.
    assert isinstance(answer.outcome, Extracted | Reject)
    # Whoever is its parent now: what was started has the arguments of its worker.
    gone(lambda: [it for it in psutil.process_iter() if it.ppid() != os.getpid() and arguments(it) == OURS])


@pytest.mark.parametrize("unruly", [SLEEPY], indirect=True)
def test_a_worker_that_stands_still_is_replaced(unruly: SandboxedReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.documents.process._GRACE_S", 0.5)
    unruly.ask("a", None, lambda: b"sleep")
    for _ in range(2):
        until(lambda: len(workers()) == 2)
        (worker,) = (it for it in workers() if it.ppid() == os.getpid())
        worker.send_signal(signal.SIGSTOP)
        worker.wait(30)
    (answer,) = answered(unruly, 1)
    assert isinstance(answer.outcome, Reject)
    assert "killed, twice" in answer.outcome.reason
    assert say(unruly, "good")[0].outcome == GOOD


@pytest.fixture
def heard(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """A signal that the processes begun from now on hear: `nohup make test &` has two of them ignored."""
    number: signal.Signals = request.param
    before = signal.getsignal(number)
    if before is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
    yield number
    if before is signal.SIG_IGN:
        signal.signal(number, before)


@pytest.mark.parametrize("heard", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL], indirect=True)
def test_what_somebody_killed_is_read_once_more(heard: signal.Signals, unruly: SandboxedReader) -> None:
    outcomes = []
    for kills in (1, 2):
        unruly.ask("a", None, lambda: b"nap")
        before: set[int] = set()
        for _ in range(kills):
            until(lambda before=before: parsing() - before)  # type: ignore[misc]  # bound at once
            (child,) = parsing() - before
            before.add(child)
            os.kill(child, heard)
        outcomes += [answer.outcome for answer in answered(unruly, 1)]
    read, rejected = outcomes
    assert read == Extracted("None", "text", "text/plain")
    assert isinstance(rejected, Reject)
    assert rejected.reason == "the process that read it was killed, twice"


def test_a_parser_inherits_no_secret_and_no_file(unruly: SandboxedReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    read, write = os.pipe()
    os.set_inheritable(write, True)
    found = {answer.name: answer.outcome for answer in say(unruly, "environment", "files")}
    os.close(read)
    os.close(write)
    names = set(found["0 environment"].text.split())  # type: ignore[union-attr]  # it was read
    assert names <= {"LANG", "LC_CTYPE", "LD_LIBRARY_PATH", "OPENBLAS_NUM_THREADS", "PATH", "PYTHONPATH"} | {
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONHOME",
    }
    assert found["1 files"] == Extracted("1", "text", "text/plain"), "the pipe for its answer, and nothing else"


def test_every_document_has_a_process_of_its_own(unruly: SandboxedReader) -> None:
    pairs = {tuple(say(unruly, "pids")[0].outcome.text.split()) for _ in range(5)}  # type: ignore[union-attr]  # read
    assert len({child for child, _ in pairs}) == 5
    assert len({worker for _, worker in pairs}) == 1, "and the worker lives on"


def test_good_documents_do_not_wait_for_slow_ones(unruly: SandboxedReader) -> None:
    order = [answer.name for answer in say(unruly, *["loop"] * 4, *["good"] * 20)]
    assert [name.split()[1] for name in order] == ["good"] * 20 + ["loop"] * 4


def test_a_worker_is_kept_for_good_documents(unruly: SandboxedReader) -> None:
    attempts: list[int] = []

    def loop(number: int) -> bytes:
        attempts.append(number)
        return b"loop"

    for number in range(2):
        unruly.ask(f"loop {number}", None, partial(loop, number))
    until(lambda: len(attempts) > 2)
    for _ in range(5):
        assert [answer.outcome for answer in say(unruly, "good")] == [GOOD], "and no loop before it"
    answered(unruly, 2)


def test_without_a_process_it_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    reader = SandboxedReader(LIMITS)
    (answer,) = say(reader, "good")
    reader.close()
    assert isinstance(answer.outcome, Retry)
    assert str(answer.outcome) == "the reader of documents: no process can be started: No such file or directory"


def test_a_reader_at_rest_keeps_no_process(unruly: SandboxedReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.2)
    say(unruly, "good", "good")
    gone(workers)
    assert say(unruly, "good")[0].outcome == GOOD


def test_closing_ends_what_is_under_way(unruly: SandboxedReader) -> None:
    for number in range(5):
        unruly.ask(f"{number}", None, lambda: b"sleep")
    until(lambda: len(workers()) == 4)
    unruly.close()
    unruly.close()
    assert not workers()
    assert unruly.outstanding() == 0
    with pytest.raises(RuntimeError):
        unruly.ask("late", None, lambda: b"good")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread looks for the parent")
def test_workers_die_with_their_owner() -> None:
    program = (
        "from headwater.documents.reader import SandboxedReader\n"
        f"reader = SandboxedReader(program={PROGRAM!r})\n"
        "reader.ask('a', None, lambda: b'sleep')\n"
        "reader.ask('b', None, lambda: b'loop')\n"
        "reader.answers(600)\n"
    )
    owner = psutil.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    until(lambda: len(owner.children(recursive=True)) == 4)
    orphans = owner.children(recursive=True)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    # Long before their time is over, when they would end without it.
    until(lambda: not any(it.is_running() and it.status() != psutil.STATUS_ZOMBIE for it in orphans), tries=50)


@pytest.mark.parametrize(("most", "status"), [(1 << 40, 0), (64 << 20, 3)])
def test_memory_is_watched_where_the_kernel_does_not(most: int, status: int) -> None:
    program = (
        "import os, time; from headwater.documents import confine\n"
        f"confine.watch({most}, os.getppid())\n"
        "taken = [bytearray(b'x') * (1 << 20) for _ in range(200)]\n"
        "time.sleep(1)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, timeout=60).returncode == status


def workers() -> list[psutil.Process]:
    """The processes that this one's readers started, whoever else it started."""
    return [it for it in psutil.Process().children(recursive=True) if arguments(it) == OURS]


def parsing() -> set[int]:
    """The processes that have a document each, by their numbers."""
    return {it.pid for it in workers() if it.ppid() != os.getpid()}


def arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()[-2:]
    except psutil.Error:
        return []


def gone(look: Callable[[], object]) -> None:
    """Wait until there is nothing any more."""
    until(lambda: not look())


def until(true: Callable[[], object], tries: int = 600) -> None:
    """Wait until it is so, a tenth of a second for each try."""
    for _ in range(tries):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it never came to be")
