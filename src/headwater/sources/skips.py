"""PURE: what a source could not read, told once: each thing when it is new there, or when its reason changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: So many are told by name. Those behind them are counted, so that a folder of pictures fills neither memory nor log.
NAMED = 1_000


class Skips:
    """Remembers what the last pass could not read: at most `NAMED` names with their reasons, and how many there were.

    What can be read again, and fails once more later, is news again.
    """

    def __init__(self) -> None:
        self._named: dict[str, str] = {}
        self.count = 0

    def __repr__(self) -> str:
        return f"Skips({self.count})"

    def news(self, skipped: Sequence[tuple[str, str]]) -> Iterable[tuple[str, str]]:
        """Take the place of the last pass; return what that one did not name, or named for another reason."""
        named = dict(skipped[:NAMED])
        news = [(item, reason) for item, reason in named.items() if self._named.get(item) != reason]
        self._named, self.count = named, len(skipped)
        return news
