"""PURE: what an answer that is no success means, for every service alike.

The statuses are shared by all; the error bodies have half a dozen shapes. A service's own words go into a message only
when they quote neither a text that was sent nor the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec

from headwater.embedding.providers.rate_limits import after_s
from headwater.errors import Denied, HeadwaterError, Overloaded, RateLimited, Reject, Retry, TooLong, Unreachable

_LONGEST_MESSAGE = 300
# A quotation of this many characters or more is found; it takes one search a step over everything sent.
_QUOTED, _STEP = 16, 8

_NO_QUOTA = {
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "quota_exceeded",
    "credit_balance_exhausted",
}
_NO_MODEL = {"model_not_found", "DeploymentNotFound", "model_not_available", "unknown_model"}
#: Parameters that the configuration sets: a complaint about one of them is about no text.
_CONFIGURED = {"model", "dimensions", "output_dimension", "encoding_format", "input_type", "output_dtype"}
#: `input[3]`, `input.3`, `inputs/3`: how a parameter's name tells which text is meant.
_PLACE = re.compile(r"(?:\$\.)?(?:input|inputs|texts)(?:\[(\d{1,6})\]|[./](\d{1,6}))")
#: The same at the head of a message, where no text is quoted yet.
_SAID = re.compile(r"\s*(?:invalid )?['\"`]?" + _PLACE.pattern, re.IGNORECASE)


_TOO_LONG = {"context_length_exceeded", "string_above_max_length", "input_too_long"}
#: How services without a code of their own say it: vLLM and OpenAI, TEI, Ollama, Cohere and Voyage.
_SAYS_TOO_LONG = re.compile(
    r"maximum (?:context|input) length|must have less than \d+ tokens|exceeds? (?:the |maximum )*context length"
    r"|too long|too many tokens",
    re.IGNORECASE,
)

#: OpenAI's words for a call that is larger than all that the account may send in a minute: no waiting mends that.
_LARGER_THAN_THE_LIMIT = re.compile(r"\bLimit (\d{1,15}), Requested (\d{1,15})\b")


class Answer(msgspec.Struct, frozen=True):
    """An answer as it came. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Sent(msgspec.Struct, frozen=True):
    """What was asked of whom: what a message may not quote, and what it may say."""

    name: str
    host: str
    url: str = ""
    texts: Sequence[str] = ()
    key: str = ""

    def __repr__(self) -> str:
        return f"Sent({self.name!r})"

    def unreachable(self, cause: str, cure: str = "") -> Unreachable:
        """Return the error that only a person can mend."""
        return Unreachable(self.name, f"{self.host}: {cause}", cure, code="service-unusable")

    def denied(self, cause: str, cure: str) -> Denied:
        """Return the error of an account that the service refuses."""
        return Denied(self.name, f"{self.host}: {cause}", cure)

    def discreet(self, message: str) -> str:
        """Return a service's words, short and on one line; empty when they quote a text or the key."""
        head = message[: 2 * _LONGEST_MESSAGE]
        if self.key and self.key in head:
            return ""
        if any(3 < len(text) <= 2 * _QUOTED and text in head for text in self.texts):
            return ""
        pieces = [head[i : i + _QUOTED] for i in range(0, max(len(head) - _QUOTED, 0) + 1, _STEP)]
        if any(len(piece) == _QUOTED and piece in text for text in self.texts for piece in pieces):
            return ""
        line = " ".join("".join(sign if sign.isprintable() else " " for sign in head).split())
        return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


class Complaint(msgspec.Struct, frozen=True):
    """An error body, whatever its shape: the words, the codes and types, the parameter and the text that it names."""

    message: str = ""
    codes: frozenset[str] = frozenset()
    parameter: str = ""
    index: int | None = None
    foreign: bool = False  # no JSON object: something else answered than an embedding service


