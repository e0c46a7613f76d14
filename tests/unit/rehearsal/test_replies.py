"""What the shapes write: durations, when to come again, the limits' headers, errors."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.rehearsal import openai, tei
from headwater.rehearsal.counting import Characters
from headwater.rehearsal.plan import read_plan
from headwater.rehearsal.replies import retry_headers
from headwater.rehearsal.service import Ask, Refusal, Service, Verdict, Why

NOW_US = 1_700_000_000_250_000


@pytest.mark.parametrize(
    ("us", "written"),
    [
        (0, "0ms"),
        (1, "1ms"),
        (12_000, "12ms"),
        (999_001, "1s"),
        (1_500_000, "1.5s"),
        (360_000_000, "6m0s"),
        (3_661_500_000, "1h1m1.5s"),
    ],
)
def test_durations_are_written_as_the_service_writes_them(us: int, written: str) -> None:
    assert openai.span(us) == written


@given(st.integers(0, 10**11))
def test_a_duration_is_never_written_shorter_than_it_is(us: int) -> None:
    units = {"h": 3_600_000, "m": 60_000, "s": 1000}
    written = openai.span(us).replace("ms", "")
    if "ms" in openai.span(us):
        ms = float(written)
    else:
        ms, number = 0.0, ""
        for character in written:
            if character in units:
                ms, number = ms + float(number) * units[character], ""
            else:
                number += character
    assert us / 1000 <= ms + 1e-6 <= us / 1000 + 1.001


def test_when_to_come_again_is_said_in_every_way() -> None:
    def said(how: str, retry_us: int | None = 1_200_300) -> dict[str, str]:
        return retry_headers(read_plan({"retry_after": how}), retry_us, NOW_US)

    assert said("none") == {}
    assert said("seconds") == {"retry-after": "2"}
    assert said("milliseconds") == {"retry-after": "2", "retry-after-ms": "1201"}
    assert parsedate_to_datetime(said("date")["retry-after"]).timestamp() == 1_700_000_002
    assert said("seconds", None) == {}


def limited(**plan: Any) -> tuple[Any, Verdict]:
    made = Service(read_plan({"limits": [{"window_s": 60, "requests": 2, "tokens": 10}], **plan}), Characters(4.0))
    return made.plan, made.decide(0, Ask("k", "fake-embedding", ("x" * 16,), 20))


def test_the_limits_stand_in_the_headers() -> None:
    plan, verdict = limited()
    headers = openai.refuse(plan, verdict, Refusal(Why.POISON), NOW_US).headers
    left = {name.removeprefix("x-ratelimit-"): value for name, value in headers.items() if "ratelimit" in name}
    assert left == {
        "limit-requests": "2",
        "remaining-requests": "1",
        "reset-requests": "1m0s",
        "limit-tokens": "10",
        "remaining-tokens": "6",
        "reset-tokens": "1m0s",
    }


def test_headers_may_say_nothing_or_be_left_out() -> None:
    plan, verdict = limited(rate_limit_headers="azure")
    headers = openai.refuse(plan, verdict, Refusal(Why.POISON), NOW_US).headers
    assert {headers["x-ratelimit-limit-tokens"], headers["x-ratelimit-remaining-requests"]} == {"-1"}
    assert headers["x-ratelimit-reset-requests"] == "0"
    plan, verdict = limited(rate_limit_headers="none")
    assert not any("ratelimit" in it for it in openai.refuse(plan, verdict, Refusal(Why.POISON), NOW_US).headers)


@pytest.mark.parametrize("why", [why for why in Why if why not in (Why.REDIRECTED, Why.HTML, Why.BAD_GATEWAY)])
def test_every_refusal_is_an_error_in_both_shapes(why: Why) -> None:
    plan, verdict = limited()
    refusal = Refusal(why, text=3)
    verdict = msgspec.structs.replace(verdict, refusal=refusal)
    reply = openai.refuse(plan, verdict, refusal, NOW_US)
    error = msgspec.json.decode(reply.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert reply.status >= 400
    reply = tei.refuse(plan, verdict, refusal, NOW_US)
    assert set(msgspec.json.decode(reply.body)) == {"error", "error_type"}
    assert reply.status >= 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"input": 3, "model": "m"}',
        b'{"input": ["a", 1], "model": "m"}',
        b'{"input": "a"}',
        b'{"input": "a", "model": "m", "encoding_format": "hex"}',
        b'{"input": "\xff", "model": "m"}',
        b'{"input": "\\ud800", "model": "m"}',
    ],
)
def test_what_is_no_request_is_none(body: bytes) -> None:
    assert openai.read(body, {}) is None
    assert tei.read(read_plan({}), body.replace(b'"a", "model"', b'3, "model"').replace(b'"a"}', b"3}"), {}) is None


def test_requests_are_read_with_the_key_wherever_it_stands() -> None:
    body = b'{"input": "a", "model": "m", "user": "someone", "dimensions": 8, "encoding_format": "base64"}'
    read = openai.read(body, {"authorization": "Bearer sesame"})
    assert read == Ask("sesame", "m", ("a",), len(body), dimensions=8, base64=True)
    azure = openai.read(body, {"api-key": "sesame"})
    assert azure is not None
    assert azure.key == "sesame"
