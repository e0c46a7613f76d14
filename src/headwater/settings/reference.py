"""Generated text about the configuration: the reference in Markdown, and the file that `headwater init` writes."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic_core import PydanticUndefined

from headwater.settings.outline import Key, arguments, keys
from headwater.settings.schema import Settings
from headwater.settings.values import Section, Written

_NAMES = {"streams": "NAME", "accounts": "NAME", "payload": "FIELD"}

_TEMPLATE = """\
# Headwater keeps the index below true to the documents in ./docs.
# Check this file with `headwater lint`. Relative paths are relative to this file.

log: sqlite:///headwater.db            # every change goes through this log first

streams:
  articles:
    # Every file of the folder is a document, known by its path. Without a source, changes come by `headwater publish`.
    source:
      folder: ./docs
      include: ["**/*.md", "**/*.txt"]
      exclude: []                      # which of those not, as lines of a .gitignore; also in files .headwaterignore
      rescan: 10s                      # how often the folder is looked through, told of changes or not
    freshness: 60s                     # 99 % of changes are searchable within
    replay: 2h                         # a full re-embedding takes at most
    recipe:
      chunk: {size: 800}               # characters that a chunk aims at
      embed: {model: static}           # built in: no network, no GPU
      payload: {title: title}          # fields that travel with every chunk: NAME: PATH in the body
    index: sqlite:///headwater.db      # where the vectors go
"""


def template() -> str:
    """Return the commented configuration to begin with."""
    return _TEMPLATE


def reference() -> str:
    """Return a table of every key: its type, its default and its meaning."""
    head = (
        "# Configuration reference\n\n"
        "<!-- Generated from the schema. -->\n\n"
        "Durations carry a unit: `250ms`, `30s`, `5m`, `2h`, `1d`; sizes too: `64KiB`, `10MB`. Only `true` and\n"
        "`false` are truths. Relative paths are relative to the file. `${env:NAME}` inside a value is the environment\n"
        "variable NAME; `$${` is the two characters themselves. Secrets are never shown.\n\n"
        "| key | type | default | meaning |\n| --- | --- | --- | --- |\n"
    )
    return head + "".join(f"{row}\n" for row in _rows(Settings, ""))


def _rows(section: type[Section], prefix: str) -> Iterator[str]:
    """One row a key, each section's keys below it."""
    for key in keys(section).values():
        path = f"{prefix}{key.name}"
        yield f"| `{path}` | {_type(key)} | {_default(key)} | {key.info.description} |"
        if key.section:
            yield from _rows(key.section, f"{path}.{_NAMES[key.name]}." if key.named else f"{path}.")


def _type(key: Key) -> str:
    written = [it.type for it in _written(key) if it.type]
    if written:
        return written[0]
    if key.section:
        return "mapping by name" if key.named else "mapping"
    choices = [choice for choice in arguments(key.info.annotation) if isinstance(choice, str)]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    held = [*arguments(key.info.annotation), key.info.annotation]
    names = {bool: "true or false", int: "whole number", str: "text"}
    return next(name for kind, name in names.items() if kind in held)


def _default(key: Key) -> str:
    written = _written(key)
    defaults = [it.default for it in written if it.default]
    value = key.info.default
    if defaults:
        return defaults[0]
    if key.info.default_factory is not None:
        return "none" if key.named else "as below"
    if value is None:
        return "none"
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    shown = {"duration": _duration, "size": _size}.get(_type(key))
    return f"`{shown(value)}`" if shown else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _written(key: Key) -> list[Written]:
    """Return what the type says of itself, the outermost first."""
    held = [*key.info.metadata, *arguments(key.info.annotation)]
    return [it for it in held if isinstance(it, Written)]


def _duration(seconds: float) -> str:
    """Write seconds in the largest unit that divides them."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % length == 0 and seconds > length:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def _size(number: int) -> str:
    """Write bytes in the largest unit that divides them."""
    for unit, length in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number % length == 0:
            return f"{number // length}{unit}"
    return f"{number}B"
