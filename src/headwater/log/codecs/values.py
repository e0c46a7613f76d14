"""PURE: how the typed values of Avro and Protobuf become JSON-like ones, the same way in both and every time.

Whole numbers stay whole numbers, bytes become base64, decimals plain digits in a string, dates and times ISO 8601, and
a number that is none ("NaN", "Infinity", "-Infinity") its name: JSON has no other way to keep them.
"""

from __future__ import annotations

import base64
import math
from datetime import date

from headwater.errors import Reject

#: Twice what any database keeps. Binary to decimal takes time that grows with the square of the length.
MAX_DECIMAL_BYTES = 512

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal()
_DAY_NS = 86_400_000_000_000


def number(value: float) -> float | str:
    """Return a finite number as it is, any other by its name."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def binary(value: bytes) -> str:
    """Write bytes as base64."""
    return base64.b64encode(value).decode("ascii")


def uuid(value: bytes) -> str:
    """Write 16 bytes as a UUID."""
    digits = value.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def decimal(unscaled: bytes, scale: int) -> str:
    """Write a big-endian two's complement number with `scale` digits behind the point. Nothing is rounded."""
    if len(unscaled) > MAX_DECIMAL_BYTES or abs(scale) > 2 * MAX_DECIMAL_BYTES:
        raise Reject(f"a decimal is larger than {MAX_DECIMAL_BYTES} bytes")
    whole = int.from_bytes(unscaled, "big", signed=True)
    sign = "-" if whole < 0 else ""
    if scale <= 0:
        return sign + str(abs(whole) * 10**-scale)
    digits = str(abs(whole)).rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"


def day(days: int) -> str:
    """Write days since 1970-01-01 as a date."""
    ordinal = _EPOCH_DAY + days
    if not 1 <= ordinal <= _LAST_DAY:
        raise Reject("a date lies outside the years 1 to 9999")
    return date.fromordinal(ordinal).isoformat()


def time_of_day(nanoseconds: int) -> str:
    """Write nanoseconds since midnight, with as many digits as they need: none, 6 or 9."""
    if not 0 <= nanoseconds < _DAY_NS:
        raise Reject("a time of day lies outside of the day")
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if not rest:
        return clock
    return f"{clock}.{rest:09}" if rest % 1000 else f"{clock}.{rest // 1000:06}"


def instant(nanoseconds: int) -> str:
    """Write nanoseconds since the Unix epoch as a date and a time, without a zone."""
    days, rest = divmod(nanoseconds, _DAY_NS)
    return f"{day(days)}T{time_of_day(rest)}"


def duration(seconds: int, nanoseconds: int) -> str:
    """Write a duration in seconds, as Protobuf's own JSON does it."""
    whole = seconds * 1_000_000_000 + nanoseconds
    full, rest = divmod(abs(whole), 1_000_000_000)
    fraction = f".{rest:09}".rstrip("0") if rest else ""
    return f"{'-' if whole < 0 else ''}{full}{fraction}s"
