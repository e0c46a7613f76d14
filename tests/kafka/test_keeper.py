"""What a test run starts does not outlive it, however the run ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.kafka.fixtures import needs
from tests.kafka.process import PREFIX, CannotStartError, Kept, fresh_folder, soon

ROOT = Path(__file__).resolve().parents[2]
LONG = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.kafka
def test_a_killed_run_leaves_no_jvm_and_no_folder() -> None:
    needs("broker")
    program = (
        "import threading, time\n"
        "from tests.kafka.broker import Broker\n"
        "broker = Broker()\n"
        # Started by a thread that ends: the JVM must live on, and yet die with the process.
        "starting = threading.Thread(target=broker.start)\n"
        "starting.start(); starting.join()\n"
        "print(broker.process.pid, broker.folder, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid, folder = run.stdout.readline().split()
        assert psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
        run.kill()
    assert soon(lambda: gone(int(pid)))
    assert soon(lambda: not Path(folder).exists())


def test_a_child_dies_with_its_keeper_also_when_that_is_killed(tmp_path: Path) -> None:
    kept = Kept(LONG, log=tmp_path / "log")
    keeper = psutil.Process(kept.pid).parent()
    assert keeper is not None
    keeper.kill()
    assert soon(lambda: gone(kept.pid))
    assert not kept.is_running()


def test_a_paused_child_is_stopped_all_the_same(tmp_path: Path) -> None:
    kept = Kept(LONG, log=tmp_path / "log")
    assert soon(lambda: (tmp_path / "log").read_text() == "here\n")
    kept.send(signal.SIGSTOP)
    kept.stop(10)
    assert gone(kept.pid)
    kept.kill()


def test_a_program_that_is_not_there_is_an_error_with_its_cause(tmp_path: Path) -> None:
    with pytest.raises(CannotStartError, match="No such file"):
        Kept([str(tmp_path / "nothing")], log=tmp_path / "log")


def test_a_service_that_ends_before_it_is_ready_shows_its_log(tmp_path: Path) -> None:
    kept = Kept([sys.executable, "-c", "print('the cause'); raise SystemExit(3)"], log=tmp_path / "log")
    with pytest.raises(CannotStartError, match="the cause"):
        kept.await_ready(lambda: False, timeout_s=10)


def test_folders_of_dead_runs_are_swept_and_those_of_the_living_stay() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    left = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{dead.pid}-broker-"))
    mine, other = fresh_folder("test"), fresh_folder("test", os.getppid())
    assert not left.exists()
    assert mine.exists()
    assert other.exists()
    shutil.rmtree(mine)
    shutil.rmtree(other)
