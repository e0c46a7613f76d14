"""OpenAI's own client against the faulty provider: what users rehearse with speaks as the service does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import openai
import pytest

from headwater.rehearsal.record import digest_of
from tests.integration.provider.conftest import Connect
from tests.provider.provider import Provider

Start = Callable[..., Provider]
MODEL = "fake-embedding"
TEXTS = ["red fish", "blue fish", "a lighthouse"]


def statuses(provider: Provider) -> list[int | None]:
    return [entry.status for entry in provider.record.entries]


def test_a_list_is_embedded_as_base64_as_the_client_asks_unless_told_otherwise(
    provider: Start, connect: Connect
) -> None:
    started = provider(keys=["sesame"])
    client = connect(started)
    found = client.embeddings.create(model=MODEL, input=TEXTS)
    assert (found.object, found.model) == ("list", MODEL)
    assert [item.index for item in found.data] == [0, 1, 2]
    assert {len(item.embedding) for item in found.data} == {384}
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (8, 8)  # a token for four characters
    assert started.record.embedded() == dict.fromkeys(map(digest_of, TEXTS), 1)

    raw = client.embeddings.with_raw_response.create(model=MODEL, input=TEXTS)
    assert isinstance(raw.http_response.json()["data"][0]["embedding"], str), "it was no base64"
    floats = client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")
    for item, other in zip(found.data, floats.data, strict=True):
        assert np.allclose(item.embedding, other.embedding)


def test_one_text_is_a_list_of_one(provider: Start, connect: Connect) -> None:
    client = connect(provider())
    one = client.embeddings.create(model=MODEL, input=TEXTS[1])
    many = client.embeddings.create(model=MODEL, input=TEXTS)
    assert one.data[0].embedding == many.data[1].embedding


def test_fewer_dimensions_are_the_first_ones_at_length_one(provider: Start, connect: Connect) -> None:
    client = connect(provider())
    whole = np.array(client.embeddings.create(model=MODEL, input=TEXTS[0]).data[0].embedding)
    short = client.embeddings.create(model=MODEL, input=TEXTS[0], dimensions=16).data[0].embedding
    assert np.allclose(short, whole[:16] / np.linalg.norm(whole[:16]), atol=1e-6)


def test_the_asynchronous_client_is_answered_at_once_by_as_many_as_ask(provider: Start, connect: Connect) -> None:
    started = provider()

    async def ask() -> list[list[float]]:
        http = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with openai.AsyncOpenAI(base_url=f"{started.url}/v1", api_key="any", http_client=http) as client:
            answers = await asyncio.gather(*(client.embeddings.create(model=MODEL, input=text) for text in TEXTS))
            return [answer.data[0].embedding for answer in answers]

    together = connect(started).embeddings.create(model=MODEL, input=TEXTS)
    assert asyncio.run(ask()) == [item.embedding for item in together.data]


def test_items_in_another_order_carry_their_index(provider: Start, connect: Connect) -> None:
    client = connect(provider(phases=[{"from_request": 1, "behaviour": {"shares": {"reordered": 1}}}]))
    right = client.embeddings.create(model=MODEL, input=TEXTS).data
    turned = client.embeddings.create(model=MODEL, input=TEXTS).data
    assert [item.index for item in turned] != [0, 1, 2]
    assert {item.index: item.embedding for item in turned} == {item.index: item.embedding for item in right}


@pytest.mark.parametrize(
    ("fault", "kind", "status", "code"),
    [
        ("bad_key", openai.AuthenticationError, 401, "invalid_api_key"),
        ("no_model", openai.NotFoundError, 404, "model_not_found"),
        ("storm", openai.RateLimitError, 429, "rate_limit_exceeded"),
        ("no_quota", openai.RateLimitError, 429, "insufficient_quota"),
        ("server_error", openai.InternalServerError, 500, None),
        ("bad_gateway", openai.InternalServerError, 502, None),
        ("unavailable", openai.InternalServerError, 503, None),
    ],
)
def test_what_goes_wrong_is_the_error_that_the_client_has_for_it(
    provider: Start, connect: Connect, fault: str, kind: type[openai.APIStatusError], status: int, code: str | None
) -> None:
    client = connect(provider(behaviour={"shares": {fault: 1}}))
    with pytest.raises(kind) as raised:
        client.embeddings.create(model=MODEL, input=TEXTS)
    assert (raised.value.status_code, raised.value.code) == (status, code)


@pytest.mark.parametrize(
    ("ask", "status", "says"),
    [
        ({"input": [*TEXTS, ""]}, 400, "input[3]"),
        ({"input": []}, 400, "input"),
        ({"input": ["tea", "arsenic"]}, 400, "input[1]"),
        ({"input": "tea", "dimensions": 4096}, 400, "dimensions"),
    ],
)
def test_a_bad_input_is_a_bad_request_that_names_the_place(
    provider: Start, connect: Connect, ask: dict[str, Any], status: int, says: str
) -> None:
    client = connect(provider(behaviour={"poison": ["arsenic"]}))
    with pytest.raises(openai.BadRequestError) as raised:
        client.embeddings.create(model=MODEL, **ask)
    assert (raised.value.status_code, raised.value.param) == (status, says)
    assert raised.value.type == "invalid_request_error"


def test_a_wrong_key_and_a_wrong_model_are_told_apart(provider: Start, connect: Connect) -> None:
    started = provider(keys=["sesame"])
    with pytest.raises(openai.AuthenticationError):
        connect(started, api_key="mustard").embeddings.create(model=MODEL, input=TEXTS)
    with pytest.raises(openai.NotFoundError):
        connect(started).embeddings.create(model="another", input=TEXTS)


@pytest.mark.parametrize("said", ["milliseconds", "seconds", "date"])
def test_a_limit_says_when_to_come_again_and_the_client_does(provider: Start, connect: Connect, said: str) -> None:
    # Of its own accord the client would be back after half a second and after another one, both times in vain.
    started = provider(limits=[{"window_s": 2, "requests": 1}], retry_after=said)
    client = connect(started, max_retries=2)
    client.embeddings.create(model=MODEL, input=TEXTS)
    client.embeddings.create(model=MODEL, input=TEXTS)
    assert statuses(started) == [200, 429, 200]


def test_an_empty_account_is_not_asked_again(provider: Start, connect: Connect) -> None:
    started = provider(behaviour={"shares": {"no_quota": 1}})
    with pytest.raises(openai.RateLimitError):
        connect(started, max_retries=2).embeddings.create(model=MODEL, input=TEXTS)
    assert statuses(started) == [429]


def test_a_failure_that_may_pass_is_asked_again(provider: Start, connect: Connect) -> None:
    started = provider(phases=[{"until_request": 1, "behaviour": {"shares": {"server_error": 1}}}])
    connect(started, max_retries=1).embeddings.create(model=MODEL, input=TEXTS)
    assert statuses(started) == [500, 200]


@pytest.mark.parametrize(("fault", "kind"), [("timeout", openai.APITimeoutError), ("cut", openai.APIConnectionError)])
def test_an_answer_that_does_not_come_is_a_failed_connection(
    provider: Start, connect: Connect, fault: str, kind: type[openai.APIConnectionError]
) -> None:
    started = provider(behaviour={"shares": {fault: 1}})
    with pytest.raises(kind):
        connect(started, timeout=0.5).embeddings.create(model=MODEL, input=TEXTS)
    assert started.record.embedded(), "the work was not done"


def test_the_limits_of_the_account_stand_in_the_headers(provider: Start, connect: Connect) -> None:
    started = provider(limits=[{"window_s": 60, "requests": 10, "tokens": 1000}])
    headers = connect(started).embeddings.with_raw_response.create(model=MODEL, input=TEXTS).headers
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("10", "9")
    assert (headers["x-ratelimit-limit-tokens"], headers["x-ratelimit-remaining-tokens"]) == ("1000", "992")
