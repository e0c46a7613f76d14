"""OpenAI's batch interface against the contract of the port: over a script, and over the faulty provider's process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from itertools import count
from typing import cast

import pytest

from headwater.embedding.providers import registry
from headwater.embedding.providers.options import ProviderOptions
from headwater.testing.batches_contract import BatchEmbedder, BatchesContract, Make
from tests.provider.provider import Provider
from tests.unit.embedding.providers.batch_service import POISON, BatchService
from tests.unit.embedding.providers.services import KEY, serving

FULL = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "param": None, "line": None}


def made(url: str, key: str, model: str = "some-model") -> Make:
    options = ProviderOptions(model="", url=f"{url}/v1", key=key, document_prefix="passage: ", query_prefix="query: ")
    return lambda: cast("BatchEmbedder", registry.embedder(f"openai/{model}", options))


class TestOverAScript(BatchesContract):
    secret = KEY
    poison = POISON

    @pytest.fixture(autouse=True)
    def _serving(self) -> Iterator[None]:
        with ExitStack() as self.started:
            yield

    def service(self, *, slow: bool, full: bool) -> Make:
        status = "failed" if full else "in_progress" if slow else "completed"
        return made(self.started.enter_context(serving(BatchService(status, [FULL]))).url, KEY)


@pytest.fixture(scope="module")
def providers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Start a faulty provider for each way in which it works on jobs, once."""
    with ExitStack() as started:

        @cache
        def url_of(**batch: float) -> str:
            plan = {"batch": batch, "behaviour": {"poison": [POISON]}}
            folder = tmp_path_factory.mktemp("batches") / "provider"
            return started.enter_context(closing(Provider(folder, plan))).url

        yield url_of


class TestOverTheFaultyProvider(BatchesContract):
    """Every key is an account of its own there, and so each test has a service without any job."""

    secret = KEY
    poison = POISON
    keys = count()

    @pytest.fixture(autouse=True)
    def _providers(self, providers: Callable[..., str]) -> None:
        self.url_of = providers

    def service(self, *, slow: bool, full: bool) -> Make:
        ways = {"seconds": 3600.0 if slow else 0.1} | ({"queue_tokens": 1} if full else {})
        return made(self.url_of(**ways), f"{KEY}-{next(self.keys)}", "fake-embedding")
