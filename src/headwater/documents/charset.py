"""PURE: from bytes to text, when they are not plainly UTF-8. What cannot be told for sure is rejected, not guessed."""

from __future__ import annotations

import codecs
import re

from headwater.errors import Reject

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_META = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([a-zA-Z0-9_:.-]{2,40})""", re.IGNORECASE)
#: Pages that declare these mean the larger set of Windows, as browsers read them.
_MEANT = {"iso8859-1": "cp1252", "ascii": "cp1252", "iso8859-9": "cp1254"}
#: Of this share of letters in the order of a language, the guess is right; below it, near relatives win too.
_COHERENT = 0.4
_COHERENT_MULTIBYTE = 0.1
#: Nobody can tell readings apart that are this close. Of a language that is written in one of them, that is meant.
_CLOSE = 0.05
_WESTERN = "cp1252"
_WESTERN_LANGUAGES = (
    *("Danish", "Dutch", "English", "Finnish", "French", "German"),
    *("Italian", "Norwegian", "Portuguese", "Spanish", "Swedish"),
)
#: Codecs that turn bytes to bytes, or read no charset of any page.
_NO_CHARSETS = ("utf", "idna", "punycode", "unicode", "raw", "base64", "hex", "uu", "quopri", "zlib", "bz2", "rot")
#: So much of a text tells its charset.
_SAMPLE = 1 << 16
_UNSURE = "its charset cannot be told for sure: save it as UTF-8"


def decode(data: bytes) -> str | None:
    """Return a text in UTF-8, UTF-16 or UTF-32, or in a legacy charset that is told for sure. None: this is no text."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            text = _strictly(data[len(bom) :], encoding)
            if text is None:
                raise Reject(f"damaged text: it begins as {encoding[:6].upper()}, and goes on otherwise")
            return text
    if b"\0" in data:
        return _utf16_without_bom(data)
    return _strictly(data, "utf-8") or _legacy(data)


def decode_page(data: bytes) -> str | None:
    """Return a page's text. What is valid UTF-8 is UTF-8, whatever the page says of itself."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return _strictly(data[len(bom) :], encoding)
    text = _strictly(data, "utf-8") if b"\0" not in data else None
    if text is not None:
        return text
    declared = _declared(data[:4096])
    if declared is not None and b"\0" not in data:
        text = _strictly(data, declared)
    return decode(data) if text is None else text


def _declared(head: bytes) -> str | None:
    found = _META.search(head)
    try:
        name = codecs.lookup(found[1].decode("ascii")).name if found else None
    except (LookupError, OSError):  # the latter where no file may be opened: what is not loaded is no charset
        return None
    if name is None or name.startswith(_NO_CHARSETS):
        return None
    return _MEANT.get(name, name)


def _strictly(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except (UnicodeError, LookupError):
        return None


def _utf16_without_bom(data: bytes) -> str | None:
    """Decode what has its NULs where UTF-16 of mostly Latin text has them."""
    even, odd = data[:_SAMPLE:2].count(0), data[1:_SAMPLE:2].count(0)
    half = max(1, min(len(data), _SAMPLE) // 2)
    if odd > 0.4 * half and even < 0.01 * half:
        return _strictly(data, "utf-16-le")
    if even > 0.4 * half and odd < 0.01 * half:
        return _strictly(data, "utf-16-be")
    return None


def _legacy(data: bytes) -> str | None:
    controls = sum(data.count(byte) for byte in range(32) if byte not in b"\t\n\r\f\x1b")
    if not data or controls > len(data) // 1000:
        return None
    from charset_normalizer import from_bytes  # noqa: PLC0415 (an extra, and only for these files)

    sample = data[:_SAMPLE]
    if len(data) > _SAMPLE:
        sample = sample[: sample.rfind(b"\n") + 1] or sample  # not within a character
    matches = from_bytes(sample)
    best = matches.best()
    if best is None:
        return None
    multibyte = best.multi_byte_usage > 0.1
    if best.coherence < (_COHERENT_MULTIBYTE if multibyte else _COHERENT):
        raise Reject(_UNSURE)
    # Relatives have most letters in common, so any of them may seem the best by a little.
    close = [it for it in matches if it.coherence > best.coherence - _CLOSE and it.chaos < best.chaos + _CLOSE]
    texts = {str(it) for it in close}
    western = _strictly(sample, _WESTERN) in texts and all(it.language in _WESTERN_LANGUAGES for it in close)
    text = _strictly(data, _WESTERN if western else best.encoding) if western or len(texts) == 1 else None
    if text is None:
        raise Reject(_UNSURE)
    return text
