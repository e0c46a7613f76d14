"""The fixture `provider`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.provider.provider import Provider


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Callable[..., Provider]]:
    """Start faulty providers: `provider(**plan)`, with what `headwater.rehearsal.plan.Plan` takes."""
    numbers = count()
    with ExitStack() as started:

        def start(**plan: Any) -> Provider:
            return started.enter_context(closing(Provider(tmp_path / f"provider-{next(numbers)}", plan)))

        yield start
