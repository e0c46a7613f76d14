"""`run --probes` with real processes: what orchestrators see of a worker, and how it ends under them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.process import CONFIG, Cli, until, wait_for

PROBE = Path(__file__).resolve().parents[3] / "deploy" / "probe.py"
DOCUMENTS = 8_000


def started(cli: Cli, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    """Start a worker with probes at a free port; return it with their address."""
    worker = cli.start("run", "--probes", "127.0.0.1:0", *arguments)
    assert worker.stderr is not None
    for line in worker.stderr:
        if "probes.listening" in line:
            return worker, line.split("address=")[1].strip()
    raise AssertionError("it never said where it listens")


def ask(address: str, path: str) -> tuple[int, Any]:
    connection = HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def stands(address: str, **streams: str) -> bool:
    return bool(ask(address, "/readyz")[1]["streams"] == streams)


def test_it_is_alive_at_once_and_ready_when_its_streams_work(articles: Cli) -> None:
    worker, address = started(articles)
    assert ask(address, "/livez")[0] == 200
    until(
        lambda: ask(address, "/readyz") == (200, {"ready": True, "stopping": False, "streams": {"articles": "running"}})
    )

    docs = articles.folder / "docs"
    docs.rename(articles.folder / "away")
    until(lambda: ask(address, "/readyz")[0] == 503)
    assert ask(address, "/readyz")[1]["streams"] == {"articles": "waiting"}
    assert ask(address, "/livez")[0] == 200, "a restart brings no dependency back"
    (articles.folder / "away").rename(docs)
    until(lambda: ask(address, "/readyz")[0] == 200)

    articles("pause", "articles")
    until(
        lambda: ask(address, "/readyz") == (200, {"ready": True, "stopping": False, "streams": {"articles": "paused"}})
    )
    articles("resume", "articles")
    until(lambda: ask(address, "/readyz")[1]["streams"] == {"articles": "running"})
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0


def test_a_stream_that_halted_makes_the_worker_unready_and_leaves_it_alive(cli: Cli) -> None:
    cli.write(
        "headwater.yaml",
        "streams:\n  one: {index: 'sqlite:///one.db', recipe: {embed: {model: hash}}}\n"
        "  two: {recipe: {embed: {model: hash}}}\n",
    )
    cli("publish", "one", stdin='{"id": "a", "text": "alpha"}\n')
    cli("run", "--once")
    cli.write(
        "headwater.yaml", (cli.folder / "headwater.yaml").read_text().replace("hash}}}\n  two", "static}}}\n  two")
    )
    worker, address = started(cli)
    until(lambda: ask(address, "/readyz")[1]["streams"] == {"one": "halted", "two": "running"})
    assert ask(address, "/readyz")[0] == 503
    assert ask(address, "/livez")[0] == 200
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 3


def test_a_stream_that_paused_itself_is_not_ready_after_a_restart_either(cli: Cli) -> None:
    cli.write(
        "headwater.yaml",
        "streams: {notes: {recipe: {embed: {model: hash}, payload: {kind: {from: kind, required: true}}}}}\n",
    )
    cli("publish", "notes", stdin="".join(f'{{"id": "n{i}", "text": "no kind"}}\n' for i in range(60)))
    for _ in range(2):
        worker, address = started(cli)
        until(partial(stands, address, notes="tripped"))
        assert ask(address, "/readyz")[0] == 503
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0


def test_told_to_end_it_is_unready_while_it_settles_what_is_in_flight(cli: Cli) -> None:
    cli.write("headwater.yaml", "streams: {notes: {recipe: {embed: {model: hash}}}}\n")
    changes = [{"id": f"n{i}", "text": f"{i} " + "word " * 60} for i in range(DOCUMENTS)]
    cli("publish", "notes", stdin="".join(json.dumps(change) + "\n" for change in changes))
    worker, address = started(cli, "--verbose")
    wait_for(worker, "changes.settled")
    with closing(sqlite3.connect(cli.folder / "headwater.db", isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else can write: what is in flight cannot be settled yet
        worker.send_signal(signal.SIGTERM)
        until(lambda: ask(address, "/readyz")[1]["stopping"])
        assert ask(address, "/readyz")[0] == 503
        assert ask(address, "/livez")[0] == 200
        assert worker.poll() is None
        other.execute("ROLLBACK")
    assert worker.wait(30) == 0
    assert 0 < cli.json("status", "--json")["streams"]["notes"]["lag"]["records"] < DOCUMENTS
    assert cli.json("verify", "notes", "--json")["ok"]


def test_as_the_first_process_of_a_container_signals_reach_it(articles: Cli) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "--pid", "--fork", "true"], capture_output=True).returncode:
        pytest.skip("no PID namespaces for this user")
    outer = subprocess.Popen(
        [
            unshare,
            "--pid",
            "--fork",
            "--kill-child",
            sys.executable,
            "-m",
            "headwater",
            "run",
            "--probes",
            "127.0.0.1:0",
        ],
        cwd=articles.folder,
        env=articles.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    articles.processes.append(outer)
    assert outer.stderr is not None
    for line in outer.stderr:
        if "stream.started" in line:
            break
    (inner,) = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
    assert "NSpid:" in Path(f"/proc/{inner}/status").read_text()
    os.kill(int(inner), signal.SIGTERM)
    assert outer.wait(20) == 0
    assert "stopping" in outer.stderr.read()
    assert articles.json("verify", "articles", "--json")["ok"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("0.0.0.0:8081", "loopback only, such as 127.0.0.1:8081"),
        ("[::]:8081", "loopback only"),
        ("10.0.0.1:8081", "loopback only"),
        ("8081", "an address such as 127.0.0.1:8081"),
        ("example.org:8081", "an address such as"),
        ("127.0.0.1", "an address such as"),
        ("127.0.0.1:", "with a port"),
        ("127.0.0.1:70000", "with a port"),
        ("127.0.0.1:" + "9" * 5000, "with a port"),
        ("127.0.0.1:-1", "with a port"),
    ],
)
def test_addresses_that_are_refused(cli: Cli, address: str, said: str) -> None:
    cli.write("headwater.yaml", CONFIG)
    assert said in cli("run", "--once", "--probes", address, code=2).stderr


def test_a_port_in_use_is_a_dependency_that_another_has(articles: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        failed = articles("run", "--once", "--probes", f"127.0.0.1:{port}", code=4)
        assert f"probes at 127.0.0.1:{port}: the address is in use" in failed.stderr
        from_environment = articles("run", "--once", code=4, HEADWATER_PROBES=f"localhost:{port}")
        assert "the address is in use" in from_environment.stderr
    articles("run", "--once", "--probes", f"127.0.0.1:{port}")
    articles("run", "--once", HEADWATER_PROBES="")


def test_the_image_s_probe_asks_the_worker_beside_it(articles: Cli) -> None:
    def probe(path: str, where: str | None) -> subprocess.CompletedProcess[str]:
        environment = {
            **articles.environment,
            "http_proxy": "http://127.0.0.1:9",
            **({"HEADWATER_PROBES": where} if where else {}),
        }
        return subprocess.run(
            [sys.executable, PROBE, path], env=environment, capture_output=True, text=True, timeout=30
        )

    worker, address = started(articles)
    until(lambda: probe("readyz", address).returncode == 0)
    assert probe("livez", address).returncode == 0
    assert probe("nowhere", address).returncode == 1
    assert "HEADWATER_PROBES" in probe("livez", None).stderr
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    gone = probe("livez", address)
    assert gone.returncode == 1
    assert "Traceback" not in gone.stderr
