"""The corpus: what an archive holds, and what lies between two releases."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from headwater.demo import corpus
from headwater.demo.pins import RELEASES, STEPS, release


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_documents_are_the_text_files_of_the_documentation(tmp_path: Path) -> None:
    made = archive(
        tmp_path / "a.tar.gz",
        {
            "p-1/docs/a.txt": b"one\n",
            "p-1/docs/in/b.txt": "zw\u00f6lf".encode(),
            "p-1/docs/blank.txt": b" \n",
            "p-1/docs/c.py": b"code",
            "p-1/README.txt": b"no",
            "p-1/docs/../../evil.txt": b"out",
            "p-1/docs/broken.txt": b"\xff!",
        },
    )
    assert corpus.documents(made) == {"a.txt": "one\n", "in/b.txt": "zw\u00f6lf", "broken.txt": "\ufffd!"}


def test_steps_compare_each_release_with_the_one_before() -> None:
    one = {"a": "x\n\ny", "b": "same", "c": "goes"}
    two = {"a": "x\n\nz", "b": "same", "d": "comes"}
    first, second = corpus.steps(iter([("1", one), ("2", two)]))
    assert first.changed == corpus.Difference(added=("a", "b", "c"), edited=(), deleted=())
    assert first.paragraphs_changed is None
    assert second.changed == corpus.Difference(added=("d",), edited=("a",), deleted=("c",))
    assert second.changed.written == ("a", "d")
    assert second.changed.total == 3
    assert second.paragraphs_changed == 0.5


def test_changes_say_deletes_first_a_second_apart() -> None:
    (_, step) = corpus.steps(iter([("1", {"a": "1", "z": "1"}), ("2", {"a": "2"})]))
    assert list(corpus.changes(step, corpus.EPOCH)) == [
        {"id": "z", "op": "delete", "time": "2024-01-01T00:00:01+00:00", "release": "2"},
        {"id": "a", "op": "upsert", "text": "2", "time": "2024-01-01T00:00:02+00:00", "release": "2"},
    ]


def test_writing_and_removing_make_a_folder_equal_to_a_state(tmp_path: Path) -> None:
    before, after = {"a/x.txt": "1\r\n", "b.txt": "2"}, {"a/x.txt": "3\n", "c/d/e.txt": "\u00e4"}
    corpus.write(tmp_path, before, tuple(before))
    changed = corpus.difference(before, after)
    corpus.remove(tmp_path, changed.deleted)
    corpus.write(tmp_path, after, changed.written)
    found = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {name: text.encode() for name, text in after.items()}


def test_every_step_is_pinned() -> None:
    assert {release(version).version for version in STEPS} == {one.version for one in RELEASES}
    assert all(len(bytes.fromhex(one.sha256)) == 32 for one in RELEASES)
