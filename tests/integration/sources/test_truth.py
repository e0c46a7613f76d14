"""Whatever happens to a folder, and whenever the process is down or killed, the log ends equal to the folder.

And each safeguard of that is needed: with it switched off, some history is found that ends otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from headwater.log.port import SourcePosition
from headwater.sources import folder as folder_module
from headwater.sources import scan
from headwater.sources.folder import Entry, FolderSource
from headwater.sources.reading import Outcome, Reading
from headwater.sources.selecting import Selection
from tests.histories import Safeguard
from tests.integration.documents.memory import MemoryReader
from tests.integration.sources.deeds import DEEDS, DOCUMENTS, edit_unseen, link, swap, write
from tests.integration.sources.ground import Deed, Ground

HISTORIES = 150
#: A safeguard that is off must be noticed within so many histories.
PATIENCE = 600
_ALWAYS = settings(
    deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=False
)


class FolderTruth(RuleBasedStateMachine):
    """A folder to which anything happens, and a source that looks at it now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.ground = Ground()

    @rule(deeds=st.lists(DEEDS, min_size=1, max_size=4))
    def act(self, deeds: list[Deed]) -> None:
        for deed in deeds:
            self.ground.do(deed)

    @rule(young=st.booleans())
    def look(self, young: bool) -> None:
        self.ground.look(young=young)

    @rule(young=st.booleans(), during=st.lists(st.tuples(st.integers(0, 5), DEEDS), min_size=1, max_size=3))
    def look_while_it_changes(self, young: bool, during: Sequence[tuple[int, Deed]]) -> None:
        self.ground.look(young=young, during=during)

    @rule(young=st.booleans(), append=st.integers(0, 3), before=st.booleans())
    def die_while_looking(self, young: bool, append: int, before: bool) -> None:
        self.ground.look(young=young, dies=(append, before))

    @rule(deeds=st.lists(DEEDS, min_size=1, max_size=4))
    def act_while_it_is_down(self, deeds: list[Deed]) -> None:
        self.ground.end()
        self.act(deeds)

    def teardown(self) -> None:
        try:
            self.ground.check()
        finally:
            self.ground.close()


def play(count: int, *phases: Phase) -> None:
    run_state_machine_as_test(
        FolderTruth,
        settings=settings(
            _ALWAYS, max_examples=count, stateful_step_count=12, phases=phases, report_multiple_bugs=False
        ),
    )


def test_the_log_ends_equal_to_the_folder() -> None:
    play(HISTORIES, Phase.generate, Phase.shrink)


def _trust_size_and_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Entry, "tells_of", lambda it, found: (it.size, it.mtime_ns) == (found.size, found.mtime_ns))


def _trust_the_young(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(folder_module, "_YOUNG_NS", 0)


def _take_files_of_a_tick_for_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Entry, "tells_of", lambda it, found: (it.size, it.mtime_ns, it.ctime_ns) == found[1:4])


def _follow_links_inwards(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scan, "_open", lambda name, flags, at: os.open(name, os.O_RDONLY | flags, dir_fd=at))


def _follow_links_to_what_is_gone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scan, "_ways", lambda root, document: iter([root / document]))


def _keep_what_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Selection, "left_out", lambda it, path: not it._included(path))


def _take_any_answer(patch: pytest.MonkeyPatch) -> None:
    async def take(self: Reading) -> list[Outcome]:
        answers = self._reader.answers(0)
        return [Outcome(self._asked.pop(it.name), it.outcome) for it in answers if it.name in self._asked]

    patch.setattr(Reading, "take", take)


def _move_the_position_first(patch: pytest.MonkeyPatch) -> None:
    async def append(self: Any, step: Any, serial: int, known: dict[str, Entry]) -> bool:
        if step.entries:
            writer = self._writer._writer
            await writer.append([], SourcePosition("folder", serial, step.entries))
            await self._writer.append(step.changes)
        return bool(step.entries)

    patch.setattr(FolderSource, "_append", append)


def _edit_what_is_being_read(ground: Ground) -> None:
    ground.do(write("a.txt", DOCUMENTS[0], None))
    ground.look(young=False)
    with mock.patch.object(MemoryReader, "answers", return_value=[]):
        ground.do(write("a.txt", DOCUMENTS[1], None))
        ground.look(young=False)


SAFEGUARDS = [
    Safeguard("the kernel's own time stamp", "equal", _trust_size_and_time),
    Safeguard("what lies behind a link is gone", "equal", _follow_links_to_what_is_gone),
    Safeguard("what is ignored is deleted", "equal", _keep_what_is_ignored),
    Safeguard("changes and position move together", "equal", _move_the_position_first),
]


def _edit_within_a_tick(ground: Ground) -> None:
    ground.do(write("a.txt", "one", 0))
    ground.look(young=True)
    ground.do(edit_unseen("a.txt", "two"))


def _swap_what_was_made_within_a_tick(ground: Ground) -> None:
    ground.do(write("d/a.txt", "one", 0))
    ground.do(write("e/a.txt", "two", 0))
    ground.look(young=False)
    ground.do(swap("d", "e"))


def _link_what_was_seen_as_a_folder(ground: Ground) -> None:
    ground.do(write("d/a.txt", "one", 0))
    ground.look(young=False, during=[(0, link("d", "d"))])


#: What these guard against is so rare that a random history seldom shows it: here is one each.
RARE = [
    (Safeguard("what is young is read again", "equal", _trust_the_young), _edit_within_a_tick),
    (Safeguard("the last answer counts", "equal", _take_any_answer), _edit_what_is_being_read),
    (Safeguard("no link is followed", "outside", _follow_links_inwards), _link_what_was_seen_as_a_folder),
    (Safeguard("the inode", "equal", _take_files_of_a_tick_for_one), _swap_what_was_made_within_a_tick),
]


@pytest.mark.parametrize(("safeguard", "history"), RARE, ids=lambda it: getattr(it, "name", "").replace(" ", "-"))
def test_without_this_one_this_history_ends_otherwise(
    safeguard: Safeguard, history: Callable[[Ground], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for off in (False, True):
        if off:
            safeguard.off(monkeypatch)
        with closing(Ground()) as ground:
            history(ground)
            ground.settle()
            if off and safeguard.broken == "outside":
                with pytest.raises(AssertionError, match="outside the folder"):
                    ground.logged()
            else:
                assert (ground.logged() != ground.folder()) == off


@pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda it: it.name.replace(" ", "-"))
def test_without_this_safeguard_it_is_not(safeguard: Safeguard, monkeypatch: pytest.MonkeyPatch) -> None:
    safeguard.off(monkeypatch)
    with pytest.raises(AssertionError) as found:
        play(PATIENCE, Phase.generate)
    assert ("outside the folder" in str(found.value)) == (safeguard.broken == "outside")
