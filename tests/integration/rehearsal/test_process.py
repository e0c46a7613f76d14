"""`headwater fake-provider` as a command: what it prints, how it ends, and mistakes in its plan."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.integration.cli.process import until

HEADWATER = [sys.executable, "-m", "headwater", "fake-provider"]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*HEADWATER, *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert said["url"].startswith("http://127.0.0.1:")
    return str(said["url"])


def post(url: str, text: str) -> None:
    body = json.dumps({"model": "fake-embedding", "input": text}).encode()
    with urlopen(Request(f"{url}/v1/embeddings", data=body), timeout=10) as answer:
        assert answer.status == 200


def failed(folder: Path, *arguments: str, code: int) -> str:
    done = subprocess.run(
        [*HEADWATER, *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (None, 0)])
def test_it_ends_when_told_and_says_what_it_saw(tmp_path: Path, how: signal.Signals | None, code: int) -> None:
    process = start(tmp_path, "--record", "record.jsonl", *(() if how else ("--until-stdin-closes",)))
    try:
        url = address(process)
        post(url, "text")
        post(url, "text")
        if how:
            process.send_signal(how)
        out, messages = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == code
    assert "on loopback only" in messages
    assert "Traceback" not in messages
    figures = json.loads(out)
    assert (figures["requests"], figures["statuses"], figures["embedded_per_text"]) == (2, {"200": 2}, 2.0)


def test_it_ends_with_requests_that_it_would_never_answer(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    process = start(tmp_path, "--set", "behaviour.shares.timeout=1", "--record", str(record))
    try:
        host, port = address(process).removeprefix("http://").split(":")
        body = b'{"model": "fake-embedding", "input": "text"}'
        with socket.create_connection((host, int(port))) as waiting:
            waiting.sendall(
                b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            until(lambda: record.read_bytes().count(b"\n") == 2)
            process.terminate()
            _, messages = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert "Traceback" not in messages


def test_a_plan_in_yaml_and_what_is_set_beside_it(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("dimensions: 8\nbehaviour:\n  poison: [lead]\n")
    process = start(tmp_path, "plan.yaml", "--set", "behaviour.poison=[tin]", "--set", "model=mine")
    try:
        url = address(process)
        body = json.dumps({"model": "mine", "input": "lead"}).encode()
        with urlopen(Request(f"{url}/v1/embeddings", data=body), timeout=10) as answer:
            assert len(json.load(answer)["data"][0]["embedding"]) == 8
    finally:
        process.kill()
        process.communicate()


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    without = "import sys; sys.modules['uvicorn'] = None; from headwater.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", without, "fake-provider"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 4
    assert "the package uvicorn is not installed. pip install 'headwater[rehearsal]'" in done.stderr


def test_mistakes_are_said(tmp_path: Path) -> None:
    assert "no.yaml: No such file" in failed(tmp_path, "no.yaml", code=2)
    (tmp_path / "plan.yaml").write_text("at_once: 0\n")
    assert "plan.yaml: Expected `int` >= 1 - at `$.at_once`" in failed(tmp_path, "plan.yaml", code=2)
    (tmp_path / "plan.yaml").write_text("at_once: [\n")
    assert "plan.yaml: line " in failed(tmp_path, "plan.yaml", code=2)
    (tmp_path / "plan.yaml").write_text("- 3\n")
    assert "a plan is a mapping" in failed(tmp_path, "plan.yaml", code=2)
    (tmp_path / "plan.yaml").write_bytes(b"\xff\xfe")
    assert "plan.yaml: " in failed(tmp_path, "plan.yaml", code=2)
    assert "unknown field `behavior`" in failed(tmp_path, "--set", "behavior.drift=1", code=2)
    assert "KEY=VALUE" in failed(tmp_path, "--set", "drift", code=2)
    assert "model holds no keys" in failed(tmp_path, "--set", "model=a", "--set", "model.b=1", code=2)
    assert "not a tokenizer" in failed(tmp_path, "--set", "tokenizer=plan.yaml", code=2)
    assert "no.json: No such file" in failed(tmp_path, "--set", "tokenizer=no.json", code=2)
    assert "no/record: No such file" in failed(tmp_path, "--record", "no/record", code=2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1:{port}: Address already in use" in failed(tmp_path, "--port", port, code=4)
