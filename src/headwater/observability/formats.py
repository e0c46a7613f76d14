"""How log lines look. Apart from `logs`, so that the command line names the forms without the machinery."""

from __future__ import annotations

from enum import StrEnum


class LogFormat(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"
