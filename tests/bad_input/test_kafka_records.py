"""Bad records on a real broker, through the real command line: what is good beside them is indexed all the same."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fastavro
import pytest
from confluent_kafka import Producer

from tests.bad_input.process import MARKER, WatchedCli, upsert
from tests.kafka.client import Kafka, fresh_name
from tests.kafka.process import free_ports

Headers = list[tuple[str, str | bytes | None]]
Sent = tuple[bytes | None, bytes | None, Headers]

SCHEMA = {"type": "record", "name": "Page", "fields": [{"name": "text", "type": "string"}]}
KNOWN, UNKNOWN = 7, 4711


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[WatchedCli]:
    cli = WatchedCli(tmp_path / "place")
    yield cli
    cli.check_silence()


def configure(cli: WatchedCli, kafka: Kafka, prefix: str, log: str = "", stream: str = "partitions: 1") -> None:
    text = f"log: {{url: 'kafka://{kafka.bootstrap}', prefix: {prefix}{log}}}\n"
    cli.write("headwater.yaml", f"{text}streams:\n  notes: {{{stream}, recipe: {{embed: {{model: hash}}}}}}\n")


def send(kafka: Kafka, topic: str, records: Sequence[Sent]) -> None:
    producer = Producer(kafka.settings())
    for key, value, headers in records:
        producer.produce(topic, value, key, headers=headers)
    assert producer.flush(30) == 0


def change(name: str) -> bytes:
    return json.dumps(upsert(name, f"about {name}")).encode()


def test_keys_headers_and_values_of_others(cli: WatchedCli, kafka: Kafka) -> None:
    prefix = fresh_name("bad")
    configure(cli, kafka, prefix)
    cli("topics", "apply")
    long = b"k" * 1025
    bad: list[Sent] = [
        (None, change("x"), []),
        (b"", change("x"), []),
        (b"\xff\xfe", change("x"), []),
        (long, change("x"), []),
        (b"not json", b"{" + MARKER.encode(), []),
        (b"empty", b"", []),
        (b"no version", change("no version"), [("headwater-version", b"\xff\xfe")]),
        (b"no claim", change("no claim"), [("headwater-claim", b"../../etc/passwd")]),
    ]
    good: list[Sent] = [
        (b"first", change("first"), []),
        (b"headers", change("headers"), [("traceparent", b"\xff\xfe\xfd"), ("", b"\x00"), ("other", None)]),
        (b"last", change("last"), []),
    ]
    send(kafka, f"{prefix}.notes.changes", [good[0], *bad, *good[1:]])
    ended = cli("run", "--once")
    assert f"{len(bad)} dead letters: `headwater dead list notes` shows them" in ended.stderr
    assert set(cli.texts()) == {"first", "headers", "last"}
    reasons = cli.dead()
    assert len(reasons) == len(bad)
    for name, reason in {
        "record 0.1": "`id` is empty",
        "record 0.2": "`id` is empty",
        "record 0.3": "not UTF-8",
        "record 0.4": "at most 1024 are allowed",
        "not json": "not JSON",
        "empty": "not JSON",
        "no version": "the header headwater-version is not a version",
        "no claim": "the header headwater-claim names nothing",
    }.items():
        assert reason in reasons[name], (name, reasons)
    assert "holds what its log says" in cli("verify", "notes").stdout


def test_a_topic_that_is_not_there(cli: WatchedCli, kafka: Kafka) -> None:
    theirs = fresh_name("theirs")
    configure(cli, kafka, fresh_name("bad"), stream=f"topic: {theirs}")
    said = cli("run", "--once", code=4).stderr
    assert f"no such topic: {theirs} (" in said
    assert "check `topic:`" in said
    assert "cannot be seen" in cli("topics", "plan", code=1).stderr


def test_a_line_over_the_limit_is_rejected_and_the_others_are_appended(cli: WatchedCli, kafka: Kafka) -> None:
    configure(cli, kafka, fresh_name("bad"), log=", largest: 20KiB")
    large = upsert("large", "x" * 30_000)
    done = cli.publish(upsert("a", "one"), large, upsert("b", "two"), code=1)
    assert json.loads(done.stdout) == {"appended": 2, "rejected": 1}
    assert "line 2: 30," in done.stderr
    assert "log.largest is 20,480: raise it, or set log.oversized.claim_check" in done.stderr
    cli("run", "--once")
    assert set(cli.texts()) == {"a", "b"}


def test_a_file_over_the_limit_is_a_dead_letter_until_it_fits(cli: WatchedCli, kafka: Kafka) -> None:
    prefix, stream = fresh_name("bad"), "partitions: 1, source: {folder: ./docs}"
    cli.write("docs/a.md", f"small {MARKER}")
    cli.write("docs/large.md", f"large {MARKER} " * 3000)
    configure(cli, kafka, prefix, log=", largest: 20KiB", stream=stream)
    for _ in range(2):
        said = cli("run", "--once").stderr
        assert "source.skipped stream=notes item=large.md" in said
        assert set(cli.texts()) == {"a.md"}
        (reason,) = cli.dead().values()
        assert "larger than a record of the log may be" in reason
    # The folder for claims is not made, nor is its marker, since it may only not be mounted yet: that is waited for.
    configure(cli, kafka, prefix, log=", largest: 20KiB, oversized: {claim_check: ./claims}", stream=stream)
    claims, share = cli.folder / "claims", cli.folder / "share"
    for _ in ("there is none", "there is an empty one"):
        said = cli("run", "--once", "--timeout", "1s", code=4).stderr
        assert f"touch {claims}/.headwater-claims" in said
        assert f"touch {claims}/.headwater-claims" in cli("doctor", code=1).stdout
        assert not claims.exists() or list(claims.iterdir()) == []
        claims.mkdir(exist_ok=True)
    (claims / ".headwater-claims").touch()
    assert "\N{CHECK MARK} claims: " in cli("doctor").stdout
    cli("run", "--once")
    assert set(cli.texts()) == {"a.md", "large.md"}
    assert "holds what its log says" in cli("verify", "notes").stdout
    # A replay while the share is not mounted waits for it: what lies there is not lost.
    claims.rename(share)
    claims.mkdir()
    log = ", oversized: {claim_check: ./claims}"
    configure(cli, kafka, prefix, log, f"{stream}, index: 'sqlite:///unmounted.db'")
    assert "Mount it" in cli("run", "--once", "--timeout", "1s", code=4).stderr
    assert "claim check's folder" not in str(cli.dead())
    claims.rmdir()
    share.rename(claims)
    cli("run", "--once")
    assert set(cli.texts()) == {"a.md", "large.md"}
    assert cli.dead() == {}
    (kept,) = set(claims.iterdir()) - {claims / ".headwater-claims"}
    kept.write_bytes(kept.read_bytes()[:-1])
    # A replay finds the damage: that document is a dead letter, and the other is there.
    cli.write("docs/b.md", f"more {MARKER}")
    configure(cli, kafka, prefix, log, f"{stream}, index: 'sqlite:///new.db'")
    cli("run", "--once")
    assert set(cli.texts()) == {"a.md", "b.md"}


@contextmanager
def registry(port: int) -> Iterator[None]:
    """A schema registry that knows one schema."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            answer: object = {"error_code": 40403, "message": "Schema not found"}
            if path == "/schemas/types":
                answer = ["AVRO"]
            elif path == f"/schemas/ids/{KNOWN}":
                answer = {"schema": json.dumps(SCHEMA)}
            body = json.dumps(answer).encode()
            self.send_response(404 if isinstance(answer, dict) and "error_code" in answer else 200)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def avro(schema: int, text: str) -> bytes:
    written = io.BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(SCHEMA), {"text": text})
    return b"\0" + schema.to_bytes(4, "big") + written.getvalue()


