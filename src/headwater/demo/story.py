"""The story that `headwater demo` tells: a folder changes as a real package's documentation did, and Headwater follows.

Everything happens by the public commands, each a process of its own. This process writes the files, watches and asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from headwater.clock import SystemClock
from headwater.demo import corpus
from headwater.demo.figures import Act, Crash, Deletion, Figures, Found
from headwater.demo.observer import Marks, Observer
from headwater.demo.pins import PACKAGE
from headwater.demo.processes import CommandFailed, Headwater

#: The stream, and the folder of documents, that `headwater init` names.
STREAM = "articles"
DOCUMENTS = "docs"

#: The releases that are shown; the story ends by going back to the middle one.
RELEASES = ("4.0", "4.1", "5.0")

QUESTIONS = (
    "How do I roll back a transaction when something fails?",
    "How can a visitor upload a file with a form?",
    "How do I write a test that checks which queries were run?",
)

#: How deep a search looks for what was deleted, and how often progress is looked at.
_DEEP = 100
_LOOK_EVERY_S = 0.02


class Stage(Protocol):
    """Where the story is told."""

    def act(self, title: str) -> None:
        """Begin an act."""
        ...

    def line(self, text: str) -> None:
        """Say a sentence."""
        ...

    def progress(self, done: int, total: int) -> None:
        """Show how far a worker is."""
        ...


class Story:
    """Tells the story once, in an empty folder. `releases` are the documents by version."""

    def __init__(self, folder: Path, releases: Mapping[str, Mapping[str, str]], stage: Stage) -> None:
        self._folder = folder
        self._documents = folder / DOCUMENTS
        self._releases = releases
        self._stage = stage
        self._clock = SystemClock()
        self._headwater = Headwater(folder)
        self._state: dict[str, str] = {}
        self._embedded = 0
        self._acts: list[Act] = []

    def tell(self) -> Figures:
        """Tell it; return what was measured. Raise CommandFailed when a command ends otherwise than it should."""
        began_s = self._clock.monotonic()
        first, second, third = RELEASES
        self._documents.mkdir()
        self._headwater.call("init", ".")
        self._observer = Observer(self._folder / "headwater.yaml", STREAM)
        try:
            self._stage.act(f"A folder with the documentation of {PACKAGE.capitalize()} {first}: load it")
            self._follow(f"load {first}", self._releases[first])
            self._stage.act("Ask it")
            answers = self._ask()
            self._stage.act(f"The documentation is edited: release {second}")
            self._follow(f"edit to {second}", self._releases[second])
            self._stage.act("Documents are deleted")
            deletion = self._delete(tuple(dict.fromkeys(answer.id for answer in answers)))
            self._stage.act(f"A worker is killed in the middle of release {third}, and another one started")
            crash = self._crash(f"edit to {third}, with a crash", self._releases[third])
            self._stage.act(f"Back to release {second}")
            self._follow(f"back to {second}", self._releases[second])
            self._stage.act("Compare the index with the log and with the folder")
            return self._figures(answers, deletion, crash, began_s)
        finally:
            self._observer.close()

    # --- acts

    def _follow(self, name: str, state: Mapping[str, str]) -> None:
        """Bring the folder to a state, and let a worker follow it."""
        changed = self._change(state)
        began_s = self._clock.monotonic()
        self._run_once(changed.total)
        self._close_act(name, changed, self._clock.monotonic() - began_s)

    def _ask(self) -> tuple[Found, ...]:
        self._observer.search(QUESTIONS[0], 1)  # the model is loaded once a process; that is not the search
        found = []
        for question in QUESTIONS:
            hits, seconds = self._observer.search(question, 1)
            if not hits:
                raise CommandFailed(("search", STREAM, question), 0, "nothing was found")
            best = hits[0]
            title = str(best.manifest.payload.get("title", ""))
            answer = Found(question, best.manifest.id, title, best.score, seconds * 1000)
            self._stage.line(f"{question}")
            self._stage.line(f"  → {answer.id}  “{title}”  ({answer.score:.2f}, {answer.milliseconds:.0f} ms)")
            found.append(answer)
        return tuple(found)

    def _delete(self, ids: tuple[str, ...]) -> Deletion:
        self._stage.line(f"rm {' '.join(ids)}")
        self._follow(f"delete {len(ids)} documents", {id_: text for id_, text in self._state.items() if id_ not in ids})
        found = {hit.manifest.id for question in QUESTIONS for hit in self._observer.search(question, _DEEP)[0]}
        trace = self._headwater.document("trace", STREAM, ids[0], "--json")["receipts"]
        deletion = Deletion(ids, tuple(sorted(found & set(ids))), tuple(trace))
        self._stage.line(
            f"the same questions again, the best {_DEEP} hits of each: {len(deletion.still_found)} of them found"
        )
        self._stage.line(f"headwater trace {STREAM} {ids[0]}")
        for receipt in deletion.trace:
            self._stage.line(f"  {_receipt(receipt)}")
        return deletion

    def _crash(self, name: str, state: Mapping[str, str]) -> Crash:
        before = self._observer.marks()
        changed = self._change(state)
        began_s = self._clock.monotonic()
        with self._headwater.start("run") as worker:
            while worker.running and not _in_the_middle(before, self._observer.marks(), changed.total):
                self._observer.rest(_LOOK_EVERY_S)
            worker.kill()
        marks = self._observer.marks()
        settled = marks.settled - before.settled
        self._stage.line(f"kill -9: {settled} of {changed.total} changes were settled, {marks.waiting} were waiting")
        self._run_once(changed.total)
        after = self._observer.marks()
        self._stage.line(f"headwater run --once: {after.waiting} waiting")
        self._close_act(name, changed, self._clock.monotonic() - began_s)
        check = self._verify()
        self._stage.line(f"headwater verify {STREAM}: {'clean' if check['ok'] else 'NOT CLEAN'}")
        return Crash(changed.total, settled, marks.waiting, after.waiting, bool(check["ok"]))

    # --- parts of acts

    def _change(self, state: Mapping[str, str]) -> corpus.Difference:
        """Write and delete the files that differ."""
        changed = corpus.difference(self._state, state)
        corpus.remove(self._documents, changed.deleted)
        corpus.write(self._documents, state, changed.written)
        self._state = dict(state)
        self._stage.line(
            f"{len(changed.added)} files added, {len(changed.edited)} edited, {len(changed.deleted)} deleted"
        )
        return changed

    def _run_once(self, expected: int) -> None:
        """Run a worker until all is settled, and show how far it is."""
        before = self._observer.marks()
        with self._headwater.start("run", "--once") as worker:
            while worker.running:
                self._stage.progress(self._observer.marks().settled - before.settled, expected)
                self._observer.rest(_LOOK_EVERY_S)
            worker.check()
        self._stage.progress(expected, expected)

    def _close_act(self, name: str, changed: corpus.Difference, seconds: float) -> None:
        """Measure what following a change took."""
        embedded = self._status()["embedding"]["texts"]
        written = set(changed.written)
        chunks = sum(len(line["chunks"]) for line in self._export() if line["id"] in written)
        act = Act(
            name=name,
            added=len(changed.added),
            edited=len(changed.edited),
            deleted=len(changed.deleted),
            chunks=chunks,
            embedded=embedded - self._embedded,
            seconds=seconds,
        )
        self._embedded = embedded
        self._acts.append(act)
        self._stage.line(
            f"followed in {seconds:.1f} s: of {chunks:,} chunks in these files {act.embedded:,} texts were embedded"
        )

    def _figures(self, answers: tuple[Found, ...], deletion: Deletion, crash: Crash, began_s: float) -> Figures:
        status, exported = self._status(), self._export()
        letters = status["dead_letters"]
        return Figures(
            package=PACKAGE,
            releases=RELEASES,
            acts=tuple(self._acts),
            answers=answers,
            deletion=deletion,
            crash=crash,
            files=sum(1 for path in self._documents.rglob("*") if path.is_file()),
            documents=len(exported),
            chunks=sum(len(line["chunks"]) for line in exported),
            foreign_chunks=self._foreign(exported),
            appended=self._observer.marks().appended,
            outcomes=status["outcomes"],
            dead_letters=letters["open"] + letters["retrying"],
            embedding=status["embedding"],
            freshness=status["freshness"],
            verify=self._verify(),
            seconds=self._clock.monotonic() - began_s,
        )

    def _foreign(self, exported: Sequence[dict[str, Any]]) -> int:
        """Count the chunks whose text does not stand in the file that they are said to come from."""
        count = 0
        for line in exported:
            path = self._documents / line["id"]
            text = path.read_bytes().decode() if path.exists() else ""
            count += sum(chunk["text"] not in text for chunk in line["chunks"])
        return count

    # --- commands

    def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = self._headwater.document("status", "--json")["streams"][STREAM]
        return found

    def _export(self) -> list[dict[str, Any]]:
        return self._headwater.lines("export", STREAM, "--jsonl")

    def _verify(self) -> dict[str, Any]:
        return self._headwater.document("verify", STREAM, "--json", codes=(0, 5))


def _in_the_middle(before: Marks, now: Marks, changes: int) -> bool:
    """Tell whether a worker has settled some of the changes, and not all."""
    return now.appended - before.appended >= changes and now.settled > before.settled


def _receipt(receipt: dict[str, Any]) -> str:
    """Say in a line what a receipt says."""
    gone = receipt["outcome"] == "deleted"
    chunks = f"{receipt['counts']['removed']} chunks removed" if gone else f"{receipt['counts']['chunks']} chunks"
    times = receipt["times"]
    effect = "gone from every search" if gone else "searchable"
    return f"{receipt['outcome']}: {chunks}; changed {times['changed']}, {effect} {times['applied']}"
