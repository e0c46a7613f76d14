"""The real process, called over HTTP: every fault as a client sees it, and the record of it."""

from __future__ import annotations

import math
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import pytest

from headwater.rehearsal.plan import Fault, WindowKind
from headwater.rehearsal.record import digest_of
from tests.provider.provider import Provider

Start = Callable[..., Provider]


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=30, trust_env=False) as made:
        yield made


def post(client: httpx2.Client, provider: Provider, *texts: str, **more: Any) -> httpx2.Response:
    key = {"authorization": f"Bearer {more.pop('key')}"} if "key" in more else {}
    body = {"model": "fake-embedding", "input": list(texts), **more}
    return client.post(f"{provider.url}/v1/embeddings", json=body, headers=key)


def embed(client: httpx2.Client, provider: Provider, *texts: str, **more: Any) -> httpx2.Response:
    return client.post(f"{provider.url}/embed", json={"inputs": list(texts), **more})


def vectors(answer: httpx2.Response) -> npt.NDArray[np.float32]:
    items = sorted(answer.json()["data"], key=lambda item: int(item["index"]))
    return np.stack([np.frombuffer(b64decode(item["embedding"]), dtype="<f4") for item in items])


def test_it_answers_in_the_shape_of_openai(provider: Start, client: httpx2.Client) -> None:
    started = provider()
    floats = post(client, started, "red fish", "blue fish").json()
    assert floats["object"] == "list"
    assert floats["model"] == "fake-embedding"
    assert floats["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert [item["index"] for item in floats["data"]] == [0, 1]
    coded = vectors(post(client, started, "red fish", "blue fish", encoding_format="base64"))
    assert np.allclose(coded, [item["embedding"] for item in floats["data"]])
    one = client.post(f"{started.url}/v1/embeddings", json={"model": "fake-embedding", "input": "blue fish"})
    assert np.allclose(coded[1], one.json()["data"][0]["embedding"])
    short = vectors(post(client, started, "red fish", encoding_format="base64", dimensions=16))
    assert short.shape == (1, 16)
    assert float(np.linalg.norm(short)) == pytest.approx(1, abs=1e-6)
    assert started.record.embedded() == {digest_of("red fish"): 3, digest_of("blue fish"): 3}


def test_it_answers_in_the_shape_of_tei(provider: Start, client: httpx2.Client) -> None:
    started = provider(max_texts=2, max_text_tokens=10, revision="abc")
    assert client.get(f"{started.url}/health").status_code == 200
    info = client.get(f"{started.url}/info").json()
    assert (info["model_id"], info["model_sha"], info["max_client_batch_size"]) == ("fake-embedding", "abc", 2)
    assert (info["max_input_length"], info["auto_truncate"]) == (10, True)
    answer = embed(client, started, "red fish", "x" * 100)
    assert answer.headers["x-compute-tokens"] == "12"
    cut = embed(client, started, "x" * 40).json()
    assert np.allclose(answer.json()[1], cut[0])
    refused = embed(client, started, "x" * 100, truncate=False)
    assert (refused.status_code, refused.json()["error_type"]) == (413, "Validation")
    assert embed(client, started, "a", "b", "c").status_code == 413
    assert client.get(f"{started.url}/elsewhere").status_code == 404


def test_bad_requests_get_errors_that_say_what_is_wrong(provider: Start, client: httpx2.Client) -> None:
    started = provider(keys=["sesame"], max_texts=3, max_text_tokens=10)
    assert post(client, started, "a").json()["error"]["code"] == "invalid_api_key"
    assert post(client, started, "a", key="sesame").status_code == 200
    assert post(client, started, "a", key="sesame", model="other").json()["error"]["code"] == "model_not_found"
    for texts, complaint in ((("a", ""), "input[1]"), (("x" * 50,), "10 tokens"), (tuple("abcd"), "3"), ((), "empty")):
        refused = post(client, started, *texts, key="sesame")
        assert refused.status_code == 400
        assert complaint in refused.json()["error"]["message"]
    malformed = client.post(f"{started.url}/v1/embeddings", content=b"{", headers={"authorization": "Bearer sesame"})
    assert malformed.status_code == 400
    assert started.record.statuses() == {401: 1, 200: 1, 404: 1, 400: 5}
    assert b"sesame" not in started.file.read_bytes()


REFUSED = [
    (Fault.REDIRECT, 307, None, None),
    (Fault.HTML, 200, None, None),
    (Fault.BAD_KEY, 401, "invalid_request_error", "invalid_api_key"),
    (Fault.NO_MODEL, 404, "invalid_request_error", "model_not_found"),
    (Fault.NO_QUOTA, 429, "insufficient_quota", "insufficient_quota"),
    (Fault.STORM, 429, "requests", "rate_limit_exceeded"),
    (Fault.UNAVAILABLE, 503, "server_error", None),
    (Fault.SERVER_ERROR, 500, "server_error", None),
    (Fault.BAD_GATEWAY, 502, None, None),
]


def test_each_fault_instead_of_the_work(provider: Start, client: httpx2.Client) -> None:
    started = provider()
    for fault, status, kind, code in REFUSED:
        started.behave(shares={fault: 1}, retry_s=0.25)
        answer = post(client, started, "text")
        assert answer.status_code == status, fault
        if kind is None:
            assert "json" not in answer.headers.get("content-type", "")
        else:
            assert (answer.json()["error"]["type"], answer.json()["error"]["code"]) == (kind, code)
        waits = fault in (Fault.STORM, Fault.UNAVAILABLE)
        assert answer.headers.get("retry-after-ms") == ("250" if waits else None), fault
        assert ("location" in answer.headers) is (fault is Fault.REDIRECT)
    assert [entry.faults for entry in started.record.entries] == [(fault,) for fault, *_ in REFUSED]
    assert not started.record.embedded()
    started.behave()
    assert post(client, started, "text").status_code == 200


def test_it_never_answers_though_the_work_was_done(provider: Start, client: httpx2.Client) -> None:
    started = provider(behaviour={"shares": {"timeout": 1}})
    with pytest.raises(httpx2.ReadTimeout):
        client.post(f"{started.url}/v1/embeddings", json={"model": "fake-embedding", "input": "text"}, timeout=0.5)
    (entry,) = started.record.entries
    assert (entry.status, entry.embedded, entry.faults) == (None, True, ("timeout",))
    started.behave(shares={})
    assert post(client, started, "text").status_code == 200
    assert started.record.embedded_per_text() == 2


def test_the_connection_ends_in_the_middle(provider: Start, client: httpx2.Client) -> None:
    started = provider(behaviour={"shares": {"cut": 1}})
    with pytest.raises(httpx2.RemoteProtocolError):
        post(client, started, "text")
    assert [entry.faults for entry in started.record.entries] == [("cut",)]


def test_answers_are_spoiled(provider: Start, client: httpx2.Client) -> None:
    started = provider()
    texts = ("red fish", "blue fish", "one fish")

    def asked(fault: Fault) -> httpx2.Response:
        started.behave(shares={fault: 1})
        answer = post(client, started, *texts, encoding_format="base64")
        assert answer.status_code == 200
        return answer

    whole = vectors(post(client, started, *texts, encoding_format="base64"))
    reordered = asked(Fault.REORDERED)
    assert [item["index"] for item in reordered.json()["data"]] != [0, 1, 2]
    assert np.array_equal(vectors(reordered), whole)
    assert [item["index"] for item in asked(Fault.INDEX_TWICE).json()["data"]] == [0, 1, 0]
    assert len(asked(Fault.ITEM_MISSING).json()["data"]) == 2
    assert vectors(asked(Fault.WRONG_DIMENSION)).shape == (3, 383)
    assert np.isnan(vectors(asked(Fault.NOT_FINITE))).any()
    assert np.allclose(vectors(asked(Fault.SCALED)), 3 * whole)
    started.behave(shares={"not_finite": 1})
    assert post(client, started, "text").json()["data"][0]["embedding"][0] is None
    assert embed(client, started, "text").json()[0][0] is None


def test_poison_truncation_and_drift(provider: Start, client: httpx2.Client) -> None:
    started = provider(behaviour={"poison": ["arsenic"]})
    refused = post(client, started, "tea", "tea with arsenic")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input[1]")
    assert embed(client, started, "tea with arsenic").status_code == 422
    started.behave(poison_named=False)
    assert post(client, started, "tea", "tea with arsenic").json()["error"]["param"] == "input"

    long = "x" * 100
    before = vectors(post(client, started, long, encoding_format="base64"))
    started.behave(truncate_tokens=5)
    cut = post(client, started, long, encoding_format="base64")
    assert cut.json()["usage"]["prompt_tokens"] == 5
    assert np.array_equal(vectors(cut), vectors(post(client, started, "x" * 20, encoding_format="base64")))
    started.behave(truncate_tokens=5, truncation_hidden=True)
    assert post(client, started, long).json()["usage"]["prompt_tokens"] == 25

    started.behave(drift=1.0)
    after = vectors(post(client, started, long, encoding_format="base64"))
    assert abs(float(before[0] @ after[0])) < 0.3


@pytest.mark.parametrize("kind", WindowKind)
def test_limits_are_told_and_kept(provider: Start, client: httpx2.Client, kind: WindowKind) -> None:
    started = provider(limits=[{"window_s": 300, "requests": 3, "tokens": 10, "kind": kind}])
    answer = post(client, started, "x" * 16)
    assert answer.headers["x-ratelimit-remaining-tokens"] == "6"
    assert answer.headers["x-ratelimit-limit-requests"] == "3"
    assert answer.headers["x-ratelimit-reset-tokens"].startswith(("4m", "5m"))
    refused = post(client, started, "x" * 28)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "tokens")
    assert 0 < int(refused.headers["retry-after"]) <= 300
    assert math.ceil(int(refused.headers["retry-after-ms"]) / 1000) == int(refused.headers["retry-after"])
    assert post(client, started, "x" * 44).headers.get("retry-after") is None, "it will never fit"
    record = started.record
    assert record.most("tokens", 300_000_000, kind) == 4
    assert record.most("tokens", 300_000_000, kind, refused_too=True) == 22


