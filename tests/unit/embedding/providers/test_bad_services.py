"""What users and networks get wrong between an embedder and its service, and what each of them is told."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headwater.embedding.answers import check
from headwater.embedding.port import Embedder
from headwater.embedding.providers import http_service, registry
from headwater.embedding.providers.options import ProviderOptions
from headwater.errors import Halt, Misconfigured, Overloaded, Reject, Retry, Unreachable
from tests.kafka.certificates import Authority
from tests.unit.embedding.providers import services
from tests.unit.embedding.providers.services import DIMENSIONS, KEY, Asked, Reply, Service, reply, serving
from tests.unit.embedding.providers.test_http_embedders import embed, failure, use

HTML = b"<!DOCTYPE html><html><body>Please sign in</body></html>"
MODEL = "openai/m"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(services.openai) as running:
        yield running


def ask(url: str, model: str = MODEL, **options: Any) -> Exception:
    """Embed one text where the dimensions are known already, and return how it fails."""
    return failure(lambda: embed(model, url, ["a text"], **{"key": KEY, "dimensions": DIMENSIONS, **options}))


# --- the key, the model, the address


@pytest.mark.parametrize("model", ["openai/m", "cohere/m", "voyage/m"])
@pytest.mark.parametrize("key", [None, "", " \n"])
def test_no_key(model: str, key: str | None) -> None:
    with pytest.raises(Misconfigured) as error:
        registry.embedder(model, ProviderOptions(model="", key=key))
    assert (error.value.path, error.value.got) == ("key", "none")


def test_no_key_for_azure() -> None:
    with pytest.raises(Misconfigured, match="key"):
        registry.embedder("azure/m", ProviderOptions(model="", url="http://127.0.0.1:1"))


def test_a_server_of_ones_own_may_want_no_key(service: Service) -> None:
    embed(MODEL, service.url, ["a"])
    assert "authorization" not in service.asked[0].headers


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel", "a\0b"])
def test_a_key_that_no_header_holds(key: str) -> None:
    for model in ("openai/m", "azure/m", "tei"):
        with pytest.raises(Misconfigured) as error:
            registry.embedder(model, ProviderOptions(model="", url="http://127.0.0.1:1", key=key))
        assert error.value.path == "key"
        assert key not in str(error.value)


def test_a_wrong_key(service: Service) -> None:
    service.always({"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}, 401)
    error = ask(service.url)
    assert isinstance(error, Unreachable)
    assert "127.0.0.1: the key is refused (HTTP 401)" in error.cause


def test_a_key_that_is_wanted(service: Service) -> None:
    service.always({"error": "unauthorized"}, 401)
    assert "it wants a key" in str(ask(service.url, key=None))


def test_an_unknown_model(service: Service) -> None:
    error = {"message": "The model `m` does not exist", "type": "invalid_request_error", "code": "model_not_found"}
    service.always({"error": error}, 404)
    assert "The model `m` does not exist" in str(ask(service.url))


@pytest.mark.parametrize("model", ["openai", "azure/", "ollama", "cohere", "voyage/"])
def test_no_model(model: str) -> None:
    with pytest.raises(Misconfigured) as error:
        registry.embedder(model, ProviderOptions(model="", key=KEY, url="http://127.0.0.1:1"))
    assert error.value.path == "model"


@pytest.mark.parametrize("model", ["azure/m", "tei"])
def test_no_address(model: str) -> None:
    with pytest.raises(Misconfigured) as error:
        registry.embedder(model, ProviderOptions(model="", key=KEY))
    assert error.value.path == "url"


@pytest.mark.parametrize(
    "url",
    ["api.openai.com", "ftp://h/v1", "http://", "http://h:99999", "http://h:port", "http://h/#x", "http://u:secret@h"],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(Misconfigured) as error:
        registry.embedder(MODEL, ProviderOptions(model="", url=url))
    assert error.value.path == "url"
    assert "secret" not in str(error.value)


# --- what answers is something else


@pytest.mark.parametrize("status", [200, 400, 404])
def test_a_page(service: Service, status: int) -> None:
    service.always(HTML, status)
    error = ask(service.url)
    assert isinstance(error, Unreachable)
    assert "no embedding service" in error.cause
    assert "sign in" not in str(error)


@pytest.mark.parametrize("body", [{"hello": "world"}, [], "text", {"data": [{"vector": [1]}]}, 7])
def test_json_of_something_else(service: Service, body: object) -> None:
    service.always(body)
    assert isinstance(ask(service.url), Unreachable)


def test_an_error_under_a_status_of_success(service: Service) -> None:
    service.always({"error": {"message": "upstream timed out", "code": 504}})
    error = ask(service.url)
    assert isinstance(error, Retry)
    assert "upstream timed out" in error.cause


@pytest.mark.parametrize("elsewhere", ["http://elsewhere.example/v1", "/v2/embeddings", "https://127.0.0.1/v1"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(service: Service, status: int, elsewhere: str) -> None:
    service.always(b"", status, location=elsewhere)
    error = ask(service.url)
    assert isinstance(error, Unreachable)
    assert "redirects" in error.cause
    assert len(service.asked) == 1


def test_a_redirect_to_another_server_takes_nothing_there(service: Service) -> None:
    with serving(services.openai) as other:
        service.always(b"", 307, location=other.url + "/embeddings")
        ask(service.url)
        assert other.asked == []


# --- answers that are damaged


def item(row: Any, index: int = 0) -> dict[str, Any]:
    return {"index": index, "embedding": row}


@pytest.mark.parametrize(
    "data",
    [
        [],
        [item("%%%")],
        [item("ä")],
        [item("AAAAAA")],
        [item(["a"])],
        [item("AAAA")],
        [item([])],
        [item([1.0]), item([1.0, 2.0], 1)],
        [item([1.0]), item("AAAAAA==", 1)],
    ],
)
def test_vectors_that_are_none(service: Service, data: list[Any]) -> None:
    service.always({"data": data})
    error = ask(service.url)
    assert isinstance(error, Retry)
    assert "cannot be used" in error.cause


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ([item([1.0] * DIMENSIONS), item([1.0] * DIMENSIONS, 1)], Retry),  # one too many
        ([item([1.0] * DIMENSIONS, 3)], Retry),  # of a text that was not sent
        ([item([1.0] * (DIMENSIONS + 1))], Halt),  # another model
        ([item([None] * DIMENSIONS)], Reject),  # no numbers, as Rust writes them
    ],
)
def test_what_the_gateway_checks_reaches_it(service: Service, data: list[Any], kind: type[Exception]) -> None:
    service.always({"data": data})
    answer = embed(MODEL, service.url, ["a"], dimensions=DIMENSIONS)
    with pytest.raises(kind):
        check(answer, 1, MODEL, DIMENSIONS)


def test_a_wrong_index_is_not_mended_by_an_empty_text(service: Service) -> None:
    service.always({"data": [item([1.0] * DIMENSIONS, 1)]})
    answer = embed(MODEL, service.url, ["a", ""], dimensions=DIMENSIONS)
    with pytest.raises(Retry):
        check(answer, 2, MODEL, DIMENSIONS)


def test_one_vector_of_nan_is_no_broken_service(service: Service) -> None:
    service.always(b'{"data": [{"index": 0, "embedding": [NaN' + b", 1.0" * (DIMENSIONS - 1) + b"]}]}")
    answer = embed(MODEL, service.url, ["a"], dimensions=DIMENSIONS)
    assert np.isnan(answer.vectors[0, 0])


def test_an_answer_that_breaks_off(service: Service) -> None:
    service.always(b'{"data": [{"ind')
    assert "breaks off" in str(ask(service.url))
    service.always(b'{"data": [{"ind', content_length="1000")
    error = ask(service.url)
    assert isinstance(error, Retry)
    assert "broke" in error.cause


def test_an_answer_that_cannot_be_unpacked(service: Service) -> None:
    service.always(b"no gzip at all", content_encoding="gzip")
    error = ask(service.url)
    assert isinstance(error, Retry)
    assert "unpacked" in error.cause


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_without_end(service: Service, packed: bool) -> None:
    body = b'{"data": "' + b"x" * (8 << 20) + b'"}'
    service.always(gzip.compress(body) if packed else body, content_encoding="gzip" if packed else "identity")
    error = ask(service.url)
    assert isinstance(error, Unreachable)
    assert "larger than" in error.cause


def test_a_server_that_ignores_the_dimensions_is_found_at_once() -> None:
    with serving(services.tei) as tei:
        error = failure(lambda: embed("tei", tei.url, ["a"], dimensions=7))
    assert "24 dimensions where 7 were asked for" in str(error)


def test_a_model_that_refuses_every_text_cannot_be_opened(service: Service) -> None:
    service.always({"error": {"message": "this model does not embed"}}, 400)
    error = failure(lambda: embed(MODEL, service.url, ["a"]))
    assert isinstance(error, Unreachable)
    assert "refuses every text" in error.cause


# --- the network


def test_nobody_is_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = ask(f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert isinstance(error, Retry)
    assert not isinstance(error, Overloaded)
    assert "127.0.0.1" in error.cause


def test_a_name_that_is_not_known() -> None:
    error = ask("http://no-such-host.invalid/v1")
    assert isinstance(error, Retry)
    assert "no-such-host.invalid" in error.cause


def test_a_server_that_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        async def hang_up() -> Exception:
            def accept() -> None:
                server.accept()[0].close()

            accepting = asyncio.ensure_future(asyncio.to_thread(accept))
            embedder = registry.embedder(
                MODEL, ProviderOptions(model="", url=f"http://127.0.0.1:{server.getsockname()[1]}", dimensions=8)
            )
            try:
                with pytest.raises(Retry) as error:
                    await embedder.embed(["a"])
                return error.value
            finally:
                await accepting
                await embedder.close()

        assert "broke" in str(asyncio.run(hang_up()))


def test_a_service_that_does_not_answer(service: Service) -> None:
    def slowly(asked: Asked) -> Reply:
        time.sleep(0.6)
        return services.openai(asked)

    service.script = slowly
    error = ask(service.url, timeout_s=0.2)
    assert isinstance(error, Retry)
    assert "did not answer within 0.2 s" in error.cause


def test_a_service_that_drips(service: Service) -> None:
    service.always({"data": [item([1.0] * DIMENSIONS)]}, x_drips="yes")
    error = ask(service.url, timeout_s=0.3)
    assert isinstance(error, Retry)
    assert "did not answer within 0.3 s" in error.cause


def test_one_clumsy_call_leaves_the_others_alone(service: Service) -> None:
    def some(asked: Asked) -> Reply:
        return (
            reply({"error": "later"}, 429, retry_after="2") if "bad" in asked.body["input"] else services.openai(asked)
        )

    service.script = some

    async def work(embedder: Embedder) -> list[Any]:
        return await asyncio.gather(*(embedder.embed([it]) for it in ("a", "bad", "c")), return_exceptions=True)

    first, second, third = use(MODEL, service.url, work, dimensions=DIMENSIONS)
    assert isinstance(second, Retry)
    assert second.after_s == 2
    assert np.array_equal(np.concatenate([first.vectors, third.vectors]), services.vectors(["a", "c"]))


# --- TLS


def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with serving(services.openai, authority.issue("service")) as service:
        answer = embed(MODEL, service.url, ["a"], ca=authority.ca)
        assert np.array_equal(answer.vectors, services.vectors(["a"]))
        error = ask(service.url)
    assert isinstance(error, Unreachable)
    assert "certificate is not trusted" in error.cause


def test_a_certificate_of_another_host(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with serving(services.openai, authority.issue("service", elsewhere=True)) as service:
        assert isinstance(ask(service.url, ca=authority.ca), Unreachable)


def test_https_where_http_is_spoken(service: Service) -> None:
    error = ask(service.url.replace("http://", "https://"))
    assert isinstance(error, Unreachable)
    assert "does not speak TLS" in error.cause


def test_http_where_https_is_spoken(tmp_path: Path) -> None:
    with serving(services.openai, Authority(tmp_path).issue("service")) as service:
        assert isinstance(ask(service.url.replace("https://", "http://")), Retry)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_of_certificates_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Misconfigured) as error:
        registry.embedder(MODEL, ProviderOptions(model="", url="https://127.0.0.1:1", ca=path))
    assert error.value.path == "ca"


# --- a proxy in between


def test_a_proxy_passes_on_what_it_is_given(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", service.url)
    answer = embed(MODEL, "http://embeddings.example/v1", ["a"])
    assert np.array_equal(answer.vectors, services.vectors(["a"]))
    assert service.asked[0].path == "http://embeddings.example/v1/embeddings"


@pytest.mark.parametrize(
    ("status", "kind", "word"),
    [
        (407, Unreachable, "wants a login"),
        (403, Reject, "something in front"),
        (502, Retry, "HTTP 502"),
        (503, Overloaded, "HTTP 503"),
        (413, Reject, "HTTP 413"),
    ],
)
def test_a_proxy_answers_itself(
    service: Service, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception], word: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", service.url)
    service.always(HTML, status)
    error = ask("http://embeddings.example/v1")
    assert type(error) is kind
    assert word in str(error)


@pytest.mark.parametrize(
    ("status", "kind"), [(407, Unreachable), (403, Unreachable), (502, Retry), (503, Overloaded), (504, Retry)]
)
def test_a_proxy_makes_no_tunnel(
    service: Service, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", service.url)
    service.always(HTML, status)
    error = ask("https://embeddings.example/v1")
    assert type(error) is kind
    assert "proxy" in str(error)
    assert [it.method for it in service.asked] == ["CONNECT"]
    assert "authorization" not in service.asked[0].headers


def test_a_proxy_that_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "ftp://user:secret@proxy")
    with pytest.raises(Misconfigured) as error:
        registry.embedder(MODEL, ProviderOptions(model="", url="http://embeddings.example"))
    assert "secret" not in str(error.value)


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    monkeypatch.delitem(sys.modules, http_service.__name__)
    with pytest.raises(Unreachable, match=r"headwater\[services\]"):
        importlib.import_module(http_service.__name__)


def test_no_secret_stands_in_what_a_debugger_shows(service: Service) -> None:
    service.always(json.dumps({"error": {"message": f"bad {KEY}"}}).encode(), 400)
    error = ask(service.url)
    shown = [repr(error)]
    cause: BaseException | None = error
    while cause is not None:
        shown.append(f"{cause!r} {cause}")
        cause = cause.__cause__
    assert KEY not in " ".join(shown)
