"""Every embedder of Headwater's own against the contract: the local ones, and each service as its provider speaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headwater.embedding.port import Embedder
from headwater.embedding.providers import registry
from headwater.embedding.providers.options import ProviderOptions
from headwater.testing.embedder_contract import EmbedderContract
from tests import minilm
from tests.unit.embedding.providers import services
from tests.unit.embedding.providers.services import KEY, Script, Service, serving


class TestHash(EmbedderContract):
    def embedder(self) -> Embedder:
        return registry.embedder("hash")


class TestStatic(EmbedderContract):
    def embedder(self) -> Embedder:
        return registry.embedder("static")


class TestOnnx(EmbedderContract):
    @pytest.fixture(autouse=True)
    def _weights(self) -> None:
        minilm.weights()

    def embedder(self) -> Embedder:
        return registry.embedder("onnx/all-MiniLM-L6-v2")


class OverHttp(EmbedderContract):
    """A provider against a service that speaks as it does."""

    model: str
    script: Script
    secret = KEY
    path = ""
    dimensions: int | None = None
    service: Service

    @pytest.fixture(autouse=True)
    def _serving(self) -> Iterator[None]:
        with serving(type(self).script) as self.service:
            yield

    def embedder(self) -> Embedder:
        options = ProviderOptions(
            model="",
            url=self.service.url + self.path,
            key=KEY,
            dimensions=self.dimensions,
            query_prefix="query: ",
            document_prefix="passage: ",
        )
        return registry.embedder(self.model, options)


class TestOpenAi(OverHttp):
    model = "openai/some-model"
    script = staticmethod(services.openai)
    path = "/v1"


class TestAzure(OverHttp):
    model = "azure/deployment"
    script = staticmethod(services.openai)
    path = "/openai/deployments/deployment?api-version=2024-10-21"


class TestTei(OverHttp):
    model = "tei/BAAI/bge-small-en-v1.5"
    script = staticmethod(services.tei)


class TestOllama(OverHttp):
    model = "ollama/nomic-embed-text"
    script = staticmethod(services.ollama)


class TestCohere(OverHttp):
    model = "cohere/embed-v4.0"
    script = staticmethod(services.cohere)
    dimensions = services.DIMENSIONS


class TestVoyage(OverHttp):
    model = "voyage/voyage-3.5"
    script = staticmethod(services.voyage)
    path = "/v1"
    dimensions = services.DIMENSIONS
