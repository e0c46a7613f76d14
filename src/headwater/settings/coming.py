"""What the design names and this version has not built yet: an error of its own, never an unknown key."""

from __future__ import annotations

_LATER = "comes with a later version"

#: (where the key stands, with * for any name) -> key -> what this version has instead.
_KEYS: dict[tuple[str, ...], dict[str, str]] = {
    ("streams", "*"): {
        "access": "this one shows every document to every reader",
        "retention": "this one keeps documents until they are deleted",
        "region": "this one keeps everything in the files that are named here",
    },
    ("streams", "*", "source"): dict.fromkeys(
        ("postgres", "mysql", "mongodb", "http", "jsonl", "s3", "git"), "this one has `folder: PATH`, and `topic`"
    ),
    ("streams", "*", "recipe"): {
        "extract": "this one has the text of `format`",
        "enrich": "this one embeds the chunk as it is",
        "access": "this one shows every document to every reader",
    },
}

_SCHEMES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("streams", "*", "index"): (
        "postgresql",
        "postgres",
        "qdrant",
        "lance",
        "duckdb",
        "chroma",
        "weaviate",
        "opensearch",
    ),
}


def coming_key(parent: tuple[str, ...], key: str) -> str | None:
    """Say that a key comes later, if it does."""
    instead = _KEYS.get(_pattern(parent), {}).get(key)
    return instead and f"`{key}` {_LATER}; {instead}"


def coming_value(place: tuple[str, ...], value: object) -> str | None:
    """Say that what a value asks for comes later, if it does. Quotes nothing but names from the tables above."""
    pattern = _pattern(place)
    for scheme in _SCHEMES.get(pattern, ()):
        if str(value).lower().startswith(f"{scheme}://"):
            return f"{scheme}:// {_LATER}; this one has sqlite:///PATH"
    return None


def _pattern(place: tuple[str, ...]) -> tuple[str, ...]:
    """Put * where a stream's name stands."""
    return tuple("*" if depth == 1 and place[0] == "streams" else part for depth, part in enumerate(place))
