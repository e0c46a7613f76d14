"""Each code is raised by the code that people meet it through, or by a test that is named here."""

from __future__ import annotations

import asyncio
import importlib.metadata
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from headwater import database
from headwater.cli.error_pages import pages
from headwater.clock import SystemClock
from headwater.database import Database, Schema
from headwater.embedding.providers import registry
from headwater.embedding.providers.refusals import Answer, Sent, refusal
from headwater.embedding.providers.static import ModelFiles
from headwater.errors import Changed, Halt, HeadwaterError, Lost
from headwater.log.kafka_client import translated
from headwater.log.sqlite_lock import WorkerLock
from headwater.observability.probes import listen
from headwater.settings.failures import ConfigurationErrors
from headwater.settings.loading import load

ROOT = Path(__file__).resolve().parents[3]

#: Raised and told from others in these tests: what it takes would only be played again here.
ELSEWHERE = {
    "no-configuration": "tests/integration/cli/test_mistakes.py",
    "made-otherwise": "tests/integration/cli/test_config_show.py",
    "usage": "tests/integration/cli/test_config_show.py",
    "failed": "tests/integration/cli/test_config_show.py",
    "rejected": "tests/unit/cli/test_error_codes.py",
    "text-too-long": "tests/unit/embedding/test_gateway.py",
    "away": "tests/unit/cli/test_error_codes.py",
    "log-rewind": "tests/integration/cli/test_worker.py",
    "log-truncation-gap": "tests/unit/log/test_memory_log.py",
    "missed-delete-marker": "tests/unit/engine/test_markers.py",
    "snapshot-race": "tests/unit/sources/test_folder.py",
    "identity-collision": "tests/unit/model/test_version.py",
    "schema-skew": "tests/unit/log/test_kafka_records.py",
    "model-drift": "tests/unit/retrieval/test_search.py",
    "dimension-mismatch": "tests/unit/embedding/test_gateway.py",
    "silent-truncation": "tests/integration/engine/test_model_witness.py",
    "torn-document": "tests/unit/retrieval/test_export.py",
    "source-unusable": "tests/unit/sources/test_folder.py",
}
#: What cannot be had here, and why.
NOT_RAISED = {
    "expelled": "a broker says it, of a second worker of one name: the drills of Kafka",
    "no-batches": "what a service says of jobs: tests/integration/provider/test_prefetch.py plays it",
    "no-archive": "a package index that is away: the demo's own tests play it by its words",
    "lost-change": "a defect of the consumer's thread: nothing is known that leads to it",
    "unusable": "no place raises it: it is what a new error is until it has a code of its own",
}

Raise = Callable[[Path, pytest.MonkeyPatch], object]


def configured(text: str) -> Raise:
    def read(folder: Path, _: pytest.MonkeyPatch) -> None:
        (folder / "f.yaml").write_text(text)
        try:
            load(folder / "f.yaml", {})
        except ConfigurationErrors as failed:
            (error,) = failed.errors
            raise error from None

    return read


def kafka(code: int, said: str = "no") -> Raise:
    def told(_: Path, __: pytest.MonkeyPatch) -> None:
        raise translated(KafkaError(code, said), "reading", "orders")

    return told


def answered(status: int) -> Raise:
    def told(_: Path, __: pytest.MonkeyPatch) -> None:
        raise refusal(Answer(status, {}, b"{}"), Sent("openai/x", "host"))

    return told


def opened(path: Path, *, create: bool, version: int = 1) -> None:
    async def open_() -> None:
        file = Database(path, Schema("part", version, (), {}), create=create)
        try:
            await file.read(lambda _: None)
        finally:
            await file.close()

    asyncio.run(open_())


def newer(folder: Path, _: pytest.MonkeyPatch) -> None:
    opened(folder / "a.db", create=True, version=2)
    opened(folder / "a.db", create=True, version=1)


