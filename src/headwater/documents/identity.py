"""What the text of documents depends on besides their bytes."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

#: Raise it when the same bytes give another text by Headwater's own doing.
REVISION = 2
_PARSERS = ("charset-normalizer", "lxml", "mammoth", "openpyxl", "pypdfium2", "python-pptx")


_NONE = "none"


def documents_identity() -> str:
    """Return a string that changes when another version of a parser may read a document otherwise, on one line.

    Parsers that are not installed are part of it: what was rejected for want of them can be read when they are there.
    """
    return f"{REVISION} " + " ".join(f"{name}={_version(name)}" for name in _PARSERS)


def parsers_missing() -> bool:
    """Tell whether a parser is not installed: they come together, with the extra."""
    return any(_version(name) == _NONE for name in _PARSERS)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return _NONE
