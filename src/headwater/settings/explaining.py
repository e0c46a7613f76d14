"""From what pydantic found to errors that name the place, what was expected, what was found, and the next step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

from pydantic import ValidationError

from headwater.errors import Misconfigured
from headwater.settings.coming import coming_key, coming_value
from headwater.settings.failures import listed, nearest, shown
from headwater.settings.interpolation import FromEnvironment
from headwater.settings.nodes import ROOT, Location, Mapping, Node, Place, Sequence
from headwater.settings.outline import has_keys, keys_at

_EXPECTED: dict[str, Callable[[dict[str, Any]], str]] = {
    "string_type": lambda _: "a text",
    "string_too_short": lambda _: "a text that is not empty",
    "string_too_long": lambda context: f"a text of at most {context['max_length']} characters",
    "int_type": lambda _: "a whole number",
    "int_from_float": lambda _: "a whole number",
    "int_parsing_size": lambda _: "a whole number of a sensible size",
    "bool_type": lambda _: "true or false",
    "greater_than_equal": lambda context: f"at least {context['ge']}",
    "less_than_equal": lambda context: f"at most {context['le']}",
    "tuple_type": lambda _: "a list",
    "dict_type": lambda _: "a mapping",
    "mapping_type": lambda _: "a mapping",
    "model_type": lambda _: "a mapping",
    "too_short": lambda context: f"at least {context['min_length']} entry",
    "literal_error": lambda context: listed(_choices(context)),
    "unfit": lambda context: str(context["expected"]),
}

#: What people put before a secret in a longer text: `password=`, `"api-key": `, `Bearer `.
_CREDENTIAL = re.compile(
    r"""(?is)((?:passw|passphrase|pwd|secret|token|credential|key)[\w.-]*["']?\s*[=:]|\b(?:authorization|bearer)\b).*"""
)


class Explanation:
    """The errors of one file, found by the schema. `settled` holds the places that have an error already."""

    def __init__(self, file: str, root: Node, data: object, settled: set[Location]) -> None:
        self._file = file
        self._root = root
        self._data = data
        self._settled = settled

    def errors(self, error: ValidationError) -> list[Misconfigured]:
        """Explain all that pydantic found, without what another error already says."""
        details = error.errors(include_url=False, include_input=False)
        found = [
            pair for detail in details for pair in self._explained(detail["type"], detail["loc"], detail.get("ctx", {}))
        ]
        later = {location[:-1] for location, made in found if made.code == "not-yet"}
        missing = {detail["loc"] for detail in details if detail["type"] == "missing"}
        # `source: {postgres: ...}` is not built yet; that `folder` is missing there says nothing more.
        return [made for location, made in found if not (location in missing and location[:-1] in later)]

    def _explained(
        self, kind: str, location: Location, context: dict[str, Any]
    ) -> Iterator[tuple[Location, Misconfigured]]:
        if any(location[:depth] in self._settled for depth in range(len(location) + 1)):
            return
        if location[-1:] == ("[key]",):
            yield location, self._made(location[:-1], context["expected"], shown(location[-2]), None, key=True)
        elif kind == "extra_forbidden":
            yield location, self._unknown_key(location)
        elif kind == "missing":
            yield location, self._made(location, "this key", "nothing", "it has no default", code="missing-key")
        else:
            yield location, self._wrong_value(kind, location, context)

    def _unknown_key(self, location: Location) -> Misconfigured:
        parent, key = _names(location[:-1]), str(location[-1])
        valid = keys_at(parent)
        expected = f"one of the keys {listed(valid)}"
        later = coming_key(parent, key)
        got = f"the key {shown(key)}"
        if later:
            return self._made(location, expected, got, later, key=True, code="not-yet")
        unknown = f"the unknown key {shown(key)}"
        return self._made(location, expected, unknown, nearest(key, valid), key=True, code="unknown-key")

    def _wrong_value(self, kind: str, location: Location, context: dict[str, Any]) -> Misconfigured:
        if _is_absent(self._data, location):
            return self._made(location, context["expected"], "nothing", context.get("hint"))
        value = _at(self._data, location)
        expected = _EXPECTED[kind](context) if kind in _EXPECTED else "a valid value"
        later = coming_value(_names(location), value)
        if later:
            return self._made(location, expected, _got(value), later, code="not-yet")
        # A hint may quote numbers of the section: with one of them from the environment, better none.
        hint = None if _holds_environment(value) else _hint(kind, context, value)
        if _is_secret(location, value):
            got = "a secret, which is not shown"
        else:
            got = _kind_of(value) if expected == "a mapping" else _got(value)
        return self._made(location, expected, got, hint)

    def _made(
        self,
        location: Location,
        expected: str,
        got: str,
        hint: str | None,
        *,
        key: bool = False,
        code: str = "wrong-value",
    ) -> Misconfigured:
        place = place_of(self._root, location, key=key)
        return Misconfigured(path_of(location), expected, got, self._file, place.line, place.column, hint, code=code)


def path_of(location: Location) -> str:
    """Write a location as people do: `streams.articles.source.include[0]`.

    It ends where the schema has no more keys: a secret in braces, `key: {SECRET}`, is a key itself.
    """
    path = ""
    for depth, part in enumerate(location):
        if isinstance(part, int):
            path += f"[{part}]"
        elif has_keys(_names(location[:depth])):
            # Shortened: a hostile key must not fill the screen.
            name = part if re.fullmatch(r"[\w./*-]{1,64}", part) else shown(part)
            path = f"{path}.{name}" if path else name
        else:
            break
    return path or ROOT


def place_of(root: Node, location: Location, *, key: bool = False) -> Place:
    """Find the place of the value at a location (or of its key); of the nearest one around it where there is none."""
    node, place = root, root.place
    for part in location:
        if isinstance(node, Mapping) and part in node.entries:
            key_place, node = node.entries[str(part)]
            place = key_place if key else node.place
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            place = node.place
        else:
            return node.place
    return place


def _at(data: object, location: Location) -> object:
    """Return the value at a location, or the nearest one around it."""
    for part in location:
        held = part in data if isinstance(data, dict) else isinstance(data, tuple) and part in range(len(data))
        if not held:
            return data
        data = cast("Any", data)[part]
    return data


def _is_absent(data: object, location: Location) -> bool:
    """Tell whether an error is about a key that is not there: of all others the value is at fault."""
    around = _at(data, location[:-1]) if location else None
    return isinstance(around, dict) and location[-1] not in around


def _is_secret(location: Location, value: object) -> bool:
    """Tell whether a value must not be shown, whoever wrote it into the file."""
    if isinstance(value, dict | tuple):
        return False
    known = keys_at(_names(location[:-1])) if location else {}
    key = known.get(str(location[-1])) if known else None
    if key is None:
        return bool(known)  # a key that the schema does not know may hold anything
    return key.secret


def _names(location: Location) -> tuple[str, ...]:
    return tuple(map(str, location))


def _kind_of(value: object) -> str:
    """Say what was found where a section belongs: people put there the secret alone that is to stand in it."""
    if isinstance(value, FromEnvironment | bool):
        return _got(value)
    return "a text" if isinstance(value, str) else "a number" if isinstance(value, int | float) else shown(value)


def _got(value: object) -> str:
    """Say what was found, without any value that came from the environment, and without credentials."""
    if isinstance(value, FromEnvironment):
        return f"the value of {value.references}"
    if isinstance(value, str) and "@" in value:  # people put passwords before it
        scheme = re.match("([a-z]{1,16})://", value)
        return f"a URL of {shown(scheme[1])} with credentials" if scheme else "a text with @, which is not shown"
    if isinstance(value, str):
        value = _CREDENTIAL.sub(r"\1…", value)
        return shown(re.sub(r"[?#].*", "?…", value, flags=re.DOTALL) if "://" in value else value)
    return shown(value)


def _hint(kind: str, context: dict[str, Any], value: object) -> str | None:
    if kind == "literal_error":
        return nearest(str(value), _choices(context))
    if kind == "string_type" and not isinstance(value, dict | tuple):
        return "put it in quotes if it is meant as a text"
    if kind == "tuple_type" and isinstance(value, str):
        return "put it in brackets: [...]"
    return context.get("hint")


def _choices(context: dict[str, Any]) -> list[str]:
    """Take the valid values out of pydantic's words: `'a', 'b' or 'c'`."""
    return str(context["expected"]).split("'")[1::2]


def _holds_environment(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_environment, value.values()))
    if isinstance(value, tuple):
        return any(map(_holds_environment, value))
    return isinstance(value, FromEnvironment)
