"""`${env:NAME}` inside a scalar, filled in after parsing: what a variable holds can never become structure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from headwater.settings.failures import Unfit

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}$]*)(\}?)")
_NAME = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


class FromEnvironment(str):
    """A text of which a part came from the environment: never shown."""

    __slots__ = ("references",)
    references: str

    @classmethod
    def of(cls, text: str, references: tuple[str, ...]) -> FromEnvironment:
        """Mark a text with the references that it came from."""
        made = cls(text)
        made.references = " and ".join(references)
        return made


def interpolated(text: str, environment: Mapping[str, str]) -> str:
    """Fill in every reference. `$${` stands for the two characters `${`. What is filled in is not looked at again."""
    references: list[str] = []

    def fill(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        name = _name(found)
        if name not in environment:
            cure = f"set {name}, or write $${{ for the characters themselves"
            raise Unfit(
                f"the environment variable {name}", cure, got="a variable that is not set", code="unset-variable"
            )
        references.append(found[0])
        return environment[name]

    filled = _REFERENCE.sub(fill, text)
    return FromEnvironment.of(filled, tuple(dict.fromkeys(references))) if references else filled


def _name(found: re.Match[str]) -> str:
    """Return the variable's name, or say what is wrong with the reference."""
    name = _NAME.fullmatch(found[1])
    if name is None or not found[2]:
        cure = "write $${ for the characters themselves; defaults are not supported"
        raise Unfit("${env:NAME}", cure, got="another kind of reference", code="unset-variable")
    return name[1]
