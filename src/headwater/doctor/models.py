"""Judges a model by what it answers to fixed texts, PURE."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from headwater.doctor.faults import fault
from headwater.embedding.port import Description
from headwater.embedding.witness import DRIFT, DRIFT_CURE, TAIL
from headwater.errors import Denied, Halt, HeadwaterError, Misconfigured, Overloaded, RateLimited, Retry, Unreachable
from headwater.observability.findings import Finding, in_order
from headwater.recipe.enrich import MAX_CONTEXT

#: What a token is in prose. Code and other scripts have fewer characters a token.
CHARACTERS_A_TOKEN = 4

#: Where a service is asked for vectors: below its address, not a part of it.
_ENDPOINT = re.compile(r"/(?:v\d+/)?(?:embeddings?|embed|api/embed(?:dings)?)/?$")
_FATES = {"dead": "a dead letter", "split": "split, and has a coarser vector", "refuse": "refused: the stream stops"}

#: What of an error's words tells its kind, the first that matches.
_CAUSES = (
    (
        re.compile(r"not installed|cannot be loaded|cannot be imported|cannot be read|damaged|is not the one of"),
        "missing",
    ),
    (re.compile(r"\bproxy\b.*\b(refuses|wants|cannot)|the proxy before"), "proxy"),
    (re.compile(r"redirects"), "redirect"),
    (re.compile(r"no embedding service"), "foreign"),
    (re.compile(r"certificate|TLS"), "tls"),
    (re.compile(r"dimensions"), "dimensions"),
    (re.compile(r"no such model|nothing at this address"), "name"),
)


@dataclass(frozen=True)
class AskedModel:
    """A model as the configuration has it, for the streams that share it; the one with the longest texts is named.

    `key` is "none", "blank" or "there". `proxy` is the variable of the environment that sends its calls through a
    proxy; empty where none does. `longest` is the length of the longest text, context and `overlap` included, in
    characters.
    """

    stream: str
    model: str
    url: str = ""
    key: str = "none"
    proxy: str = ""
    loopback: bool = False
    longest: int = 0
    overlap: int = 0
    too_long: str = "dead"


@dataclass(frozen=True)
class Outcome:
    """What came of asking: an error, or the model as it describes itself. `alike` is the cosine of two long texts that
    differ at their ends; None where that was not asked. `probes` are packed vectors (`witness.encode`), or empty.
    """

    error: HeadwaterError | None = None
    model: Description | None = None
    alike: float | None = None
    probes: bytes = b""


def judge_model(asked: AskedModel, outcome: Outcome) -> list[Finding]:
    """Judge one model."""
    if outcome.error is not None:
        return [_failed(asked, outcome.error)]
    assert outcome.model is not None
    return [*_answered(asked, outcome.model), *_ends(asked, outcome.alike)]


def judge_drift(stream: str, alike: float) -> Iterator[Finding]:
    """Judge the least cosine between the probes' vectors that an index keeps and those of now."""
    if alike < DRIFT:
        yield fault("model-drift").found(stream, alike=f"{alike:.3f}", cure=DRIFT_CURE)


def _answered(asked: AskedModel, model: Description) -> Iterator[Finding]:
    yield in_order("model", asked.model, f"it answers, {model.dimensions} dimensions")
    if asked.key == "blank":
        yield fault("key-blank").found(asked.model)
    if asked.model == "hash":
        yield fault("model-hash").found(asked.model, stream=asked.stream)
    if asked.url.startswith("http:") and not asked.loopback:
        yield fault("model-clear").found(asked.model)
    room = CHARACTERS_A_TOKEN * (model.max_text_tokens or 0)
    if model.max_text_tokens and asked.longest > room:
        yield fault("chunk-model").found(
            asked.model,
            longest=asked.longest,
            tokens=model.max_text_tokens,
            characters=room,
            chunk=_fitting(room, asked.overlap),
            fate=_FATES[asked.too_long],
            stream=asked.stream,
        )


def _fitting(room: int, overlap: int) -> str:
    """Return settings of `chunk` with whose texts, context included, `room` characters are enough."""
    overlap = min(overlap, 200)
    maximum = max(16, room - MAX_CONTEXT - overlap)
    size = min(400, maximum)
    told = f"size: {size}, maximum: {maximum}"
    return f"{told}, overlap: {min(overlap, size // 2)}" if overlap else told


def _ends(asked: AskedModel, alike: float | None) -> Iterator[Finding]:
    if alike is not None and alike >= TAIL:
        yield fault("model-truncates").found(
            asked.model, longest=asked.longest, alike=f"{alike:.5f}", stream=asked.stream
        )


def _failed(asked: AskedModel, error: HeadwaterError) -> Finding:
    if isinstance(error, Misconfigured):
        problem = f"{error.path}: expected {error.expected}, got {error.got}"
        cure = f"{error.hint}" if error.hint else f"Mend it{f' in {error.place}' if error.place else ''}"
        return fault("model-settings").found(asked.model, problem=problem, cure=cure)
    cause, cure = _said(error)
    words = {"cause": cause, "cure": cure or "See to the service, and ask again"}
    if isinstance(error, RateLimited | Overloaded):
        return fault("model-busy").found(asked.model, **words)
    if isinstance(error, Denied):
        return _denied(asked, cause, words)
    kind = next((kind for pattern, kind in _CAUSES if pattern.search(cause)), "")
    if kind in ("name", "foreign") and (better := _address(asked)):
        return fault("model-address").found(asked.model, **{**words, "cure": better})
    if kind == "proxy" or (asked.proxy and isinstance(error, Retry)):
        host = urlsplit(asked.url).hostname or "HOST"
        return fault("model-proxy").found(asked.model, variable=asked.proxy or "HTTPS_PROXY", host=host, **words)
    if kind:
        return fault(f"model-{kind}").found(asked.model, **words)
    if isinstance(error, Retry):
        return fault("model-away").found(asked.model, **{**words, "cure": _reach(asked)})
    return fault("model-refuses").found(asked.model, **words)


def _said(error: HeadwaterError) -> tuple[str, str]:
    if isinstance(error, Unreachable):
        return error.cause, error.cure
    if isinstance(error, Retry):
        return error.cause, ""
    if isinstance(error, Halt):
        return error.detail, error.cure
    return str(error), ""


def _denied(asked: AskedModel, cause: str, words: dict[str, str]) -> Finding:
    if "quota" in cause:
        return fault("model-quota").found(asked.model, **words)
    if asked.key == "blank":
        words = {"cause": f"{cause}: the key is blank", "cure": "Set the variable that `key` names, and not to blanks"}
    elif asked.key == "none":
        words = {**words, "cure": "Set `key: ${env:NAME}` in the recipe's `embed`, and NAME to the account's key"}
    return fault("model-key").found(asked.model, **words)


def _address(asked: AskedModel) -> str:
    """Say what is wrong with the address, where its form tells."""
    if _ENDPOINT.search(asked.url):
        base = _ENDPOINT.sub("/v1" if asked.url.rstrip("/").endswith("/v1/embeddings") else "", asked.url)
        return f"`url` ends before the place that is asked: set `url: {base}`"
    if asked.model.startswith("openai/") and asked.url and not urlsplit(asked.url).path.strip("/"):
        return f"Most services of this kind are below /v1: set `url: {asked.url.rstrip('/')}/v1`"
    return ""


def _reach(asked: AskedModel) -> str:
    where = "`url`" if asked.url else "the network, and whether a proxy has to be named (HTTPS_PROXY)"
    start = "; start the service" if asked.loopback else ""
    return f"Check {where}{start}"
