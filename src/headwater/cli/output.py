"""Output: data on stdout, messages on stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import msgspec


def tell(message: str) -> None:
    """Write a message for people."""
    print(message, file=sys.stderr, flush=True)


def say(line: str = "") -> None:
    """Write a line of data as people read it."""
    print(line)


def write_json(value: Mapping[str, Any]) -> None:
    """Write one JSON document on one line."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()
