"""PURE: what the demo measured, and which promises those figures break."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the folder, and what following it took.

    `chunks` stand in the written documents, `embedded` of their texts went to the model, `seconds` passed from the
    worker's start to its end.
    """

    name: str
    added: int
    edited: int
    deleted: int
    chunks: int
    embedded: int
    seconds: float

    @property
    def changed(self) -> int:
        """How many documents were written or deleted."""
        return self.added + self.edited + self.deleted


class Found(msgspec.Struct, frozen=True):
    """The best hit for a question."""

    question: str
    id: str
    title: str
    score: float
    milliseconds: float


class Deletion(msgspec.Struct, frozen=True):
    """Deleted documents: those that a search still found, and the receipts of the first of them."""

    ids: tuple[str, ...]
    still_found: tuple[str, ...]
    trace: tuple[dict[str, Any], ...]


class Crash(msgspec.Struct, frozen=True):
    """A worker killed in its work: where the kill struck it, and what the next one left."""

    changes: int
    settled: int
    waiting: int
    waiting_after: int
    verified: bool


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """All that one run of the demo measured."""

    package: str
    releases: tuple[str, ...]
    acts: tuple[Act, ...]
    answers: tuple[Found, ...]
    deletion: Deletion
    crash: Crash
    files: int
    documents: int
    chunks: int
    foreign_chunks: int
    appended: int
    outcomes: dict[str, int]
    dead_letters: int
    embedding: dict[str, int]
    freshness: dict[str, Any]
    verify: dict[str, Any]
    seconds: float

    @property
    def receipts(self) -> int:
        """Receipts of all outcomes."""
        return sum(self.outcomes.values())


def broken(figures: Figures) -> tuple[str, ...]:
    """Say which promises the figures break; empty when they break none."""
    return tuple(itertools.chain(_wrong_index(figures), _lost(figures), _costly_or_late(figures)))


def _wrong_index(figures: Figures) -> Iterator[str]:
    """The index is not what the log and the folder say."""
    if not figures.verify.get("ok"):
        yield "`headwater verify` is not clean"
    if figures.documents != figures.files:
        yield f"the folder has {figures.files} documents and the index {figures.documents}"
    if figures.foreign_chunks:
        yield f"{figures.foreign_chunks} chunks of the index stand in no file of the folder"
    if figures.deletion.still_found:
        yield f"a search found what was deleted: {', '.join(figures.deletion.still_found)}"


def _lost(figures: Figures) -> Iterator[str]:
    """A change, or its receipt, is missing."""
    if figures.receipts != figures.appended:
        yield f"{figures.appended} changes have {figures.receipts} receipts"
    if figures.dead_letters:
        yield f"{figures.dead_letters} changes became dead letters"
    if figures.crash.waiting_after:
        yield f"{figures.crash.waiting_after} changes were left after the crash"
    if not figures.crash.verified:
        yield "`headwater verify` was not clean after the crash"
    if not figures.deletion.trace or figures.deletion.trace[-1].get("outcome") != "deleted":
        yield f"the deletion of {figures.deletion.ids[0]} has no receipt"


def _costly_or_late(figures: Figures) -> Iterator[str]:
    """More was embedded than the changed documents hold, or changes were searchable too late."""
    for act in figures.acts:
        if act.embedded > act.chunks:
            yield f"{act.name}: {act.embedded} texts were embedded for {act.chunks} chunks"
    budget_s, worst_s = figures.freshness.get("budget_s"), figures.freshness.get("p99_s")
    if budget_s is None or worst_s is None or worst_s > budget_s:
        yield f"99 % of changes were searchable within {worst_s} s, the budget is {budget_s} s"
