"""Steering: changes of a stream's registry entry, by compare-and-set."""

from __future__ import annotations

from collections.abc import Callable

from headwater.cli.failures import Failure
from headwater.log.port import Registry
from headwater.model.registry import StreamState

_ATTEMPTS = 20


async def steer(registry: Registry, stream: str, change: Callable[[StreamState], StreamState]) -> StreamState:
    """Change the entry; return what it was before. Others may change it meanwhile: then from what they left."""
    for _ in range(_ATTEMPTS):
        before = await registry.read(stream)
        after = change(before)
        if after == before or await registry.advance(stream, after):
            return before
    raise Failure(f"the registry entry of {stream} changes all the time. Try again")
