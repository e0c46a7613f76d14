"""The fixture `connect`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest

from tests.provider.provider import Provider

Connect = Callable[..., openai.OpenAI]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make clients: `connect(provider, **what the client takes)`. They go by no proxy, and retry only if told to."""
    with ExitStack() as made:

        def client(provider: Provider, **more: Any) -> openai.OpenAI:
            options = {"api_key": "sesame", "max_retries": 0, **more}
            http = openai.DefaultHttpxClient(trust_env=False)
            return made.enter_context(openai.OpenAI(base_url=f"{provider.url}/v1", http_client=http, **options))

        yield client
