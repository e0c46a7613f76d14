"""YAML to a tree of nodes that know their place. Safe against hostile files: every dimension has a limit.

The tree is built from the parser's events, one after the other, so that a limit ends the reading at once. Tags, merge
keys, a second document and duplicate keys are errors. None of them quotes what a tag, an anchor or an alias is called:
to YAML a password that begins with `!`, `&` or `*` is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from headwater.errors import Misconfigured

# Reading takes about 30 microseconds a node. A stream has about 20.
NODES_MAX = 20_000
DEPTH_MAX = 32
ALIASES_MAX = 200

ROOT = "the file"

#: What a stream may be called. All that completes names or prints them relies on it.
STREAM_NAME = "[a-z][a-z0-9_-]{0,62}"


@dataclass(frozen=True)
class Place:
    """Line and column, both counted from 1."""

    line: int
    column: int


@dataclass
class Scalar:
    """A text. `plain` ones, written without quotes, may also mean a number, true, false or nothing."""

    place: Place
    text: str
    plain: bool
    size: int = 1


@dataclass
class Sequence:
    """A list of nodes. `size` counts all nodes in it, what aliases stand for included."""

    place: Place
    items: list[Node] = field(default_factory=list)
    size: int = 1


@dataclass
class Mapping:
    """Keys with their own places, and their values."""

    place: Place
    entries: dict[str, tuple[Place, Node]] = field(default_factory=dict)
    size: int = 1


Node = Scalar | Sequence | Mapping

#: The keys and indexes that lead to a node.
Location = tuple[str | int, ...]


class Parsing:
    """One reading of one file: collects the errors that do not end it, raises the one that does.

    `path_of` writes the location of an error. Without it none is told: where a secret begins only the schema knows.
    """

    def __init__(self, file: str, path_of: Callable[[Location], str] = lambda _location: ROOT) -> None:
        self._file = file
        self._path_of = path_of
        self.errors: list[Misconfigured] = []
        self._anchors: dict[str, Node | None] = {}
        self._aliases = 0
        self._nodes = 0

    def read(self, text: str) -> Node | None:
        """Return the tree of the only document, or None when there is none. Raise Misconfigured when it is not YAML."""
        try:
            return self._document(_events(text))
        except MarkedYAMLError as error:
            raise self._syntax(error, text) from None
        except ReaderError as error:
            before = text[: error.position]
            place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
            raise self._error(place, (), "text", "a control character", "write it as \\xNN in double quotes") from None
        except Misconfigured:
            raise
        except Exception:  # noqa: BLE001 (the parser trips over some hostile texts in ways of its own: an error of the text)
            raise self._error(Place(1, 1), (), "YAML 1.2", "something that cannot be parsed") from None

    def _document(self, events: Iterator[Any]) -> Node | None:
        root: Node | None = None
        seen = False
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                if seen:
                    raise self._error(_place(event), (), "one document", "a second one", "remove the line ---")
                seen = True
                self._check_directives(event)
            elif kind not in {"StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"}:
                root = self._node(event, events, (), depth=1)
        return root

    def _node(self, event: Any, events: Iterator[Any], location: Location, depth: int) -> Node:
        """Read one node; its events follow the given one."""
        place, kind = _place(event), type(event).__name__
        if kind == "AliasEvent":
            return self._alias(event, place, location)
        self._nodes += 1
        self._check_limits(place, location, depth)
        if event.tag is not None:
            cure = "put it in quotes if it is a text that begins with !"
            self.errors.append(self._error(place, location, "a value without a tag", "one with a tag", cure))
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # until it is complete, an alias to it is an endless loop
        node: Node
        if kind == "ScalarEvent":
            node = Scalar(place, event.value, plain=event.style is None or event.style == "")
        elif kind == "SequenceStartEvent":
            node = self._sequence(place, events, location, depth)
        else:
            node = self._mapping(place, events, location, depth)
        if node.size > NODES_MAX:
            raise self._too_large(place, location)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _sequence(self, place: Place, events: Iterator[Any], location: Location, depth: int) -> Sequence:
        made = Sequence(place)
        for event in events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            item = self._node(event, events, (*location, len(made.items)), depth + 1)
            made.items.append(item)
            made.size += item.size
        return made

    def _mapping(self, place: Place, events: Iterator[Any], location: Location, depth: int) -> Mapping:
        made = Mapping(place)
        for event in events:
            if type(event).__name__ == "MappingEndEvent":
                break
            key = self._node(event, events, location, depth + 1)
            name = key.text if isinstance(key, Scalar) else ""
            value = self._node(next(events), events, (*location, name), depth + 1)
            made.size += key.size + value.size
            if self._is_usable_key(key, location, made):
                made.entries[name] = (key.place, value)
        return made

    def _is_usable_key(self, key: Node, location: Location, made: Mapping) -> bool:
        """Check a key; note the error where it is none."""
        if not isinstance(key, Scalar):
            error = self._error(
                key.place, location, "a key", "a list or a mapping as a key", "quote it if it is a text"
            )
        elif key.plain and key.text == "<<":
            error = self._error(
                key.place, location, "a key", "the merge key <<", "YAML 1.2 has none: write the keys out"
            )
        elif key.text in made.entries:
            first = made.entries[key.text][0]
            error = self._error(
                key.place,
                (*location, key.text),
                "each key once",
                "a duplicate key",
                f"the first stands in line {first.line}, column {first.column}",
            )
        else:
            return True
        self.errors.append(error)
        return False

    def _alias(self, event: Any, place: Place, location: Location) -> Node:
        self._aliases += 1
        if self._aliases > ALIASES_MAX:
            raise self._error(place, location, f"at most {ALIASES_MAX} aliases", "more")
        node = self._anchors.get(event.anchor, None)
        if node is None:
            looped = event.anchor in self._anchors
            got = "an alias inside its own anchor" if looped else "an alias of nothing"
            cure = None if looped else "put it in quotes if it is a text that begins with *"
            raise self._error(place, location, "an anchor that stands before its alias", got, cure)
        return node

    def _check_limits(self, place: Place, location: Location, depth: int) -> None:
        if self._nodes > NODES_MAX:
            raise self._too_large(place, location)
        if depth > DEPTH_MAX:
            raise self._error(place, location, f"at most {DEPTH_MAX} levels of nesting", "more")

    def _check_directives(self, event: Any) -> None:
        if event.version is not None and tuple(event.version) != (1, 2):
            got = "a directive for YAML " + ".".join(map(str, event.version))
            raise self._error(_place(event), (), "YAML 1.2", got, "remove the line %YAML")

    def _too_large(self, place: Place, location: Location) -> Misconfigured:
        return self._error(
            place, location, f"at most {NODES_MAX} values, those behind aliases counted each time", "more"
        )

    def _syntax(self, error: MarkedYAMLError, text: str) -> Misconfigured:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        problem = re.sub(r"\s+", " ", str(error.problem or error.context or "unknown"))
        problem = re.sub("(?<=tag handle).*", "", problem)  # it may begin a password
        around = "".join(text.splitlines(keepends=True)[max(0, place.line - 2) : place.line])
        hint = "inside braces or brackets, put ${env:NAME} in quotes" if "${" in around else None
        return self._error(place, (), "YAML", f"a syntax error: {problem[:100]}", hint)

    def _error(
        self, place: Place, location: Location, expected: str, got: str, hint: str | None = None
    ) -> Misconfigured:
        path = self._path_of(location)
        return Misconfigured(path, expected, got, self._file, place.line, place.column, hint, code="not-yaml")


def _events(text: str) -> Iterator[Any]:
    """Start the pure parser: the same on every platform, and its marks are exact."""
    events: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)
    return events


def _place(event: Any) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)