def _judged(cli: WatchedCli, code: int) -> dict[str, str]:
    return {it["check"]: it["what"] for it in json.loads(cli("doctor", "--json", code=code).stdout)["findings"]}


def test_schemas_that_are_not_known_and_a_registry_that_is_away(cli: WatchedCli, kafka: Kafka) -> None:
    theirs, (port,) = kafka.topic(), free_ports(1)
    log = f", registry: {{url: 'http://127.0.0.1:{port}'}}"
    configure(cli, kafka, fresh_name("bad"), log, f"topic: {{name: {theirs}, format: avro}}")
    send(
        kafka,
        theirs,
        [
            (b"a", avro(KNOWN, f"one {MARKER}"), []),
            (b"unknown", avro(UNKNOWN, f"two {MARKER}"), []),
            (b"cut", avro(KNOWN, f"three {MARKER}")[:-3], []),
            (b"b", avro(KNOWN, f"four {MARKER}"), []),
        ],
    )
    said = cli("run", "--once", "--timeout", "1s", code=4).stderr
    assert "schema registry: 127.0.0.1 cannot be reached" in said
    assert "Traceback" not in said
    assert "cannot be reached" in _judged(cli, 1)["schema registry"]
    with registry(port):
        assert _judged(cli, 0)["schema registry"] == "it answers"
        cli("run", "--once")
        assert set(cli.texts()) == {"a", "b"}
        reasons = cli.dead()
    assert set(reasons) == {"unknown", "cut"}
    assert str(UNKNOWN) in reasons["unknown"]