def test_a_full_service_refuses(provider: Start, client: httpx2.Client) -> None:
    started = provider(at_once=1, queue=0, behaviour={"shares": {"timeout": 1}, "batch_ms": 60_000})
    # The place stays taken though the client is gone.
    with pytest.raises(httpx2.ReadTimeout):
        client.post(f"{started.url}/v1/embeddings", json={"model": "fake-embedding", "input": "text"}, timeout=0.5)
    refused = post(client, started, "text")
    assert (refused.status_code, refused.json()["error"]["type"]) == (503, "server_error")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert embed(client, started, "text").json()["error_type"] == "Overloaded"


def test_faults_come_at_their_turn(provider: Start, client: httpx2.Client) -> None:
    phase = {"from_request": 1, "until_request": 3, "behaviour": {"shares": {"server_error": 1}}}
    started = provider(phases=[phase])
    assert [post(client, started, "text").status_code for _ in range(4)] == [200, 500, 500, 200]
    assert started.record.requests_per_batch() == 4


def test_a_behaviour_with_an_error_is_refused(provider: Start, client: httpx2.Client) -> None:
    started = provider()
    for body in (b"{", b"[]", b'{"shares": {"strom": 1}}'):
        assert client.put(f"{started.url}/behaviour", content=body).status_code == 400
