"""Redact: what was asked for gives way to a word for its kind, such as `[email]`, in texts and in JSON-like values.

Every rule takes time in proportion to the text, whatever stands in it: what is looked for has a length, and is looked
for only around a sign that it must have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from headwater.recipe.options import REDACTABLE, Redactable
from headwater.recipe.redact.addresses import emails, ips
from headwater.recipe.redact.keys import keys, names_a_secret
from headwater.recipe.redact.numbers import cards, ibans, names_a_phone, phones
from headwater.recipe.redact.shadow import Shadow

#: Part of the `text` fingerprint: raise it when the same text gives other findings.
REVISION = 2

_RULES: dict[Redactable, Callable[[str], Iterator[tuple[int, int]]]] = {
    # In the order of who has a stretch that several want.
    "key": keys,
    "email": emails,
    "iban": ibans,
    "card": cards,
    "ip": ips,
    "phone": phones,
}
assert set(_RULES) == set(REDACTABLE)


class Finding(NamedTuple):
    """What gives way: the characters `[start, end)` of the text, and why."""

    start: int
    end: int
    kind: Redactable


class Redactor:
    """Takes these kinds out of texts. Equal names take out the same."""

    def __init__(self, kinds: Iterable[Redactable]) -> None:
        wanted = frozenset(kinds)
        self._rules = [(kind, rule) for kind, rule in _RULES.items() if kind in wanted]
        if not self._rules:
            raise ValueError("a redactor without a kind takes nothing out")
        self.name = f"{REVISION}: {', '.join(sorted(wanted))}"

    def __repr__(self) -> str:
        return f"Redactor({self.name!r})"

    def find(self, text: str) -> list[Finding]:
        """Return what is to give way, in order. What overlaps is one finding, of the kind that comes first."""
        shadow = Shadow(text)
        found = [(start, end, rank) for rank, (_, rule) in enumerate(self._rules) for start, end in rule(shadow.text)]
        found.sort()
        merged: list[tuple[int, int, int]] = []
        for start, end, rank in found:
            if merged and start < merged[-1][1]:
                first, last, before = merged[-1]
                merged[-1] = (first, max(last, end), min(before, rank))
            else:
                merged.append((start, end, rank))
        return [Finding(*shadow.span(start, end), self._rules[rank][0]) for start, end, rank in merged]

    def text(self, text: str) -> str:
        """Return the text with a placeholder for each finding."""
        return _replaced(text, self.find(text))

    def value(self, value: Any, name: str = "") -> Any:
        """Return a JSON-like value with its texts, its numbers and the keys of its objects redacted.

        `name` is the field that holds it: `phone: 5551234567` is a phone number, the number alone is none, and
        `phone: {number: 5551234567}` is one too. Of keys that become equal the last one's value is kept.
        """
        if isinstance(value, str):
            return self._field(value, name)
        if isinstance(value, dict):
            return {
                self.text(key): self.value(one, name if name and key.lower() in _GENERIC else key)
                for key, one in value.items()
            }
        if isinstance(value, list):
            return [self.value(one, name) for one in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            written = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
            return value if len(written) < _SHORTEST or written == (cleaned := self._field(written, name)) else cleaned
        return value

    def _field(self, text: str, name: str) -> str:
        """Redact a field's text, read behind its name where that says what it holds."""
        if not name or not (names_a_secret(name) or names_a_phone(name)):
            return self.text(text)
        head = f"{name}: "
        found = [it for it in self.find(head + text) if it.end > len(head)]
        return _replaced(text, [Finding(max(it.start - len(head), 0), it.end - len(head), it.kind) for it in found])


#: Fields that are called after what they lie in.
_GENERIC = frozenset({"number", "value", "text"})
#: Nothing that is looked for is shorter.
_SHORTEST = 7


def _replaced(text: str, found: list[Finding]) -> str:
    if not found:
        return text
    parts = []
    at = 0
    for start, end, kind in found:
        parts += [text[at:start], f"[{kind}]"]
        at = end
    return "".join([*parts, text[at:]])
