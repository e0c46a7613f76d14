"""Where the demo's story is told: on stderr, with a bar on a terminal and plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn


class ConsoleStage:
    """A Stage on stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        columns = (TextColumn("  worker"), BarColumn(), MofNCompleteColumn(), TextColumn("changes settled"))
        self._progress = Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        )
        self._task: TaskID | None = None

    def __repr__(self) -> str:
        return f"ConsoleStage({self._console!r})"

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def act(self, title: str) -> None:
        self._console.print(f"\n{title}", style="bold", markup=False, soft_wrap=True)

    def line(self, text: str) -> None:
        self._console.print(f"  {text}", markup=False, soft_wrap=True)

    def progress(self, done: int, total: int) -> None:
        if self._task is None:
            self._task = self._progress.add_task("", total=total)
        self._progress.update(self._task, completed=done, total=total)
        if done >= total:
            self._progress.remove_task(self._task)
            self._task = None
