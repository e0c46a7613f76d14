"""The oracle itself: it must see every kind of damage, and none where there is none."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

PATH = Path(__file__).with_name("oracle.py")
_spec = importlib.util.spec_from_file_location("oracle", PATH)
assert _spec is not None
assert _spec.loader is not None
oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle)

CHANGES: list[dict[str, Any]] = [
    {"id": "a", "text": "an older text"},
    {"id": "a", "op": "upsert", "text": "One.\n\nTwo.\n\nOne.\n"},
    {"id": "b", "body": "Just this."},
    {"id": "c", "body": {"text": "To go.", "title": "c"}},
    {"id": "c", "op": "delete"},
    {"id": "e", "text": " \n "},
    {"id": "b", "body": {"no": "text"}},
    {"id": "never", "op": "delete"},
]


def chunk(text: str, number: int = 0) -> dict[str, Any]:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"id": f"{digest[:32]}.{number}", "text": text, "digest": digest}


def document(name: str, *texts: str) -> dict[str, Any]:
    chunks = [chunk(text, texts[:i].count(text)) for i, text in enumerate(texts)]
    return {"id": name, "version": "1.0.0.1", "deleted": False, "payload": {}, "chunks": chunks}


def export() -> list[dict[str, Any]]:
    return [document("a", "One.", "Two.", "One."), document("b", "Just this."), document("e")]


def judge(exported: list[dict[str, Any]]) -> list[str]:
    return list(oracle.violations(CHANGES, exported))


def test_a_right_export_passes() -> None:
    assert judge(export()) == []
    assert judge([*export(), {**document("c"), "deleted": True}]) == []


def test_a_missing_document_is_seen() -> None:
    assert judge(export()[1:]) == ["'a': missing"]


def test_a_resurrected_document_is_seen() -> None:
    assert judge([*export(), document("c", "To go.")]) == ["'c': exported, and it was deleted"]


def test_an_orphan_is_seen() -> None:
    assert judge([*export(), document("x", "From nowhere.")]) == ["'x': exported, and it was never published"]
    assert judge([document("a", "One.", "Two.", "One.", "From nowhere."), *export()[1:]])
    assert judge([*export()[:2], document("e", "From nowhere.")])


def test_a_stale_chunk_is_seen() -> None:
    for texts in (["an older text"], ["One.", "an older text", "One."], ["One.", "Two.", "One.", "an older text"]):
        assert judge([document("a", *texts), *export()[1:]])


def test_a_missing_chunk_is_seen() -> None:
    for texts in (["Two.", "One."], ["One.", "One."], ["One.", "Two."], []):
        assert judge([document("a", *texts), *export()[1:]])


def test_a_cut_chunk_is_seen() -> None:
    assert judge([document("a", "One.", "Two", "One."), *export()[1:]])


def test_chunks_out_of_order_are_seen() -> None:
    assert judge([document("a", "Two.", "One.", "One."), *export()[1:]])


def test_duplicates_are_seen() -> None:
    assert judge([*export(), document("b", "Just this.")]) == ["'b': exported twice"]
    twice = document("b", "Just this.", "Just this.")
    assert judge([export()[0], twice, export()[2]])
    twice["chunks"][1]["id"] = twice["chunks"][0]["id"]
    assert "'b': two chunks have the same id" in judge([export()[0], twice, export()[2]])


def test_a_wrong_digest_is_seen() -> None:
    exported = copy.deepcopy(export())
    exported[1]["chunks"][0]["digest"] = "0" * 64
    assert len(judge(exported)) == 1


def test_a_live_document_exported_as_deleted_is_seen() -> None:
    assert judge([*export()[1:], {**document("a"), "deleted": True}])


@pytest.mark.parametrize("good", [True, False])
def test_the_program_says_so_by_its_exit_code(good: bool, tmp_path: Path) -> None:
    changes, exported = tmp_path / "changes.jsonl", tmp_path / "export.jsonl"
    changes.write_text("".join(json.dumps(line) + "\n" for line in CHANGES) + "no JSON\n")
    exported.write_text("".join(json.dumps(line) + "\n" for line in export()[0 if good else 1 :]))
    done = subprocess.run([sys.executable, PATH, changes, exported], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == ((0, "") if good else (1, "'a': missing\n"))
    assert subprocess.run([sys.executable, PATH], capture_output=True, check=False).returncode == 2


def test_it_is_short_and_knows_nothing_of_headwater() -> None:
    source = PATH.read_text()
    assert len(source.splitlines()) < 150
    assert "import headwater" not in source
    assert "from headwater" not in source


@given(st.lists(st.text("ab \n", min_size=1, max_size=5), max_size=8))
def test_any_text_cut_anywhere_passes(pieces: list[str]) -> None:
    kept = [piece for piece in pieces if piece.strip()]
    assert list(oracle.wrong_chunks("".join(pieces), document("x", *kept)["chunks"])) == []


@given(st.lists(st.text("ab ", min_size=1, max_size=5).filter(str.strip), min_size=1, max_size=8), st.data())
def test_a_chunk_less_is_always_seen(pieces: list[str], data: st.DataObject) -> None:
    left = list(pieces)
    left.pop(data.draw(st.integers(0, len(pieces) - 1)))
    assert list(oracle.wrong_chunks("".join(pieces), document("x", *left)["chunks"]))
