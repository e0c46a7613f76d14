"""Numbers with their unit: durations to seconds, sizes to bytes. A number without one is an error that says so."""

from __future__ import annotations

import re
from collections.abc import Mapping

from headwater.settings.failures import Unfit, listed

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "B": 1,
    "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
# Few digits: no budget is longer than a billion days, and a long row of them must not become infinity.
_QUANTITY = re.compile(r"([0-9]{1,9})(\.[0-9]{1,9})?([A-Za-z]*)")

DURATION = "a duration such as 250ms, 30s, 5m, 2h or 1d"
SIZE = "a size such as 64KiB or 10MB"


def duration_s(text: str) -> float:
    """Read `250ms`, `30s`, `1.5h` as seconds."""
    whole, fraction, unit = _parts(text, DURATION, _SECONDS)
    seconds = float(whole + fraction) * _SECONDS[unit]
    if unit == "ms":  # 0.001 has no exact float: divide instead, so that 250ms is 0.25
        seconds = float(whole + fraction) / 1000
    return seconds


def size_bytes(text: str) -> int:
    """Read `64KiB` (powers of 1024) or `10MB` (powers of 1000) as bytes."""
    whole, fraction, unit = _parts(text, SIZE, _BYTES)
    scaled: int = int(whole + fraction[1:]) * _BYTES[unit]
    scale: int = 10 ** len(fraction[1:])
    if scaled % scale:
        raise Unfit(SIZE, "it does not come to a whole number of bytes")
    return scaled // scale


def _parts(text: str, expected: str, units: Mapping[str, object]) -> tuple[str, str, str]:
    """Split into whole part, fraction (with its point, or empty) and a known unit."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise Unfit(expected)
    whole, fraction, unit = found[1], found[2] or "", found[3]
    if not unit:
        raise Unfit(expected, f"the unit is missing: one of {listed(units)}")
    if unit not in units:
        raise Unfit(expected, f"there is no such unit: one of {listed(units)}")
    return whole, fraction, unit
