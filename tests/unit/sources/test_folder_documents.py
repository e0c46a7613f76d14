"""Documents that a folder source has read: beside its passes, once, and never a version that is not there any more."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from headwater.errors import Reject
from headwater.log.claims import LimitedWriter
from headwater.log.codecs.json import decode
from headwater.model.change import Change, Undecodable
from headwater.model.registry import Epoch
from headwater.recipe.redact.redactor import Redactor
from headwater.sources import folder as folder_module
from headwater.sources import scan
from headwater.sources.folder import FolderSource
from headwater.sources.port import Pass
from tests.integration.documents.memory import MemoryReader, document
from tests.unit.sources.test_folder import OLD_NS, Bench, Stopped


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def passed(source: FolderSource, times: int = 2) -> Pass:
    """The last of so many passes. Nothing is read between them, so that it is the same each time."""
    source._reading.gather = lambda: None  # type: ignore[method-assign]
    return [asyncio.run(source.synchronise()) for _ in range(times)][-1]


def told(bench: Bench) -> list[tuple[str, str]]:
    """What stands in the log, each document's text or why it cannot be read."""

    async def read() -> list[Change | Undecodable]:
        return [decode(it, (Epoch(1, "x", 1),)) async for it in bench.log.history("s", "g", 1).read(0, 0, 1 << 40)]

    found = asyncio.run(read())
    return [(it.id, it.reason if isinstance(it, Undecodable) else (it.body or {}).get("text", "-")) for it in found]


def test_no_pass_waits_and_the_next_one_appends(bench: Bench) -> None:
    bench.put("a.txt", document("PDF", "pumps"))
    bench.put("b.txt", "at once")
    source = bench.source()
    assert passed(source, 1) == Pass(1, 0, (), None, 1)
    assert told(bench) == [("b.txt", "at once")]
    assert passed(source, 1) == Pass(1, 0)
    change = bench.changes()[-1]
    assert change.body == {
        "text": "pumps",
        "format": "markdown",
        "type": "application/pdf",
        "title": "About pumps",
        "path": "a.txt",
    }
    assert passed(source) == Pass(0, 0)
    assert bench.reader.read == ["a.txt"], "it is read once"
    assert passed(bench.source()) == Pass(0, 0)
    assert bench.reader.read == ["a.txt"], "and not by the next process"


def test_what_nobody_can_read_is_one_dead_letter_until_it_changes(bench: Bench) -> None:
    bench.put("a.txt", "good")
    bench.synchronise()
    bench.put("a.txt", document("BAD", "a damaged PDF"), OLD_NS + 1)
    bench.put("new.txt", document("BAD", "a bomb"))
    source = bench.source()
    assert passed(source) == Pass(0, 0)
    dead = [("a.txt", "good"), ("a.txt", "a damaged PDF"), ("new.txt", "a bomb")]
    assert told(bench) == dead
    assert passed(source) == Pass(0, 0)
    assert passed(bench.source()) == Pass(0, 0)
    bench.put("new.txt", document("BAD", "a bomb"), OLD_NS + 2)
    passed(bench.source())
    assert told(bench) == dead, "an edit that mends nothing is no news"
    assert bench.reader.read == ["a.txt", "new.txt", "new.txt"]
    bench.put("a.txt", "good", OLD_NS)
    assert passed(bench.source(), 1) == Pass(1, 0)
    assert told(bench) == [*dead, ("a.txt", "good")]


def test_other_parsers_read_again_what_a_parser_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("a", document("PDF", "same")), ("b", document("BAD", "why")), ("c", b"plain")):
        bench.put(f"{name}.txt", content)
    passed(bench.source())
    serial = bench.serial()
    monkeypatch.setattr(folder_module, "documents_identity", lambda: "others")
    assert passed(bench.source()) == Pass(0, 0), "what came out the same is no change"
    assert bench.reader.read == ["a.txt", "b.txt"] * 2
    assert bench.serial() == serial + 1
    assert passed(bench.source()) == Pass(0, 0)
    assert bench.reader.read == ["a.txt", "b.txt"] * 2


def test_an_answer_about_what_is_gone_or_another_by_now_is_dropped(bench: Bench) -> None:
    bench.put("a.txt", document("PDF", "old"))
    bench.put("b.txt", document("PDF", "gone"))
    source = bench.source()
    passed(source, 1)
    # Both are read now, and change before the pass that would append them.
    answers = bench.reader.answers(0)
    bench.reader.answers = lambda wait_s: [answers.pop(0)] if answers else []  # type: ignore[method-assign]
    bench.put("a.txt", "new", OLD_NS + 1)
    (bench.root / "b.txt").unlink()
    source._reading._answers.extend(answers)
    answers.clear()
    assert passed(source, 1) == Pass(1, 0)
    assert told(bench) == [("a.txt", "new")]


def test_only_the_answer_to_the_last_question_about_a_file_counts(bench: Bench) -> None:
    bench.reader = MemoryReader(eager=True)
    bench.reader.held = True
    bench.put("a.txt", document("PDF", "old"))
    source = bench.source()
    passed(source, 1)
    bench.put("a.txt", document("PDF", "new"), OLD_NS + 1)
    passed(source, 1)
    bench.reader.held = False
    assert passed(source) == Pass(0, 0)
    assert told(bench) == [("a.txt", "new")]


def test_a_file_that_moves_before_its_turn_is_asked_for_again(bench: Bench) -> None:
    path = bench.put("a.txt", document("PDF", "old"))
    source = bench.source()
    walked = scan.Walk.run

    def run(walk: scan.Walk) -> scan.Walk:
        done = walked(walk)
        bench.put("a.txt", document("PDF", "new"), OLD_NS + 1)
        return done

    passed(source, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan.Walk, "run", run)
        passed(source, 1)
    assert passed(source, 3) == Pass(0, 0)
    assert told(bench) == [("a.txt", "new")]
    assert path.exists()


