"""The shape of OpenAI's embeddings endpoint, which Azure, vLLM and many others share. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

import msgspec

from headwater.rehearsal.plan import Plan
from headwater.rehearsal.replies import STATUS, Reply, page, retry_headers
from headwater.rehearsal.service import Ask, Refusal, Verdict, Why
from headwater.rehearsal.vectors import Vectors, shortened, spoiled
from headwater.rehearsal.windows import Standing


class _Request(msgspec.Struct):
    """The body of a request. What else it holds is ignored."""

    input: str | tuple[str, ...]
    model: str
    dimensions: int | None = None
    encoding_format: str = "float"


_REQUEST = msgspec.json.Decoder(_Request)


def read(body: bytes, headers: Mapping[str, str]) -> Ask | None:
    """Read a request; None where it is none."""
    try:
        request = _REQUEST.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if request.encoding_format not in ("float", "base64"):
        return None
    return Ask(
        key=key_of(headers),
        model=request.model,
        texts=(request.input,) if isinstance(request.input, str) else request.input,
        size=len(body),
        dimensions=request.dimensions,
        base64=request.encoding_format == "base64",
    )


def key_of(headers: Mapping[str, str]) -> str:
    """Return the key that a request shows; empty where it shows none."""
    return headers.get("api-key") or headers.get("authorization", "").removeprefix("Bearer ")


def answer(plan: Plan, ask: Ask, verdict: Verdict, vectors: Vectors) -> Reply:
    """Return the reply to a request that was done."""
    if ask.dimensions is not None and ask.dimensions < plan.dimensions:
        vectors = shortened(vectors, ask.dimensions)
    index, vectors = spoiled(vectors, verdict.faults)
    if ask.base64:
        written = [b'"' + b64encode(vector.astype("<f4").tobytes()) + b'"' for vector in vectors]
    else:
        written = [msgspec.json.encode(vector) for vector in vectors.tolist()]
    items = [b'{"object":"embedding","index":%d,"embedding":%b}' % each for each in zip(index, written, strict=True)]
    turned = items[verdict.rotation :] + items[: verdict.rotation]
    rest = msgspec.json.encode(
        {"model": plan.model, "usage": {"prompt_tokens": verdict.reported, "total_tokens": verdict.reported}}
    )
    body = b'{"object":"list","data":[' + b",".join(turned) + b"]," + rest[1:]
    return Reply(200, {"content-type": "application/json", **_headers(plan, verdict)}, body)


def refuse(plan: Plan, verdict: Verdict, refusal: Refusal, wall_us: int) -> Reply:
    """Return the reply to a request that was refused. `wall_us` is the time now, since the epoch."""
    reply = page(verdict)
    if reply is not None:
        return reply
    headers = {"content-type": "application/json", **_headers(plan, verdict)}
    if refusal.why is Why.NO_QUOTA:
        headers["x-should-retry"] = "false"
    headers |= retry_headers(plan, refusal.retry_us, wall_us)
    error = {"message": _message(plan, refusal), "type": "invalid_request_error", "param": None, "code": None}
    body = msgspec.json.encode({"error": {**error, **_particulars(refusal)}})
    return Reply(refusal.status or STATUS[refusal.why], headers, body)


def _particulars(refusal: Refusal) -> dict[str, str]:
    place = "input" if refusal.text is None else f"input[{refusal.text}]"
    of = refusal.exceeded.of if refusal.exceeded else "requests"
    known: dict[Why, dict[str, str]] = {
        Why.BAD_KEY: {"code": "invalid_api_key"},
        Why.NO_MODEL: {"code": "model_not_found"},
        Why.NO_QUOTA: {"type": "insufficient_quota", "code": "insufficient_quota"},
        Why.RATE_LIMITED: {"type": of, "code": "rate_limit_exceeded"},
        Why.OVERLOADED: {"type": "server_error"},
        Why.SERVER_ERROR: {"type": "server_error"},
        Why.TOO_MANY_TOKENS: {"type": "max_tokens_per_request", "code": "max_tokens_per_request"},
        Why.POISON: {"param": place, "code": "invalid_value"},
        Why.EMPTY_TEXT: {"param": place},
        Why.NO_TEXT: {"param": "input"},
        Why.TOO_MANY_TEXTS: {"param": "input"},
        Why.BAD_DIMENSIONS: {"param": "dimensions"},
    }
    return known.get(refusal.why, {})


def _message(plan: Plan, refusal: Refusal) -> str:
    if refusal.why is Why.RATE_LIMITED:
        return _rate_limited(plan, refusal)
    place = "input" if refusal.text is None else f"input[{refusal.text}]"
    said = {
        Why.MALFORMED: "We could not parse the JSON body of your request, or a field of it has the wrong type.",
        Why.BAD_KEY: "Incorrect API key provided.",
        Why.NO_MODEL: "The model does not exist or you do not have access to it.",
        Why.NO_QUOTA: "You exceeded your current quota, please check your plan and billing details.",
        Why.NO_TEXT: "Invalid 'input': empty array.",
        Why.EMPTY_TEXT: f"Invalid '{place}': input cannot be an empty string.",
        Why.TOO_LARGE: "The request is too large.",
        Why.TOO_MANY_TEXTS: f"Invalid 'input': array too long, the maximum length is {plan.max_texts}.",
        Why.TEXT_TOO_LONG: f"Invalid '{place}': maximum input length is {plan.max_text_tokens} tokens.",
        Why.TOO_MANY_TOKENS: f"Too many tokens: the maximum is {plan.max_tokens} tokens per request.",
        Why.BAD_DIMENSIONS: f"Invalid 'dimensions': it must lie between 1 and {plan.dimensions}.",
        Why.OVERLOADED: "The engine is currently overloaded, please try again later.",
        Why.POISON: f"Invalid '{place}': it cannot be embedded.",
    }
    return said.get(refusal.why, "The server had an error while processing your request.")


def _rate_limited(plan: Plan, refusal: Refusal) -> str:
    exceeded = refusal.exceeded
    if exceeded is None:
        return "Rate limit reached."
    short = "RPM" if exceeded.of == "requests" else "TPM"
    head = f"for {plan.model} on {exceeded.of} per min ({short}): Limit {exceeded.limit}"
    if exceeded.wait_us is None:
        return f"Request too large {head}, Requested {exceeded.requested}."
    return (
        f"Rate limit reached {head}, Used {exceeded.used}, Requested {exceeded.requested}. "
        f"Please try again in {span(exceeded.wait_us)}."
    )


def _headers(plan: Plan, verdict: Verdict) -> dict[str, str]:
    headers = {"x-request-id": f"req_{verdict.number:016x}"}
    if plan.rate_limit_headers == "none":
        return headers
    left: dict[str, Standing | None] = {"requests": verdict.requests_left, "tokens": verdict.tokens_left}
    for of, standing in left.items():
        if standing is None:
            continue
        says_nothing = plan.rate_limit_headers == "azure"
        headers[f"x-ratelimit-limit-{of}"] = "-1" if says_nothing else str(standing.limit)
        headers[f"x-ratelimit-remaining-{of}"] = "-1" if says_nothing else str(standing.left)
        headers[f"x-ratelimit-reset-{of}"] = "0" if says_nothing else span(standing.reset_us)
    return headers


def span(us: int) -> str:
    """Return a duration as the service writes it: `12ms`, `1.5s`, `6m0s`, `1h0m0s`. Never shorter than it is."""
    ms = -(-us // 1000)
    if ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    seconds = f"{ms / 1000:g}s"
    if minutes == 0:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"
