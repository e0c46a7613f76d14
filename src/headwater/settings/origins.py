"""PURE: every value that is in effect, and where it comes from. What is secret is hidden before anybody has it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from headwater.settings.interpolation import FromEnvironment
from headwater.settings.kafka import KafkaLog
from headwater.settings.loading import meant, scalar
from headwater.settings.nodes import Mapping as Keyed
from headwater.settings.nodes import Node, Place, Scalar, Sequence
from headwater.settings.outline import Key, keys
from headwater.settings.reference import default_of
from headwater.settings.schema import Settings, StreamSettings
from headwater.settings.values import Section

HIDDEN = "********"

Plain = str | int | float | bool | list["Plain"]

_BARE = re.compile(r"(?:[A-Za-z]|\.{0,2}/)[A-Za-z0-9_./@-]*(:[A-Za-z0-9_./@-]+)*|[0-9]+(\.[0-9]+)?[A-Za-z]+")
_WORDS = frozenset({"true", "false", "null"})
_LOGIN = re.compile(r"(?<=://)[^/@]*@")


@dataclass(frozen=True)
class Value:
    """One value. `place` is where it stands in the file, None for a default; `variables` are what it refers to."""

    path: tuple[str, ...]
    value: Plain
    place: Place | None = None
    variables: tuple[str, ...] = ()

    def origin(self, file: Path) -> str:
        """Return where it comes from, for people."""
        if self.place is None:
            return "default"
        return ", ".join([*self.variables, f"{file}:{self.place.line}"])


def values(settings: Settings, root: Node, environment: Mapping[str, str]) -> list[Value]:
    """Return all values that are in effect, in the order of the reference. What has no value at all is left out."""
    return list(_Walk(environment).section(settings, root, ()))


class _Walk:
    """Goes through settings and file side by side."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def section(self, held: Section, node: Node | None, path: tuple[str, ...]) -> Iterator[Value]:
        for key in keys(type(held)).values():
            if _idle(held, key):
                continue
            yield from self._key(getattr(held, key.attribute), key, _below(node, key), (*path, key.name))

    def _key(self, held: object, key: Key, node: Node | None, path: tuple[str, ...]) -> Iterator[Value]:
        if isinstance(held, Section):
            yield from self.section(held, node, path)
        elif isinstance(held, Mapping):
            for name, inner in held.items():
                entry = node.entries.get(name) if isinstance(node, Keyed) else None
                yield from self.section(inner, entry[1] if entry else None, (*path, name))
        elif held is not None or node is not None or default_of(key) is not None:
            yield self._leaf(held, key, node, path)

    def _leaf(self, held: object, key: Key, node: Node | None, path: tuple[str, ...]) -> Value:
        if node is None:
            default = default_of(key)
            return Value(path, _plain(held if default is None else default))
        scalars = node.items if isinstance(node, Sequence) else [node]
        read = [scalar(it, self._environment) for it in scalars if isinstance(it, Scalar)]
        variables = dict.fromkeys(it.references for it in read if isinstance(it, FromEnvironment))
        if key.secret:
            shown: Plain = HIDDEN
        elif isinstance(node, Scalar):
            # The environment gives texts: `watch: ${env:X}` stands for true itself, not for "true".
            text = isinstance(read[0], str) and isinstance(held, int | float)
            shown = _plain(meant(str(read[0])) if text else read[0])
        else:
            shown = [_plain(it) for it in read] if isinstance(node, Sequence) else _plain(held)
        return Value(path, shown, node.place, tuple(variables))


def _idle(held: Section, key: Key) -> bool:
    """Tell whether something else decides what the key would."""
    if isinstance(held, StreamSettings):
        return key.name == "partitions" and held.topic is not None
    return isinstance(held, KafkaLog) and key.name == "session_timeout" and held.rebalance == "consumer"


def _below(node: Node | None, key: Key) -> Node | None:
    """Return what stands under a key. A text alone is short for the one key that a mapping must have."""
    if isinstance(node, Keyed):
        entry = node.entries.get(key.name)
        return entry[1] if entry else None
    return node if isinstance(node, Scalar) and key.info.is_required() else None


def _plain(value: object) -> Plain:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(it) for it in value]
    return without_login(str(value))


def without_login(text: str) -> str:
    """Hide what stands before the @ of a URL. Settings hold none; what a provider of a package takes is not known."""
    return _LOGIN.sub(f"{HIDDEN}@", text)


def nested(found: list[Value]) -> dict[str, object]:
    """Return the values as the file would have them."""
    made: dict[str, object] = {}
    for it in found:
        inner = made
        for name in it.path[:-1]:
            inner = inner.setdefault(name, {})  # type: ignore[assignment]  # it is a mapping: no key is above itself
        inner[it.path[-1]] = it.value
    return made


def lines(found: list[Value]) -> Iterator[tuple[str, Value | None]]:
    """Return the values as lines of YAML, each with the value that stands in it."""
    open_: tuple[str, ...] = ()
    for it in found:
        above = it.path[:-1]
        for depth, name in enumerate(above):
            if open_[: depth + 1] != above[: depth + 1]:
                yield f"{'  ' * depth}{name}:", None
        open_ = above
        yield f"{'  ' * len(above)}{it.path[-1]}: {yaml(it.value)}", it


def yaml(value: Plain) -> str:
    """Write a value so that `load` reads the same one."""
    if isinstance(value, list):
        return f"[{', '.join(map(yaml, value))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    text = value.replace("${", "$${")
    if _BARE.fullmatch(text) and text not in _WORDS:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(it if it.isprintable() else f"\\U{ord(it):08x}" for it in escaped) + '"'
