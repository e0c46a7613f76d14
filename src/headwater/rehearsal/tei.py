"""The shape of Hugging Face's text-embeddings-inference. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headwater.rehearsal.plan import Plan
from headwater.rehearsal.replies import STATUS, Reply, page, retry_headers
from headwater.rehearsal.service import Ask, Refusal, Verdict, Why
from headwater.rehearsal.vectors import Vectors, shortened, spoiled

_JSON = {"content-type": "application/json"}
_STATUS = {
    **STATUS,
    Why.MALFORMED: 422,
    Why.NO_TEXT: 400,
    Why.EMPTY_TEXT: 400,
    Why.TOO_MANY_TEXTS: 413,
    Why.TOO_MANY_TOKENS: 413,
    Why.TEXT_TOO_LONG: 413,
    Why.OVERLOADED: 429,
    Why.POISON: 422,
    Why.SERVER_ERROR: 424,
}
_KIND = {
    Why.OVERLOADED: "Overloaded",
    Why.RATE_LIMITED: "Overloaded",
    Why.SERVER_ERROR: "Backend",
    Why.POISON: "Tokenizer",
    Why.NO_TEXT: "Empty",
    Why.EMPTY_TEXT: "Empty",
}
_SAID = {
    Why.MALFORMED: "Failed to deserialize the JSON body into the target type",
    Why.BAD_KEY: "Unauthorized",
    Why.OVERLOADED: "Model is overloaded",
    Why.RATE_LIMITED: "Model is overloaded",
    Why.POISON: "Tokenization error: an input cannot be tokenized",
    Why.NO_TEXT: "`inputs` cannot be empty",
    Why.EMPTY_TEXT: "`inputs` cannot be empty",
    Why.SERVER_ERROR: "inference failed",
}


class _Request(msgspec.Struct):
    """The body of a request. What else it holds is ignored."""

    inputs: str | tuple[str, ...]
    truncate: bool | None = None
    dimensions: int | None = None


_REQUEST = msgspec.json.Decoder(_Request)


def read(plan: Plan, body: bytes, headers: Mapping[str, str]) -> Ask | None:
    """Read a request; None where it is none."""
    try:
        request = _REQUEST.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return Ask(
        key=headers.get("authorization", "").removeprefix("Bearer "),
        model=None,
        texts=(request.inputs,) if isinstance(request.inputs, str) else request.inputs,
        size=len(body),
        truncate=plan.auto_truncate if request.truncate is None else request.truncate,
        dimensions=request.dimensions,
    )


def answer(plan: Plan, ask: Ask, verdict: Verdict, vectors: Vectors) -> Reply:
    """Return the reply to a request that was done. Its items have no index: their places are all they have."""
    if ask.dimensions is not None and ask.dimensions < plan.dimensions:
        vectors = shortened(vectors, ask.dimensions)
    _, vectors = spoiled(vectors, verdict.faults)
    return Reply(200, {**_JSON, "x-compute-tokens": str(verdict.reported)}, msgspec.json.encode(vectors.tolist()))


def refuse(plan: Plan, verdict: Verdict, refusal: Refusal, wall_us: int) -> Reply:
    """Return the reply to a request that was refused. `wall_us` is the time now, since the epoch."""
    reply = page(verdict)
    if reply is not None:
        return reply
    said = {
        Why.TOO_MANY_TEXTS: f"batch size is larger than the maximum allowed batch size {plan.max_texts}",
        Why.TEXT_TOO_LONG: f"`inputs` must have less than {plan.max_text_tokens} tokens",
        Why.TOO_MANY_TOKENS: f"`inputs` must have less than {plan.max_tokens} tokens in sum",
        **_SAID,
    }
    error = {
        "error": said.get(refusal.why, refusal.why.replace("_", " ")),
        "error_type": _KIND.get(refusal.why, "Validation"),
    }
    headers = {**_JSON, **retry_headers(plan, refusal.retry_us, wall_us)}
    return Reply(_STATUS[refusal.why], headers, msgspec.json.encode(error))


def info(plan: Plan) -> Reply:
    """Return what the service says of itself, for clients that configure themselves."""
    said = {
        "model_id": plan.model,
        "model_sha": plan.revision,
        "model_dtype": "float32",
        "model_type": {"embedding": {"pooling": "mean"}},
        "max_concurrent_requests": plan.queue + (plan.at_once or 0),
        "max_input_length": plan.max_text_tokens,
        "max_batch_tokens": plan.max_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": plan.max_texts,
        "auto_truncate": plan.auto_truncate,
        "tokenization_workers": 1,
        "version": "1.8.0",
    }
    return Reply(200, _JSON, msgspec.json.encode(said))
