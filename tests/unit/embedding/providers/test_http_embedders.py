"""Each provider's requests, answers and description, against a service that speaks as it does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
import pytest

from headwater.embedding.port import Allowance, Description, Embedded, Embedder, Purpose
from headwater.embedding.providers import registry
from headwater.embedding.providers.options import ProviderOptions
from headwater.errors import HeadwaterError, Overloaded, RateLimited, Reject, Retry, TooLong, Unreachable
from tests.unit.embedding.providers import services
from tests.unit.embedding.providers.services import DIGEST, DIMENSIONS, INFO, KEY, Asked, Reply, Script, reply, serving

T = TypeVar("T")


def use(model: str, url: str, work: Callable[[Embedder], Awaitable[T]], **options: Any) -> T:
    async def scenario() -> T:
        embedder = registry.embedder(model, ProviderOptions(model="", url=url, **options))
        try:
            await embedder.open()
            return await work(embedder)
        finally:
            await embedder.close()

    return asyncio.run(scenario())


def embed(model: str, url: str, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT, **options: Any) -> Embedded:
    return use(model, url, lambda embedder: embedder.embed(texts, purpose), **options)


def describe(model: str, url: str, **options: Any) -> Description:
    async def work(embedder: Embedder) -> Description:
        return embedder.describe()

    return use(model, url, work, **options)


def failure(call: Callable[[], object]) -> HeadwaterError:
    with pytest.raises(HeadwaterError) as error:
        call()
    assert KEY not in f"{error.value} {error.value!r}"
    return error.value


def sorted_rows(answer: Embedded) -> np.ndarray:
    return answer.vectors[np.argsort(answer.index)]


#: Model, path below the service's address, script, and the place that is asked.
SPOKEN = [
    ("openai/m", "/v1", services.openai, "/v1/embeddings"),
    ("azure/m", "/openai/deployments/m?api-version=2024-10-21", services.openai, None),
    ("tei/BAAI/bge-small-en-v1.5", "", services.tei, "/embed"),
    ("ollama/nomic-embed-text", "/", services.ollama, "/api/embed"),
    ("cohere/m", "", services.cohere, "/v2/embed"),
    ("voyage/m", "/v1", services.voyage, "/v1/embeddings"),
]
everyone = pytest.mark.parametrize(("model", "path", "script", "place"), SPOKEN, ids=[it[0] for it in SPOKEN])


@everyone
def test_texts_become_vectors(model: str, path: str, script: Script, place: str | None) -> None:
    with serving(script) as service:
        answer = embed(model, service.url + path, ["a b", "", "c"], key=KEY)
        assert service.asked[-1].path == (place or "/openai/deployments/m/embeddings?api-version=2024-10-21")
        body = service.bodies[-1]
        assert (body.get("input") or body.get("inputs") or body["texts"]) == ["a b", "c"]
    expected = services.vectors(["a b", "c"])
    assert np.array_equal(sorted_rows(answer)[[0, 2]], expected)
    assert np.linalg.norm(sorted_rows(answer)[1]) == pytest.approx(1)
    assert answer.tokens > 0


@everyone
def test_dimensions_are_learnt_once(model: str, path: str, script: Script, place: str | None) -> None:
    with serving(script) as service:

        async def work(embedder: Embedder) -> Description:
            asked = len(service.asked)
            await embedder.open()
            assert len(service.asked) == asked
            return embedder.describe()

        assert use(model, service.url + path, work, key=KEY).dimensions == DIMENSIONS


@everyone
def test_the_key_goes_where_the_service_looks_for_it(model: str, path: str, script: Script, place: str | None) -> None:
    with serving(script) as service:
        embed(model, service.url + path, ["a"], key=f"{KEY}\n")
        for asked in service.asked:
            assert asked.headers.get("api-key") == (KEY if model.startswith("azure") else None)
            assert asked.headers.get("authorization") == (None if model.startswith("azure") else f"Bearer {KEY}")


@everyone
def test_what_vectors_depend_on_is_in_the_fingerprint(model: str, path: str, script: Script, place: str | None) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"revision": "2"},
        {"query_prefix": "q: "},
        {"document_prefix": "q: "},
    ]
    with serving(script) as service:
        found = [describe(model, service.url + path, key=KEY, **change).fingerprint for change in changes]
        # The address, the key and the time-out are none of it.
        again = describe(model, service.url + path, key="another", timeout_s=5.0).fingerprint
    assert len(set(found)) == len(changes)
    assert again == found[0]


@everyone
def test_the_prefix_of_the_purpose_is_spoken(model: str, path: str, script: Script, place: str | None) -> None:
    with serving(script) as service:
        options: dict[str, Any] = {"key": KEY, "query_prefix": "query: ", "document_prefix": "passage: "}
        query = embed(model, service.url + path, ["x"], Purpose.QUERY, **options)
        document = embed(model, service.url + path, ["x"], **options)
    assert np.array_equal(query.vectors, services.vectors(["query: x"]))
    assert np.array_equal(document.vectors, services.vectors(["passage: x"]))


@everyone
def test_nothing_is_ever_cut(model: str, path: str, script: Script, place: str | None) -> None:
    with serving(script) as service:
        error = failure(lambda: embed(model, service.url + path, ["word " * 6000], key=KEY))
        body = service.bodies[-1]
    assert isinstance(error, Reject)
    assert body.get("truncate", False) in (False, "NONE")
    assert body.get("truncation", False) is False


@everyone
def test_only_empty_texts_ask_nobody(model: str, path: str, script: Script, place: str | None) -> None:
    with serving(script) as service:

        async def work(embedder: Embedder) -> tuple[Embedded, int]:
            before = len(service.asked)
            answer = await embedder.embed(["", " \n", ""])
            return answer, len(service.asked) - before

        answer, calls = use(model, service.url + path, work, key=KEY)
    assert (calls, answer.tokens, answer.index) == (0, 0, (0, 1, 2))
    assert np.allclose(np.linalg.norm(answer.vectors, axis=1), 1)
    assert np.array_equal(answer.vectors[0], answer.vectors[2])


def test_the_index_of_a_refusal_is_that_of_the_text_that_was_given() -> None:
    def script(asked: Asked) -> Reply:
        error = {"message": "Invalid 'input[1]': too long", "type": "invalid_request_error"}
        return reply({"error": error}, 400) if "long" in asked.body["input"] else services.openai(asked)

    with serving(script) as service:
        error = failure(lambda: embed("openai/m", service.url, ["a", "", "", "long"]))
    assert isinstance(error, Reject)
    assert error.index == 3


def test_a_lone_surrogate_is_refused_before_it_is_sent() -> None:
    with serving(services.openai) as service:
        error = failure(lambda: embed("openai/m", service.url, ["a", "", "\ud83d"]))
        assert len(service.asked) == 1
    assert isinstance(error, Reject)
    assert error.index == 2


def test_what_a_service_says_of_its_limits_comes_with_the_vectors() -> None:
    def script(asked: Asked) -> Reply:
        status, body, headers = services.openai(asked)
        tokens = {"limit": "1000", "remaining": "400", "reset": "6m0s"}
        more = {f"X-RateLimit-{name}-Tokens": value for name, value in tokens.items()}
        return Reply(status, body, {**headers, **more, "x-ratelimit-remaining-requests": "-1"})

    with serving(script) as service:
        answer = embed("openai/m", service.url, ["a", "b"])
    assert (answer.requests_left, answer.tokens_left) == (Allowance(), Allowance(1000, 400, 360.0))
    assert answer.tokens == 6


def test_large_answers_are_read_on_a_thread() -> None:
    texts = [f"text {number}" for number in range(256)]

    def script(asked: Asked) -> Reply:
        wide = np.repeat(services.vectors(asked.body["input"]), 32, axis=1)
        data = [{"index": index, "embedding": row.tolist()} for index, row in enumerate(wide)]
        return reply({"data": data})

    with serving(script) as service:
        answer = embed("openai/m", service.url, texts)
    assert answer.vectors.shape == (256, 32 * DIMENSIONS)


# --- OpenAI


def test_openais_own_models_are_known_without_asking() -> None:
    options = ProviderOptions(model="", key=KEY)
    small = registry.embedder("openai/text-embedding-3-small", options).describe()
    assert (small.dimensions, small.max_texts) == (1536, 2048)
    assert (small.max_text_tokens, small.max_call_tokens) == (8192, 300_000)
    short = msgspec.structs.replace(options, dimensions=256)
    shortened = registry.embedder("openai/text-embedding-3-small", short).describe()
    assert shortened.dimensions == 256
    assert shortened.fingerprint != small.fingerprint


def test_dimensions_are_asked_for_only_where_they_are_set() -> None:
    with serving(services.openai) as service:
        embed("openai/m", service.url, ["a"])
        embed("openai/m", service.url, ["a"], dimensions=DIMENSIONS)
        assert [body.get("dimensions") for body in service.bodies] == [None, None, DIMENSIONS]
        assert {body["encoding_format"] for body in service.bodies} == {"base64"}


def test_limits_can_be_named_for_a_server_that_is_not_known() -> None:
    with serving(services.openai) as service:
        found = describe("openai/m", service.url, max_texts=7, max_text_tokens=512, max_call_tokens=4096)
    assert (found.max_texts, found.max_text_tokens, found.max_call_tokens) == (7, 512, 4096)


def test_a_server_that_knows_no_base64() -> None:
    def script(asked: Asked) -> Reply:
        del asked.body["encoding_format"]
        return services.openai(asked)

    with serving(script) as service:
        answer = embed("openai/m", service.url, ["a", "b"])
    assert np.array_equal(sorted_rows(answer), services.vectors(["a", "b"]))


def test_describing_comes_after_opening() -> None:
    embedder = registry.embedder("openai/m", ProviderOptions(model="", url="http://127.0.0.1:1"))
    with pytest.raises(RuntimeError, match="open"):
        embedder.describe()


# --- Cohere and Voyage


@pytest.mark.parametrize(
    ("model", "script", "expected"),
    [
        ("cohere/m", services.cohere, {Purpose.DOCUMENT: "search_document", Purpose.QUERY: "search_query"}),
        ("voyage/m", services.voyage, {Purpose.DOCUMENT: "document", Purpose.QUERY: "query"}),
    ],
)
def test_input_types_stand_for_the_purposes(model: str, script: Script, expected: dict[Purpose, str]) -> None:
    with serving(script) as service:
        for purpose, kind in expected.items():
            embed(model, service.url, ["a"], purpose, dimensions=DIMENSIONS)
            assert service.bodies[-1]["input_type"] == kind
            assert service.bodies[-1]["output_dimension"] == DIMENSIONS


def test_known_models_of_cohere_and_voyage() -> None:
    options = ProviderOptions(model="", key=KEY)
    cohere = registry.embedder("cohere/embed-english-v3.0", options).describe()
    assert (cohere.dimensions, cohere.max_texts, cohere.max_text_tokens) == (1024, 96, 512)
    voyage = registry.embedder("voyage/voyage-3.5-lite", options).describe()
    assert (voyage.dimensions, voyage.max_texts, voyage.max_call_tokens) == (1024, 1000, 1_000_000)


def test_cohere_has_a_status_of_its_own_for_keys() -> None:
    with serving(services.cohere) as service:
        service.always({"message": "invalid token"}, 498)
        error = failure(lambda: embed("cohere/m", service.url, ["a"], key=KEY))
    assert isinstance(error, Unreachable)
    assert "key is refused" in error.cause


def test_a_month_that_is_used_up_is_no_rate_limit() -> None:
    message = "You are using a Trial key, which is limited to {} API calls / {}."
    with serving(services.cohere) as service:
        service.always({"message": message.format(1000, "month")}, 429)
        monthly = failure(lambda: embed("cohere/m", service.url, ["a"], key=KEY))
        service.always({"message": message.format(20, "minute")}, 429)
        minutely = failure(lambda: embed("cohere/m", service.url, ["a"], key=KEY))
    assert isinstance(monthly, Unreachable)
    assert isinstance(minutely, RateLimited)


# --- TEI


def test_tei_configures_itself() -> None:
    with serving(services.tei) as service:
        found = describe("tei/BAAI/bge-small-en-v1.5", service.url)
    assert (found.max_texts, found.max_text_tokens, found.dimensions) == (16, 512, DIMENSIONS)


@pytest.mark.parametrize(
    "change", [{"model_sha": "other"}, {"model_sha": None}, {"model_dtype": "float32"}, {"model_id": "other/model"}]
)
def test_another_state_of_a_teis_model_is_another_fingerprint(change: dict[str, Any]) -> None:
    def script(asked: Asked) -> Reply:
        return reply({**INFO, **change}) if asked.path == "/info" else services.tei(asked)

    with serving(services.tei) as service:
        before = describe("tei", service.url)
        service.script = script
        assert describe("tei", service.url).fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("info", "word"),
    [
        ({**INFO, "model_id": "other/model"}, "it serves 'other/model'"),
        ({**INFO, "model_type": {"reranker": {"id2label": {}}}}, "reranker"),
        ({"error": "no"}, "no Text Embeddings Inference"),
        (b"<html>", "no Text Embeddings Inference"),
    ],
)
def test_what_is_no_tei_with_this_model(info: Any, word: str) -> None:
    with serving(services.tei) as service:
        service.always(info)
        error = failure(lambda: describe("tei/BAAI/bge-small-en-v1.5", service.url))
    assert isinstance(error, Unreachable)
    assert word in error.cause


def test_a_tei_that_serves_a_folder_is_taken_at_the_users_word() -> None:
    def script(asked: Asked) -> Reply:
        return reply({**INFO, "model_id": "/data/model"}) if asked.path == "/info" else services.tei(asked)

    with serving(script) as service:
        assert describe("tei/BAAI/bge-small-en-v1.5", service.url).name == "tei/BAAI/bge-small-en-v1.5"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (424, {"error": "backend", "error_type": "Backend"}, Overloaded),
        (429, {"error": "Model is overloaded", "error_type": "Overloaded"}, Overloaded),
        (429, {"error": "a gateway's own limit"}, RateLimited),
        (503, {"error": "unhealthy", "error_type": "Unhealthy"}, Overloaded),
        (413, {"error": "must have less than 512 tokens", "error_type": "Validation"}, TooLong),
        (422, {"error": "tokenizer", "error_type": "Tokenizer"}, Reject),
    ],
)
def test_teis_refusals(status: int, body: Any, kind: type[HeadwaterError]) -> None:
    def script(asked: Asked) -> Reply:
        poison = asked.path == "/embed" and asked.body["inputs"] == ["x"]
        return reply(body, status) if poison else services.tei(asked)

    with serving(script) as service:
        assert type(failure(lambda: embed("tei", service.url, ["x"]))) is kind


# --- Ollama


def test_ollama_says_what_a_tag_stands_for() -> None:
    moved = [DIGEST]

    def script(asked: Asked) -> Reply:
        if asked.path == "/api/tags":
            return reply({"models": [{"name": "nomic-embed-text:latest", "digest": moved[-1]}]})
        return services.ollama(asked)

    with serving(script) as service:
        before = describe("ollama/nomic-embed-text", service.url)
        assert before.max_text_tokens == 2048
        moved.append("another")
        assert describe("ollama/nomic-embed-text", service.url).fingerprint != before.fingerprint


def test_a_model_that_ollama_lacks() -> None:
    with serving(services.ollama) as service:
        error = failure(lambda: describe("ollama/other", service.url))
        assert isinstance(error, Unreachable)
        assert "not found, try pulling it first" in error.cause
        service.always({"models": []})
        error = failure(lambda: describe("ollama/nomic-embed-text", service.url))
        assert "ollama pull nomic-embed-text:latest" in str(error)
        service.always(b"<html>")
        assert "no Ollama" in str(failure(lambda: describe("ollama/nomic-embed-text", service.url)))


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "the input length exceeds the context length", Reject),
        (500, "the input length exceeds the context length", Reject),
        (500, "input length exceeds maximum context length", Reject),
        (500, '{"error":{"code":400,"type":"exceed_context_size_error"}}', Reject),
        (500, "failed to encode response: json: unsupported value: NaN", Reject),
        (500, "llama runner process has terminated", Retry),
        (503, "server busy, please try again. maximum pending requests exceeded", Overloaded),
    ],
)
def test_ollamas_refusals(status: int, message: str, kind: type[HeadwaterError]) -> None:
    def script(asked: Asked) -> Reply:
        poison = asked.path == "/api/embed" and asked.body["input"] == ["x"]
        return reply({"error": message}, status) if poison else services.ollama(asked)

    with serving(script) as service:
        assert type(failure(lambda: embed("ollama/nomic-embed-text", service.url, ["x"]))) is kind
