"""PURE: words for the JSON Schema of the configuration, where a section knows more than its types say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import WithJsonSchema

Words = dict[str, Any]
#: Keys with the values that are meant.
Values = Mapping[str, Sequence[str | None]]


def wrote(pattern: str, *examples: str) -> Any:
    """Return the type of a text as it stands in the file, where the settings hold something else."""
    return Annotated[str, WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})]


def or_text(schema: Words, key: str) -> Words:
    """A text alone is short for the mapping with this key."""
    alone = {word: it for word, it in schema["properties"][key].items() if word != "description"}
    return {"anyOf": [alone, schema]}


def together(**needs: list[str]) -> Words:
    """A key needs these beside it."""
    return {"dependentRequired": needs}


def apart(**others: list[str]) -> Words:
    """A key cannot stand beside these."""
    return {"dependentSchemas": {key: without(*names) for key, names in others.items()}}


def without(*names: str) -> Words:
    """None of these keys is there."""
    return {"properties": dict.fromkeys(names, False)}


def where(values: Values, then: Words) -> Words:
    """Where each of these keys has one of its values, this holds. None among them: or is left out."""
    return {"if": _all(values), "then": then}


def never(values: Values) -> Words:
    """These keys never have such values together."""
    return {"not": _all(values)}


def _all(values: Values) -> Words:
    return {
        "properties": {key: {"enum": [value for value in it if value]} for key, it in values.items()},
        "required": [key for key, it in values.items() if None not in it],
    }
