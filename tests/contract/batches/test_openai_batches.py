"""OpenAI's batch interface against the contract of the port, over a service that speaks as it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import cast

import pytest

from headwater.embedding.providers import registry
from headwater.embedding.providers.options import ProviderOptions
from headwater.testing.batches_contract import BatchEmbedder, BatchesContract, Make
from tests.unit.embedding.providers.batch_service import POISON, BatchService
from tests.unit.embedding.providers.services import KEY, serving


def made(url: str) -> Make:
    given = ProviderOptions(model="", url=url, key=KEY, document_prefix="passage: ", query_prefix="query: ")
    return lambda: cast("BatchEmbedder", registry.embedder("openai/some-model", given))


class TestOverAScript(BatchesContract):
    secret = KEY
    poison = POISON

    @pytest.fixture(autouse=True)
    def _serving(self) -> Iterator[None]:
        with ExitStack() as started:
            self.start: Callable[[BatchService], str] = lambda it: started.enter_context(serving(it)).url
            yield

    def service(self, *, slow: bool, full: bool) -> Make:
        script = BatchService("failed" if full else "in_progress" if slow else "completed")
        script.errors = [{"code": "token_limit_exceeded", "message": "Limit: 1, enqueued", "param": None, "line": None}]
        return made(f"{self.start(script)}/v1")