def complaint(body: bytes) -> Complaint:
    """Read an error body, as OpenAI, Azure, vLLM, TEI, Ollama, Cohere and Voyage write it."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Complaint(foreign=True)
    if not isinstance(found, dict):
        return Complaint(foreign=True)
    inner = found.get("error")
    source = inner if isinstance(inner, dict) else found
    message = next((it for it in (source.get("message"), inner, source.get("detail")) if isinstance(it, str)), "")
    codes = {str(it) for it in (source.get("code"), source.get("type"), source.get("error_type")) if it}
    named = source.get("param")
    parameter = named if isinstance(named, str) else ""
    if isinstance(found.get("detail"), list):
        message, parameter = _validation(found["detail"])
    match = _PLACE.fullmatch(parameter) or _SAID.match(message)
    index = int(match.group(1) or match.group(2)) if match else None
    return Complaint(message, frozenset(codes), parameter, index)


def refusal(answer: Answer, sent: Sent) -> HeadwaterError:
    """Say what an answer other than 2xx means."""
    said = complaint(answer.body)
    status = answer.status
    words = sent.discreet(said.message)
    told = f"HTTP {status}: {words}" if words else f"HTTP {status}"
    if 300 <= status < 400:
        return _redirect(answer, sent)
    if status == 402 or said.codes & _NO_QUOTA:
        return sent.denied(
            f"the account has no quota left ({told})", "See to the account's plan and billing at the provider"
        )
    if status == 429 and _never_fits(said.message):
        return Reject(f"it is more than the account's limit allows at all ({told})")
    busy = _busy(status, sent, told, after_s(answer.headers))
    return busy or _for_people(status, said, sent, told) or _about_the_input(status, said, sent, told)


def foreign(sent: Sent, status: int) -> Unreachable:
    """Say that what answered is something else: a page, a proxy, another service."""
    return sent.unreachable(
        f"what answers there is no embedding service (HTTP {status})",
        "Check the address, and whether a proxy or a login page stands in between",
    )


def _busy(status: int, sent: Sent, told: str, pause_s: float | None) -> Retry | None:
    """Errors that pass by themselves."""
    cause = f"{sent.host} answers {told}"
    if status == 429:
        return RateLimited(sent.name, cause, pause_s)
    if status in (503, 529):
        return Overloaded(sent.name, cause, pause_s)
    if status in (408, 409, 425) or (status >= 500 and status not in (501, 505)):
        return Retry(sent.name, cause, pause_s)
    return None


def _never_fits(message: str) -> bool:
    found = _LARGER_THAN_THE_LIMIT.search(message)
    return found is not None and int(found.group(2)) > int(found.group(1))


def _for_people(status: int, said: Complaint, sent: Sent, told: str) -> HeadwaterError | None:
    """Errors that every text would meet."""
    if status == 403 and said.foreign:
        # A firewall that dislikes one text answers so too: whoever looks for the culprit asks with a known-good one.
        return Reject(f"something in front of the service refuses it ({told})")
    if status in (401, 403):
        return sent.denied(
            f"the key is refused (HTTP {status})" if sent.key else f"it wants a key (HTTP {status})",
            "Check the key, and that it may use this model",
        )
    if status == 407:
        return sent.unreachable("the proxy in between wants a login", "Put it into the proxy's address")
    if said.foreign and status != 413:
        return foreign(sent, status)
    if said.codes & _NO_MODEL or status in (404, 405, 410, 501):
        return sent.unreachable(
            f"it has no such model, or nothing at this address ({told})", "Check the model's name and the address"
        )
    if said.parameter in _CONFIGURED:
        return sent.unreachable(f"it refuses the setting {said.parameter} ({told})", "Change it in the recipe")
    return None


def _about_the_input(status: int, said: Complaint, sent: Sent, told: str) -> HeadwaterError:
    if status in (400, 413, 422):
        known = said.index is not None and said.index < len(sent.texts)
        kind = TooLong if said.codes & _TOO_LONG or _SAYS_TOO_LONG.search(said.message) else Reject
        return kind(f"the service refuses it ({told})", said.index if known else None)
    return sent.unreachable(f"it does not take what it is asked ({told})", "Check the address and the model")


def _redirect(answer: Answer, sent: Sent) -> Unreachable:
    """Texts and keys go nowhere but where the configuration says."""
    target = ""
    with suppress(ValueError):  # whatever stands there may be no address
        target = urlsplit(urljoin(sent.url, answer.headers.get("location", ""))).hostname or ""
    where = f" to {target[:100]}" if target and target.isascii() and target.isprintable() else ""
    return sent.unreachable(
        f"it redirects{where} (HTTP {answer.status}), which is not followed", "Give the address that it redirects to"
    )


def _validation(details: list[Any]) -> tuple[str, str]:
    """Read a list of validation errors: only the first one's words and place, since the rest repeats the input."""
    first = details[0] if details and isinstance(details[0], dict) else {}
    loc = first.get("loc")
    place = [str(part) for part in loc if isinstance(part, str | int)] if isinstance(loc, list) else []
    message = first.get("msg")
    return message if isinstance(message, str) else "", ".".join(place[1:] if place[:1] == ["body"] else place)
