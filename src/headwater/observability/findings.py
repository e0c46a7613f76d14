"""Findings: what a check found, why it matters, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(msgspec.Struct, frozen=True):
    """One finding of one check. What is in order has no `why` and no `next`.

    Whatever name of a file stands in it, its texts can be encoded.
    """

    check: str
    subject: str
    severity: Severity
    what: str
    why: str = ""
    next: str = ""

    def __post_init__(self) -> None:
        for name in ("check", "subject", "what", "why", "next"):
            msgspec.structs.force_setattr(self, name, getattr(self, name).encode(errors="backslashreplace").decode())


def in_order(check: str, subject: str, what: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(check, subject, Severity.OK, what)


def warning(check: str, subject: str, what: str, why: str, next_step: str) -> Finding:
    """Return a finding that will hurt some day."""
    return Finding(check, subject, Severity.WARNING, what, why, next_step)


def failure(check: str, subject: str, what: str, why: str, next_step: str) -> Finding:
    """Return a finding that breaks a promise, or keeps a worker from its work."""
    return Finding(check, subject, Severity.ERROR, what, why, next_step)


def sound(findings: Iterable[Finding]) -> bool:
    """Tell whether there is no error among them."""
    return all(finding.severity is not Severity.ERROR for finding in findings)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 change`, `2 changes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