def test_what_is_asked_for_is_not_asked_for_twice(bench: Bench) -> None:
    bench.put("a.txt", document("PDF", "pumps"))
    bench.reader.held = True
    source = bench.source()
    assert passed(source, 3).reading == 1
    bench.reader.held = False
    assert passed(source, 2) == Pass(0, 0)
    assert bench.reader.read == ["a.txt"]


def test_when_the_machine_is_to_blame_the_next_pass_tries_again(bench: Bench) -> None:
    bench.put("a.txt", document("AWAY"))
    source = bench.source()
    for _ in range(2):
        assert passed(source) == Pass(0, 0, (("a.txt", "reader: no memory"),), again_s=1.0), "who looks once waits too"
    assert bench.reader.read == ["a.txt", "a.txt"]
    assert told(bench) == []


def test_what_is_young_is_read_when_its_stamp_can_be_trusted(bench: Bench) -> None:
    clock = Stopped(bench.put("a.txt", document("PDF", "pumps")), 1.0)
    bench.clock = clock
    source = bench.source()
    found = passed(source, 1)
    assert found.again_s == pytest.approx(1.0)
    assert found.reading == 0
    clock.ahead_us += 1_100_000
    assert passed(source, 1).reading == 1
    assert passed(source, 2) == Pass(0, 0)
    assert bench.reader.read == ["a.txt"]


def test_what_cannot_be_opened_when_its_turn_comes_is_the_next_passs_to_tell(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.put("a.txt", document("PDF", "pumps"))
    source = bench.source()
    passed(source, 1)

    def closed(root: Path, found: scan.Found) -> bytes:
        raise Reject("cannot be read: Permission denied")

    monkeypatch.setattr(folder_module, "read_file", closed)
    assert passed(source) == Pass(0, 0, (("a.txt", "cannot be read: Permission denied"),))
    assert told(bench) == []
    monkeypatch.undo()
    assert passed(source, 3) == Pass(0, 0)
    assert told(bench) == [("a.txt", "pumps")]


def test_what_the_log_does_not_take_is_not_read_again_by_this_process(bench: Bench) -> None:
    bench.put("a.txt", document("PDF", "x" * 5000))

    def limited(largest: int) -> FolderSource:
        writer = LimitedWriter(bench.log.writer("s", 1), largest, None)
        return FolderSource(bench.root, bench.choice, writer, bench.clock, bench.reader)

    source = limited(1000)
    for _ in range(3):
        found = passed(source)
        assert [name for name, _ in found.skipped] == ["a.txt"]
        assert found.reading == 0
    assert bench.reader.read == ["a.txt"]
    passed(limited(20_000))
    assert told(bench)[-1] == ("a.txt", "x" * 5000)


def test_what_is_read_is_redacted_before_anything_is_remembered_of_it(bench: Bench) -> None:
    bench.redactor = Redactor(["email"])
    bench.put("a.txt", document("PDF", "mail a@example.org"))
    assert passed(bench.source()) == Pass(1, 0)
    (change,) = bench.changes()
    assert change.body is not None
    assert (change.body["text"], change.body["title"]) == ("mail [email]", "About mail [email]")
    bench.put("a.txt", document("PDF", "mail b@example.org"), OLD_NS + 1)
    assert passed(bench.source()) == Pass(0, 0)


def test_a_pass_is_hinted_when_something_was_read(bench: Bench) -> None:
    for number in range(3):
        bench.put(f"{number}.txt", document("PDF", str(number)))

    async def scenario() -> None:
        source = bench.source()
        assert (await source.synchronise()).reading == 3
        await asyncio.wait_for(source.changed(), 10)
        assert await source.synchronise() == Pass(3, 0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(source.changed(), 0.1)
        await source.close()

    asyncio.run(scenario())
    assert bench.reader.closed


def test_a_defect_of_the_reader_ends_the_pass(bench: Bench) -> None:
    bench.put("a.txt", document("PDF", "x"))

    class Broken(MemoryReader):
        def answers(self, wait_s: float) -> list[object]:  # type: ignore[override]
            if self.outstanding():
                raise AssertionError("a defect")
            return []

    async def scenario() -> None:
        bench.reader = Broken()
        source = bench.source()
        await source.synchronise()
        await asyncio.wait_for(source.changed(), 10)
        with pytest.raises(AssertionError, match="a defect"):
            await source.synchronise()
        await source.close()

    asyncio.run(scenario())


def test_many_answers_are_gathered_between_passes_but_not_without_bound(bench: Bench) -> None:
    for number in range(700):
        bench.put(f"{number:03}.txt", document("PDF", str(number)))

    one_at_a_time = threading.Lock()

    class Slow(MemoryReader):
        def answers(self, wait_s: float) -> list:  # type: ignore[type-arg]
            with one_at_a_time:
                waiting, self._waiting = self._waiting, dict(list(self._waiting.items())[:4])
                found = super().answers(wait_s)
                self._waiting = dict(list(waiting.items())[4:])
                return found

    async def scenario() -> None:
        bench.reader = Slow()
        source = bench.source()
        await source.synchronise()
        while len(source._reading._answers) < 500:
            await source.changed()
            await asyncio.sleep(0.01)
        assert (await source.synchronise()).upserts == 504
        while (await source.synchronise()).reading:
            await source.changed()
        await source.close()

    asyncio.run(scenario())
    assert len(told(bench)) == 700
