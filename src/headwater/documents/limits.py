"""What reading one document may cost."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one document. `memory_bytes` is what parsing may take beyond the program itself."""

    memory_bytes: int = 1 << 30
    cpu_s: int = 30
    wall_s: float = 120.0
    text_bytes: int = 32 << 20


#: Most documents need less. One that needs more is read again with all of its time, behind the others.
QUICK_CPU_S = 1
QUICK_WALL_S = 10.0


def quick(limits: Limits) -> Limits:
    """Return the limits of the first attempt."""
    cpu_s, wall_s = min(QUICK_CPU_S, limits.cpu_s), min(QUICK_WALL_S, limits.wall_s)
    return msgspec.structs.replace(limits, cpu_s=cpu_s, wall_s=wall_s)
