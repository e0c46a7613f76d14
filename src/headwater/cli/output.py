"""Output: data on stdout, messages on stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import msgspec

#: What a document or a file name could steer a terminal with.
_CONTROLS = dict.fromkeys([*range(32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}")


def tell(message: str) -> None:
    """Write a message for people."""
    print(message.translate(_CONTROLS), file=sys.stderr, flush=True)


def say(line: str = "") -> None:
    """Write a line of data as people read it."""
    print(line.translate(_CONTROLS))


def write_json(value: Mapping[str, Any]) -> None:
    """Write one JSON document on one line."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
