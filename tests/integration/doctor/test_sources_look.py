"""Looking at a source folder ends in time, whatever lies in it."""

from __future__ import annotations

from pathlib import Path

from headwater.clock import SystemClock
from headwater.doctor.sources import Reading
from headwater.doctor.sources_look import look_at_folder
from headwater.sources.selecting import Choice


class Ticking(SystemClock):
    """A clock that goes on by a second whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


def test_folders_without_files_are_not_looked_through_to_the_end(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / str(number)).mkdir()
    reading = Reading("a", str(tmp_path), Choice(("**/*.md",)))
    found = look_at_folder(reading, SystemClock())
    assert (found.folders, found.whole) == (101, True)
    found = look_at_folder(reading, Ticking())
    assert found.folders < 10
    assert not found.whole
