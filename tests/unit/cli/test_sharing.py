"""What `run` does when the sharing of an account ends by itself: without a share nothing would go, and nobody know."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from headwater.cli.failures import Exit
from headwater.cli.run import STOPPED, Stopper, _sharing
from headwater.errors import Halt


class Ended:
    """A Borrower whose `run` ends with an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.left = False

    async def run(self) -> None:
        raise self._error

    async def leave(self) -> None:
        self.left = True


class Site:
    def __init__(self, borrower: Ended) -> None:
        self._borrower = borrower

    def borrowers(self) -> list[Ended]:
        return [self._borrower]

    def spending_watches(self) -> list[Any]:
        return []


class Worker:
    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    def stop(self) -> None:
        self.stopped.set()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Halt("log-replaced", "the log is another one", "Start anew"), Exit.GUARANTEE, "halted: log-replaced"),
        (RuntimeError("a defect"), Exit.FAILED, "RuntimeError: a defect"),
    ],
)
def test_the_workers_are_stopped_and_it_is_said_why(
    error: Exception, code: Exit, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    borrower = Ended(error)

    async def main() -> int:
        worker = Worker()
        stopper = Stopper([cast("Any", worker)])
        async with asyncio.timeout(10), _sharing(cast("Any", Site(borrower)), stopper):
            await worker.stopped.wait()
        return stopper.exit_code([STOPPED], once=False)

    assert asyncio.run(main()) == code
    assert said in capsys.readouterr().err
    assert borrower.left
