"""A reader for a test, and the wish for what it answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from headwater.documents.limits import Limits
from headwater.documents.port import Extracted
from headwater.documents.reader import SandboxedReader
from headwater.errors import Reject, Retry

Outcome = Extracted | Reject | Retry | None
Ask = Callable[[str, bytes], Outcome]
#: Small, so that what is endless ends soon; memory is what it is for users.
LIMITS = Limits(cpu_s=3, wall_s=60.0)


@pytest.fixture(scope="session", autouse=True)
def _extra() -> None:
    """Skip on a machine without the parsers; fail in CI."""
    for module in ("lxml", "mammoth", "openpyxl", "pptx", "pypdfium2", "puremagic", "charset_normalizer"):
        if os.environ.get("CI"):
            __import__(module)
        else:
            pytest.importorskip(module)


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


def answered(reader: SandboxedReader, count: int) -> list:  # type: ignore[type-arg]  # of Answer
    found = []
    while len(found) < count:
        more = reader.answers(120)
        assert more, "no answer comes any more"
        found += more
    return found
