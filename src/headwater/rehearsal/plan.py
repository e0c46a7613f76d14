"""The plan of a faulty provider: what it serves, what it allows, and what goes wrong when. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Duration = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e6)]


class Fault(StrEnum):
    """What can go wrong with a request. Of the first group the first one that strikes ends it; the second may mix."""

    # Instead of the work.
    REDIRECT = "redirect"  # 307 to another host
    HTML = "html"  # 200 with a page: something else answers here
    BAD_KEY = "bad_key"  # 401
    NO_MODEL = "no_model"  # 404
    NO_QUOTA = "no_quota"  # 429 that no waiting mends
    STORM = "storm"  # 429 within the limits
    UNAVAILABLE = "unavailable"  # 503 at once
    SERVER_ERROR = "server_error"  # 500 after the time of a batch
    BAD_GATEWAY = "bad_gateway"  # 502 with a proxy's page after the time of a batch
    # The work is done, and counted.
    TIMEOUT = "timeout"  # it never answers
    CUT = "cut"  # the connection ends in the middle of the answer
    REORDERED = "reordered"  # the items stand in another order; their `index` is right
    INDEX_TWICE = "index_twice"  # two items claim one place
    ITEM_MISSING = "item_missing"  # one item fewer than texts
    WRONG_DIMENSION = "wrong_dimension"  # each vector is one number short
    NOT_FINITE = "not_finite"  # a vector with NaN
    SCALED = "scaled"  # vectors three times as long


class WindowKind(StrEnum):
    """How a service counts: in windows that begin at multiples of their length, or in one that ends now."""

    FIXED = "fixed"
    SLIDING = "sliding"


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an account may use in a window. Fixed windows begin at multiples of `window_s` since the start."""

    window_s: Positive
    requests: Count | None = None
    tokens: Count | None = None
    kind: WindowKind = WindowKind.SLIDING
    counts_refused: bool = False  # a request that was refused for a limit counts as a request too


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How requests are treated at some moment."""

    batch_ms: Duration = 0.0
    item_ms: Duration = 0.0
    shares: dict[Fault, Share] = msgspec.field(default_factory=dict)  # of the requests that a fault strikes
    retry_s: Duration = 1.0  # when `storm` and `unavailable` say to come again
    poison: tuple[str, ...] = ()  # a request with a text that holds one of these is refused with 400
    poison_named: bool = True  # the refusal says which text it is
    truncate_tokens: Count | None = None  # longer texts are cut, and nobody is told
    truncation_hidden: bool = False  # the usage that is reported counts what was cut off as well
    drift: Share = 0.0  # how far vectors have moved; 1 is another model


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A behaviour for a time. `from_s` is since the start, `from_request` counts from 0; the end is not included."""

    behaviour: Behaviour
    from_s: Duration = 0.0
    until_s: Duration | None = None
    from_request: int = 0
    until_request: int | None = None

    def holds(self, now_us: int, number: int) -> bool:
        """Whether it is this phase's turn, at a time and for a request."""
        begun = self.from_s * 1e6 <= now_us and self.from_request <= number
        in_time = self.until_s is None or now_us < self.until_s * 1e6
        return begun and in_time and (self.until_request is None or number < self.until_request)


class BatchInterface(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How jobs of many requests are treated, in the shape of OpenAI."""

    seconds: Duration = 1.0  # how long a job takes
    queue_tokens: Count | None = None  # of an account's jobs that have not ended; a job that is over it fails
    answered: Share = 1.0  # of a job's lines; where it is less than all, the job expires with those


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that a faulty provider is told. The defaults serve without a fault."""

    model: str = "fake-embedding"
    revision: str = "1"
    dimensions: Annotated[int, msgspec.Meta(ge=2, le=16384)] = 384
    vectors: Literal["digest", "words"] = "digest"  # without any meaning, or by the words that texts share
    keys: tuple[str, ...] = ()  # none: everybody may
    seed: int = 0

    at_once: Count | None = None  # requests in work at the same time; the rest waits
    queue: Annotated[int, msgspec.Meta(ge=0)] = 1000  # requests that wait; the rest is refused
    overflow: Literal[429, 503] = 503

    max_texts: Count = 2048
    max_text_tokens: Count = 8192
    max_tokens: Count = 300_000
    max_bytes: Count | None = None
    auto_truncate: bool = True  # TEI's `/embed` cuts what is too long, unless a request says otherwise
    characters_per_token: Positive = 4.0
    tokenizer: str = ""  # a tokenizer.json to count tokens with, instead

    limits: tuple[Limit, ...] = ()
    retry_after: Literal["none", "seconds", "milliseconds", "date"] = "milliseconds"
    rate_limit_headers: Literal["openai", "azure", "none"] = "openai"  # azure: -1 and 0, which say nothing

    batch: BatchInterface = BatchInterface()

    behaviour: Behaviour = Behaviour()
    phases: tuple[Phase, ...] = ()  # the last one whose turn it is

    def __repr__(self) -> str:
        return f"Plan(model={self.model!r})"  # the rest holds keys


def read_plan(written: Mapping[str, Any]) -> Plan:
    """Read a plan. A phase says only what differs from the base behaviour. Raise ValueError for what is wrong."""
    base = written.get("behaviour", {})
    phases = written.get("phases", ())
    if isinstance(phases, list | tuple):
        phases = [_whole(phase, base) for phase in phases]
    return msgspec.convert({**written, "phases": phases}, Plan)


def read_behaviour(changes: object, base: Behaviour) -> Behaviour:
    """Read what differs from a behaviour. Raise ValueError for what is wrong."""
    if not isinstance(changes, dict):
        raise ValueError("Expected `object`")
    return msgspec.convert({**msgspec.to_builtins(base), **changes}, Behaviour)


def _whole(phase: Any, base: Any) -> Any:
    if not (isinstance(phase, dict) and isinstance(base, dict) and isinstance(phase.get("behaviour"), dict)):
        return phase  # `convert` says what is wrong with it
    return {**phase, "behaviour": {**base, **phase["behaviour"]}}
