"""A reader for a test, and the wish for what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from headwater.documents.limits import Limits
from headwater.documents.port import Answer, Extracted
from headwater.documents.reader import SandboxedReader
from headwater.errors import Reject, Retry

Outcome = Extracted | Reject | Retry | None
Ask = Callable[[str, bytes], Outcome]
#: Small, so that what is endless ends soon; memory is what it is for users.
LIMITS = Limits(cpu_s=6, wall_s=60.0)


@pytest.fixture(scope="module")
def reader() -> Iterator[SandboxedReader]:
    made = SandboxedReader(LIMITS)
    yield made
    made.close()


@pytest.fixture
def ask(reader: SandboxedReader) -> Ask:
    """Ask and wait for the answer."""

    def ask(name: str, data: bytes) -> Outcome:
        reader.ask(name, None, lambda: data)
        (answer,) = answered(reader, 1)
        assert answer.name == name
        return answer.outcome

    return ask


def answered(reader: SandboxedReader, count: int) -> list[Answer]:
    """Wait for so many answers."""
    found: list[Answer] = []
    while len(found) < count:
        more = reader.answers(120)
        assert more, "no answer comes any more"
        found += more
    return found
