"""PURE: what services say of their limits in the headers of an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from headwater.embedding.port import Allowance

_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_COUNT = re.compile(r"\d{1,15}")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_TEXT = 32
#: Nobody means to be left alone for longer: such a number is a point in time, or nonsense.
_LONGEST_S = 7 * 86400.0


def duration_s(text: str) -> float | None:
    """Return the seconds of `6m0s`, `12ms`, `1.5s` or a bare number of seconds; None for anything else."""
    text = text.strip()
    if len(text) > _LONGEST_TEXT or not text.isprintable():
        return None
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif text and not _PART.sub("", text):
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    else:
        return None
    return seconds if seconds <= _LONGEST_S else None


def allowances(headers: Mapping[str, str]) -> tuple[Allowance, Allowance]:
    """Return what is left of the account's requests and of its tokens. `headers` has lower-case names."""
    return _allowance(headers, "requests"), _allowance(headers, "tokens")


def after_s(headers: Mapping[str, str]) -> float | None:
    """Return in how many seconds the service wants to be asked again; None: it does not say."""
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds) and float(milliseconds) <= _LONGEST_S * 1000:
        return float(milliseconds) / 1000
    retry = headers.get("retry-after", "")
    named = duration_s(retry)
    if named is None:
        named = _until(retry, headers.get("date", ""))
    if named is not None:
        return named
    empty = [it.reset_s for it in allowances(headers) if it.left == 0 and it.reset_s is not None]
    return max(empty) if empty else duration_s(headers.get("x-ratelimit-reset", ""))


def _allowance(headers: Mapping[str, str], kind: str) -> Allowance:
    limit = headers.get(f"x-ratelimit-limit-{kind}")
    whole = _count(limit)
    if limit is not None and not whole:
        return Allowance()  # Azure says -1 or 0 where it does not tell, and then the rest means nothing either
    left = _count(headers.get(f"x-ratelimit-remaining-{kind}"))
    if left is None:
        return Allowance(whole)
    return Allowance(whole, left, duration_s(headers.get(f"x-ratelimit-reset-{kind}", "")))


def _count(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and _COUNT.fullmatch(text) else None


def _until(moment: str, now: str) -> float | None:
    """Return the seconds to a date, by the service's own clock: ours may be wrong."""
    try:
        seconds = (parsedate_to_datetime(moment) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(seconds, 0.0) if seconds <= _LONGEST_S else None
