"""What a service's refusals mean, in the words of each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.embedding.providers.refusals import Answer, Sent, complaint, refusal
from headwater.errors import HeadwaterError, Overloaded, RateLimited, Reject, Retry, Unreachable

TEXTS = ("The first text, which is harmless.", "The second one holds what nobody else may read: 4711.")
SENT = Sent("openai/m", "api.example", "https://api.example/v1", TEXTS, "sk-secret")
HTML = b"<html><head><title>Sign in</title></head></html>"


def judged(status: int, body: Any = b"", **headers: str) -> HeadwaterError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return refusal(Answer(status, {name.replace("_", "-"): it for name, it in headers.items()}, content), SENT)


def openai(message: str, code: str | None = None, kind: str = "invalid_request_error", param: str | None = None) -> Any:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


LIMITED = openai("Rate limit reached for m on requests per min", "rate_limit_exceeded", "requests")


@pytest.mark.parametrize(
    ("status", "body", "kind", "after_s"),
    [
        (429, LIMITED, RateLimited, 7),
        (429, HTML, RateLimited, 7),
        (429, {"message": "trial key"}, RateLimited, 7),
        (503, b"", Overloaded, 7),
        (529, {"error": {"type": "overloaded_error"}}, Overloaded, 7),
        (500, openai("The server had an error"), Retry, 7),
        (502, HTML, Retry, 7),
        (504, HTML, Retry, 7),
        (408, b"", Retry, 7),
        (409, b"", Retry, 7),
        (425, b"", Retry, 7),
        (520, HTML, Retry, 7),
    ],
)
def test_what_passes_by_itself(status: int, body: Any, kind: type[Retry], after_s: float) -> None:
    error = judged(status, body, retry_after="7")
    assert type(error) is kind
    assert isinstance(error, Retry)
    assert (error.dependency, error.after_s) == ("openai/m", after_s)
    assert f"HTTP {status}" in error.cause


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (401, openai("Incorrect API key provided: sk-secret", "invalid_api_key"), "key is refused"),
        (401, HTML, "key is refused"),
        (403, openai("Country not supported"), "key is refused"),
        (402, {"message": "no credits"}, "no quota left"),
        (429, openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), "no quota left"),
        (429, openai("quota", None, "insufficient_quota"), "no quota left"),
        (404, openai("The model `m` does not exist", "model_not_found"), "no such model"),
        (400, openai("The model `m` does not exist", "model_not_found"), "no such model"),
        (404, {"error": {"code": "DeploymentNotFound", "message": "The deployment does not exist"}}, "no such model"),
        (404, {"object": "error", "message": "The model does not exist", "code": 404}, "no such model"),
        (404, {"detail": "Not Found"}, "no such model"),
        (404, HTML, "no embedding service"),
        (405, b"", "no embedding service"),
        (400, HTML, "no embedding service"),
        (400, openai("Invalid value", param="dimensions"), "refuses the setting dimensions"),
        (407, HTML, "proxy"),
        (301, b"", "redirects"),
        (415, {"message": "unsupported"}, "does not take"),
        (501, {"error": "this model does not support embeddings"}, "no such model"),
    ],
)
def test_what_only_a_person_can_mend(status: int, body: Any, word: str) -> None:
    error = judged(status, body, retry_after="7")
    assert isinstance(error, Unreachable)
    assert word in error.cause
    assert error.cure
    assert "sk-secret" not in str(error)


@pytest.mark.parametrize(
    ("status", "body", "index"),
    [
        (400, openai("maximum context length is 8192 tokens"), None),
        (400, openai("Invalid 'input[1]': maximum length is 8192 tokens"), 1),
        (400, openai("'$.input[0]' is invalid."), 0),
        (400, openai("too long", param="input[1]"), 1),
        (400, openai("too long", param="input"), None),
        (400, openai("too long", param="input[7]"), None),
        (400, openai("it says input[1] somewhere later"), None),
        (413, {"error": "`inputs` must have less than 512 tokens", "error_type": "Validation"}, None),
        (413, HTML, None),
        (422, {"error": "Tokenization error", "error_type": "Tokenizer"}, None),
        (422, {"detail": [{"loc": ["body", "input", 1], "msg": "too long", "input": TEXTS[1]}]}, 1),
        (422, {"detail": [{"loc": "body"}]}, None),
        (400, {"message": "too many tokens: total number of tokens cannot exceed 512"}, None),
        (400, {"detail": "Request to model failed"}, None),
    ],
)
def test_what_is_about_the_input(status: int, body: Any, index: int | None) -> None:
    error = judged(status, body)
    assert isinstance(error, Reject)
    assert error.index == index
    assert TEXTS[1] not in str(error)


TOO_LARGE = "Request too large for m in organization org-x on tokens per min (TPM): Limit {}, Requested {}. Visit us."


def test_a_call_that_no_waiting_makes_fit_is_to_be_halved() -> None:
    error = judged(429, openai(TOO_LARGE.format(1_000_000, 1_026_047), "rate_limit_exceeded", "tokens"))
    assert isinstance(error, Reject)
    assert error.index is None
    # The same words also mean that the minute is used up.
    waiting = judged(429, openai(TOO_LARGE.format(50_000_000, 114), "rate_limit_exceeded", "tokens"))
    assert isinstance(waiting, RateLimited)


def test_a_firewall_that_dislikes_a_text_is_no_bad_key() -> None:
    assert isinstance(judged(403, HTML), Reject)


def test_the_services_own_words_are_kept() -> None:
    error = judged(400, openai("This model's maximum context length\nis 8192\u200b tokens"))
    assert str(error) == "the service refuses it (HTTP 400: This model's maximum context length is 8192 tokens)"


@pytest.mark.parametrize(
    "message",
    [
        f"cannot embed {TEXTS[1]!r}",
        "bad: holds what nobody else may read",
        "x" * 7 + TEXTS[1][5:30],
        "the key sk-secret is wrong",
        "y" * 500 + TEXTS[1],
    ],
)
def test_words_that_quote_a_text_or_the_key_are_not(message: str) -> None:
    shown = str(judged(400, openai(message)))
    assert "nobody" not in shown
    assert "sk-secret" not in shown
    assert len(shown) < 400


def test_a_short_text_is_not_quoted_either() -> None:
    error = refusal(Answer(400, {}, b'{"message": "bad input: pw 1234"}'), Sent("m", "h", texts=("pw 1234",)))
    assert str(error) == "the service refuses it (HTTP 400)"


@given(st.integers(0, 60), st.integers(24, 120), st.text("abcdefgh ", min_size=200, max_size=200))
def test_no_quotation_of_24_characters_is_overlooked(start: int, length: int, text: str) -> None:
    quoted = text[start : start + length]
    assert Sent("m", "h", texts=(text,)).discreet(f"bad: <{quoted}>") == ""


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://elsewhere.example/login?key=sk-secret", "redirects to elsewhere.example (HTTP 302)"),
        ("/v2/embeddings", "redirects to api.example (HTTP 302)"),
        ("http://[", "redirects (HTTP 302)"),
        ("", "redirects to api.example (HTTP 302)"),
    ],
)
def test_a_redirect_names_no_more_than_the_host(location: str, shown: str) -> None:
    error = judged(302, b"", location=location)
    assert shown in str(error)
    assert "sk-secret" not in str(error)


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.booleans(),
        lambda it: (
            st.lists(it)
            | st.dictionaries(
                st.sampled_from(["error", "message", "detail", "code", "type", "param", "loc", "msg"]), it
            )
        ),
    )
)
def test_any_body_is_read(body: Any) -> None:
    complaint(json.dumps(body).encode())
    for status in (400, 404, 429, 500):
        assert isinstance(judged(status, body), HeadwaterError)


def test_a_body_without_end_is_no_trap() -> None:
    for body in (b"[" * 100_000, b'{"error":' * 100_000):
        assert complaint(body).foreign
