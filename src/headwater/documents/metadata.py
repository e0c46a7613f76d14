"""PURE: what documents say of themselves, cleaned: it comes from anybody, and is shown on terminals."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

#: Longer titles are cut.
LONGEST = 300
_PDF_TIME = re.compile(
    r"D:(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:(Z)|([+-])(\d\d)'?(?:(\d\d)'?)?)?",
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
#: They turn what stands after them, in a title also what is not of the document.
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")
_LANGUAGE = re.compile(r"[a-zA-Z]{2,3}([-_][a-zA-Z0-9]{2,8}){0,3}")
#: Terminal sequences go as a whole, or their parameters would stay.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -~])")


def label(value: object) -> str | None:
    """Return a title or a name on one line, without controls of terminals and of writing direction; None if empty."""
    if not isinstance(value, str):
        return None
    plain = " ".join(_CONTROLS.sub(" ", _BIDI.sub("", _ESCAPES.sub("", value[: 10 * LONGEST]))).split())
    plain = unicodedata.normalize("NFC", plain)
    return plain[:LONGEST].rstrip() or None


def body(text: str) -> str:
    """Return a text without what is no character of text: controls but line feeds and tabs, and lone surrogates."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def language(value: object) -> str | None:
    """Return a language tag in its usual form, or None if it is none."""
    if not isinstance(value, str) or not _LANGUAGE.fullmatch(value.strip()):
        return None
    return value.strip().replace("_", "-")


def moment(value: object) -> str | None:
    """Return a time as RFC 3339 in UTC; None if it is none. Without a zone it is taken for UTC."""
    if isinstance(value, datetime):
        return _render(value)
    if not isinstance(value, str):
        return None
    text = value.strip()
    found = _PDF_TIME.match(text)
    try:
        return _render(_of_pdf(found) if found else datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _of_pdf(found: re.Match[str]) -> datetime:
    parts = zip(found.groups()[:6], (1, 1, 1, 0, 0, 0), strict=True)
    year, month, day, hour, minute, second = (int(part or low) for part, low in parts)
    zone = UTC
    if found[8]:
        away = timedelta(hours=int(found[9]), minutes=int(found[10] or 0))
        zone = timezone(away if found[8] == "+" else -away)
    return datetime(year, month, day, hour, minute, second, tzinfo=zone)


def _render(time: datetime) -> str:
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return aware.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"
