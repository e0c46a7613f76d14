"""What the shapes share: a reply, when it says to come again, and pages where JSON was expected. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import ceil
from typing import NamedTuple

from headwater.rehearsal.plan import Plan
from headwater.rehearsal.service import Verdict, Why

#: What each refusal is in HTTP, where the shapes agree.
STATUS = {
    Why.MALFORMED: 400,
    Why.REDIRECTED: 307,
    Why.HTML: 200,
    Why.BAD_KEY: 401,
    Why.NO_MODEL: 404,
    Why.NO_QUOTA: 429,
    Why.NO_TEXT: 400,
    Why.EMPTY_TEXT: 400,
    Why.TOO_LARGE: 413,
    Why.TOO_MANY_TEXTS: 400,
    Why.TEXT_TOO_LONG: 400,
    Why.TOO_MANY_TOKENS: 400,
    Why.BAD_DIMENSIONS: 400,
    Why.RATE_LIMITED: 429,
    Why.OVERLOADED: 503,
    Why.POISON: 400,
    Why.SERVER_ERROR: 500,
    Why.BAD_GATEWAY: 502,
}
#: Another host, and one that no client may follow a redirect to with its key.
ELSEWHERE = "https://elsewhere.invalid/v1/embeddings"


class Reply(NamedTuple):
    """A response of HTTP. A cut one ends in the middle of its body."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut: bool = False


def page(verdict: Verdict) -> Reply | None:
    """Return the reply of what is no embedding service at all: a proxy, another site."""
    if verdict.refusal is None:
        return None
    why = verdict.refusal.why
    if why is Why.REDIRECTED:
        return Reply(STATUS[why], {"location": ELSEWHERE}, b"")
    if why is Why.HTML:
        return Reply(STATUS[why], {"content-type": "text/html; charset=utf-8"}, _page("It works!"))
    if why is Why.BAD_GATEWAY:
        return Reply(STATUS[why], {"content-type": "text/html; charset=utf-8"}, _page("502 Bad Gateway"))
    return None


def retry_headers(plan: Plan, retry_us: int | None, wall_us: int) -> dict[str, str]:
    """Return the headers that say when to come again; `wall_us` is the time now, since the epoch."""
    if retry_us is None or plan.retry_after == "none":
        return {}
    if plan.retry_after == "date":
        now = datetime.fromtimestamp(wall_us // 1_000_000, UTC)
        part_us = wall_us % 1_000_000
        return {"retry-after": format_datetime(now + timedelta(seconds=ceil((part_us + retry_us) / 1e6)), usegmt=True)}
    headers = {"retry-after": str(ceil(retry_us / 1e6))}
    if plan.retry_after == "milliseconds":
        headers["retry-after-ms"] = str(ceil(retry_us / 1e3))
    return headers


def _page(title: str) -> bytes:
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n".encode()
