"""PURE: which files stand still, so that what is read of them is whole and not what a writer has got to."""

from __future__ import annotations

from typing import NamedTuple

#: A file that changed within so long may still be written.
QUIET_S = 0.5
#: A file that never stands still for so long is told of.
RESTLESS_S = 5.0


class _Seen(NamedTuple):
    """A file that did not stand still: how it was, since when it is so, and since when it is not still."""

    stamp: object
    since_s: float
    restless_s: float


class Stillness:
    """Remembers, from pass to pass, the files that did not stand still yet; of others it knows nothing.

    A time stamp tells that a file was left alone, if its clock is ours. Where that runs ahead, two looks do.
    """

    def __init__(self) -> None:
        self._before: dict[str, _Seen] = {}
        self._now: dict[str, _Seen] = {}

    def turn(self) -> None:
        """Begin a pass: what the last one did not ask for is forgotten."""
        self._before, self._now = self._now, {}

    def wait_s(self, name: str, stamp: object, age_s: float, now_s: float) -> float:
        """Return how long a file must be left alone yet, 0 when it stands still; `stamp` is all that tells a change.

        `age_s` is how long ago it changed by its time stamp, `now_s` the time by a clock that only runs forward.
        """
        if age_s >= QUIET_S:
            return 0.0
        before = self._before.get(name)
        same = before is not None and before.stamp == stamp
        since_s = before.since_s if before and same else now_s
        stood_s = max(now_s - since_s, age_s)
        if stood_s >= QUIET_S:
            return 0.0
        self._now[name] = _Seen(stamp, since_s, before.restless_s if before else now_s)
        return QUIET_S - max(stood_s, 0.0)

    def restless(self, name: str, now_s: float) -> bool:
        """Tell whether a file that was just found not to stand still has been so for long."""
        return now_s - self._now[name].restless_s >= RESTLESS_S
