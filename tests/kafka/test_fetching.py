"""The jars: only what the lock pins gets in, and what a run left half done is taken up."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.kafka.java import ROOT, home

GOOD = b"the jar"
DIGEST = hashlib.sha256(GOOD).hexdigest()


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """tools/kafka/fetch.py with a lock of two artifacts, and a registry that serves `module.served`."""
    spec = importlib.util.spec_from_file_location("fetch", ROOT / "tools" / "kafka" / "fetch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its own module up.
    monkeypatch.setitem(sys.modules, "fetch", module)
    spec.loader.exec_module(module)
    lock = tmp_path / "jars.lock"
    lock.write_text(f"# pins\n[broker]\na.b:one:1 {DIGEST}\na.b:two:2:test {DIGEST}\n")
    served = {"one-1.jar": GOOD, "two-2-test.jar": GOOD}

    def download(pin: object, work: Path) -> Path:
        name: str = pin.file  # type: ignore[attr-defined]
        if name not in served:
            raise module.CannotFetchError(f"no {name}")
        asked.append(name)
        (work / name).write_bytes(served[name])
        return work / name

    asked: list[str] = []
    for name, value in {
        "LOCK": lock,
        "BUILD": tmp_path / "build" / "kafka",
        "download": download,
        "served": served,
        "asked": asked,
    }.items():
        monkeypatch.setattr(module, name, value, raising=False)
    return module


def test_a_group_is_fetched_once(fetch: ModuleType) -> None:
    fetch.provide(["broker"])
    fetch.provide(["broker"])
    assert sorted(fetch.asked) == ["one-1.jar", "two-2-test.jar"]
    assert sorted(it.name for it in (fetch.home() / "broker").iterdir()) == [".whole", "one-1.jar", "two-2-test.jar"]


def test_what_is_not_the_pinned_file_does_not_get_in(fetch: ModuleType) -> None:
    fetch.served["two-2-test.jar"] = b"another"
    with pytest.raises(fetch.CannotFetchError, match=r"a\.b:two:2:test has SHA-256"):
        fetch.provide(["broker"])
    assert not (fetch.home() / "broker" / "two-2-test.jar").exists()
    assert not (fetch.home() / "broker" / ".whole").exists()


def test_a_run_goes_on_where_the_last_one_stopped(fetch: ModuleType) -> None:
    two = fetch.served.pop("two-2-test.jar")
    with pytest.raises(fetch.CannotFetchError):
        fetch.provide(["broker"])
    (fetch.BUILD / ".fetching-left").mkdir()
    fetch.served["two-2-test.jar"] = two
    fetch.asked.clear()
    fetch.provide(["broker"])
    assert "two-2-test.jar" in fetch.asked
    assert not (fetch.BUILD / ".fetching-left").exists()


def test_every_artifact_is_pinned_and_the_harness_looks_where_the_fetch_puts_them(fetch: ModuleType) -> None:
    text = (ROOT / "tools" / "kafka" / "jars.lock").read_text()
    pins = fetch.pins(text)
    assert {pin.group for pin in pins} == {"broker", "tiered", "debezium", "registry"}
    assert all(re.fullmatch("[0-9a-f]{64}", pin.sha256) for pin in pins)
    assert len({(pin.group, pin.file) for pin in pins}) == len(pins)
    assert home().name == hashlib.sha256(text.encode()).hexdigest()[:12]
