"""The schema as a tree of keys: for naming the valid keys of a place, and for the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from headwater.settings.schema import Settings
from headwater.settings.values import Section


@dataclass(frozen=True)
class Key:
    """One key of a section: what it holds, and whether its values stand under names that the user chooses.

    `attribute` is its name in the settings.
    """

    name: str
    attribute: str
    info: FieldInfo
    section: type[Section] | None
    named: bool

    @property
    def secret(self) -> bool:
        """Whether its value is never shown."""
        return SecretStr in (self.info.annotation, *arguments(self.info.annotation))


def keys(section: type[Section]) -> dict[str, Key]:
    """Return the keys of a section by their names in the file."""
    return {key.name: key for key in _keys(section)}


def keys_at(place: tuple[str, ...]) -> dict[str, Key]:
    """Return the valid keys of the mapping at a place, or none where the place is no section."""
    section, names_follow = _at(place)
    return keys(section) if section and not names_follow else {}


def has_keys(place: tuple[str, ...]) -> bool:
    """Tell whether the place is a section, or sections under names that the user chooses."""
    return _at(place)[0] is not None


def _at(place: tuple[str, ...]) -> tuple[type[Section] | None, bool]:
    """Return the section at a place, and whether it is one under each of the user's names."""
    section: type[Section] | None = Settings
    names_follow = False
    for part in place:
        if names_follow:
            names_follow = False
            continue
        key = keys(section).get(part) if section else None
        section, names_follow = (key.section, key.named) if key else (None, False)
    return section, names_follow


def _keys(section: type[Section]) -> Iterator[Key]:
    for name, info in section.model_fields.items():
        inner, named = _inner(info.annotation)
        yield Key(info.alias or name, name, info, inner, named)


def _inner(annotation: object) -> tuple[type[Section] | None, bool]:
    """Find the section inside an annotation, through Annotated, Optional and Mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, False
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Mapping:
        return _inner(arguments[1])[0], True
    candidates = arguments[:1] if origin is Annotated else arguments
    for candidate in candidates:
        found = _inner(candidate)
        if found[0] is not None:
            return found
    return None, False


def arguments(annotation: object) -> Iterator[object]:
    """Return all arguments of a type, at every depth."""
    for argument in get_args(annotation):
        yield argument
        yield from arguments(argument)