def corrupt(folder: Path, _: pytest.MonkeyPatch) -> None:
    (folder / "a.db").write_bytes(b"no database at all" * 100)
    opened(folder / "a.db", create=True)


def with_an_old_python(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(database, "OLDEST_SQLITE", (99, 0, 0))
    assert sqlite3.sqlite_version_info < (99, 0, 0)
    opened(folder / "a.db", create=True)


def held_twice(folder: Path, _: pytest.MonkeyPatch) -> None:
    with ExitStack() as locks:
        for _number in range(2):
            locks.enter_context(WorkerLock(folder / "a.db", SystemClock()))


def listened_twice(_: Path, __: pytest.MonkeyPatch) -> None:
    with closing(listen("127.0.0.1", 0)) as taken:
        listen("127.0.0.1", taken.getsockname()[1])


def brought(_: Path, patch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("mine", "no_such_module:made", registry.GROUP)
    patch.setattr(importlib.metadata, "entry_points", lambda group: [point])
    registry.factory("mine")


def raised(error: HeadwaterError) -> Raise:
    def it(_: Path, __: pytest.MonkeyPatch) -> None:
        raise error

    return it


RAISED: list[tuple[str, Raise]] = [
    ("not-yaml", configured("streams: [")),
    ("not-yaml", configured("streams: {a: {}, a: {}}")),
    ("unknown-key", configured("streams: {a: {colour: red}}")),
    ("missing-key", configured("streams: {a: {source: {}}}")),
    ("wrong-value", configured("streams: {a: {freshness: 5}}")),
    ("unset-variable", configured("streams: {a: {freshness: '${env:NONE}'}}")),
    ("not-yet", configured("streams: {a: {region: eu}}")),
    ("not-yet", configured("streams: {a: {index: 'qdrant://x'}}")),
    ("nothing-yet", lambda folder, _: opened(folder / "none.db", create=False)),
    ("newer-file", newer),
    ("file-unusable", corrupt),
    ("file-unusable", lambda folder, _: WorkerLock(folder / "none" / "a.db", SystemClock()).acquire()),
    ("too-old", with_an_old_python),
    ("in-use", held_twice),
    ("address-taken", listened_twice),
    ("not-installed", lambda folder, _: ModelFiles(folder=folder).read("config.json", "")),
    ("provider-broken", brought),
    ("no-rights", kafka(KafkaError.TOPIC_AUTHORIZATION_FAILED)),
    ("login-refused", kafka(KafkaError._AUTHENTICATION)),
    ("tls-failed", kafka(KafkaError._SSL, "certificate verify failed")),
    ("no-topic", kafka(KafkaError.UNKNOWN_TOPIC_OR_PART)),
    ("too-old", kafka(KafkaError.UNSUPPORTED_VERSION)),
    ("away", kafka(KafkaError._TRANSPORT)),
    ("rate-limited", answered(429)),
    ("overloaded", answered(503)),
    ("away", answered(500)),
    ("service-refuses", answered(401)),
    ("service-unusable", answered(302)),
    ("moved-on", raised(Lost(frozenset({1})))),
    ("moved-on", raised(Changed("the log was made anew"))),
    ("model-drift", raised(Halt("model-drift", ""))),
]


@pytest.mark.parametrize(("code", "act"), RAISED, ids=[f"{code}-{number}" for number, (code, _) in enumerate(RAISED)])
def test_it_comes_with_its_code(code: str, act: Raise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HeadwaterError) as caught:
        act(tmp_path, monkeypatch)
    assert caught.value.code == code


def test_each_code_is_raised_or_its_reason_stands_here() -> None:
    here = {code for code, _ in RAISED}
    assert set(pages()) == here | {*ELSEWHERE} | {*NOT_RAISED}
    assert not here & {*NOT_RAISED}
    for code, place in ELSEWHERE.items():
        assert code in (ROOT / place).read_text() or place.endswith("test_error_codes.py"), f"{place}: no {code}"
