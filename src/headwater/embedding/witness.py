"""PURE: what shows that a model is still the one that an index generation was built with, and reads texts to the end.

A service can put another model behind a name, and can cut what is too long for it without a word. Neither shows in a
vector by itself. So fixed texts are embedded again and again: the same text has the same vector while the model is the
same, and two texts that differ only at the end have different ones while the end is read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headwater.embedding.port import PROBE
from headwater.errors import Halt

#: Of many kinds, so that whatever changed shows in one of them; short, so that no model cuts one. Never change them: an
#: index keeps their vectors, and other texts would look like another model.
PROBES = (
    PROBE,
    "Bread rises twice before it is baked.",
    "Which terms of the contract end when the tenant dies?",
    "def mean(values): return sum(values) / len(values)",
    "Invoice 2024-0117: 3 items, 1,249.50 EUR, due in 30 days",
    "Der Frost kam früh, und die Äpfel hingen noch am Baum.",
    "水は低きに流れ、人は易きに流れる。",
    "liver enzymes elevated; repeat the test in six weeks",
)

#: The least cosine between a text's vectors that one model explains: batches of other shapes, halves instead of floats
#: and other machines leave it above 0.999, while models of other training fall far below this.
DRIFT = 0.99
#: From this cosine on two texts are the same to a model. A model's own noise stays within it, its reading of the end of
#: a text does not.
TAIL = 0.9999

#: Without a new `revision` the new index would take the old model's vectors from a cache: they have its name.
DRIFT_CURE = (
    "Bring the old model back, or give this state of the model a name and the stream a new index "
    "(`embed: {revision: ...}` and `index: sqlite:///another.db`): the log is replayed into it with the model that "
    "answers now"
)

#: What `Halt.invariant` may be when a witness speaks.
INCIDENTS = frozenset({"model-drift", "silent-truncation"})

_BODY = (
    "The harbour wakes before the town does. Boats leave with the tide and come back with it, and between the two the "
    "market fills with voices, crates and weighing scales. A keeper writes down what was landed, by whom and at what "
    "price, as her mother did, in the same kind of book. In winter the roads are closed for days, and letters wait at "
    "the station until somebody with a sledge has the time. Children learn to read from old timetables. "
)
_TAILS = (
    "In the end the court held that the lease was void and ordered both parties to pay their own costs. ",
    "Finally whisk four egg whites with sugar, fold in ripe lemon zest, and chill it overnight in a bowl. ",
)
#: The tails grow with the texts, or they would drown in them: a vector is much like a mean over its text.
_LEAST_TAIL, _TAIL_SHARE = 48, 24


def tail_pair(characters: int) -> tuple[str, str]:
    """Return two ordinary texts of so many characters, which differ only at their ends: in the last few words of a
    short one, in the last 24th of a long one.
    """
    tail = min(characters, max(_LEAST_TAIL, characters // _TAIL_SHARE))
    head = _long(_BODY, characters - tail)
    first, second = (head + _long(ending, tail) for ending in _TAILS)
    return first, second


def encode(vectors: Sequence[bytes]) -> bytes:
    """Pack vectors of one size (little-endian float32, as `answers.check` makes them) as little-endian float16, one
    after the other. An empty one, of a text that the model refuses, becomes zeros.
    """
    width = max(map(len, vectors))
    rows = np.frombuffer(b"".join(vector or bytes(width) for vector in vectors), dtype="<f4")
    return rows.astype("<f2").tobytes()


def likeness(then: bytes, now: bytes) -> float:
    """Return the least cosine between the vectors of a probe then and now, both as `encode` packs them; -1 if there
    were not as many numbers. Probes that were refused, then or now, do not count.
    """
    if len(then) != len(now):
        return -1.0
    before, after = _decode(then), _decode(now)
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    known = lengths > 0
    if not known.any():
        return 1.0
    return float((np.einsum("ij,ij->i", before, after)[known] / lengths[known]).min())


def cosine(one: bytes, other: bytes) -> float:
    """Return the cosine of two vectors of length 1 (little-endian float32)."""
    return float(np.frombuffer(one, dtype="<f4") @ np.frombuffer(other, dtype="<f4"))


def _decode(packed: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(packed, dtype="<f2").astype(np.float64).reshape(len(PROBES), -1)


def _long(text: str, characters: int) -> str:
    return (text * (characters // len(text) + 1))[:characters]


def drifted(name: str) -> Halt:
    """Return what ends a stream whose model answers other vectors for the same text than it did in this process."""
    return Halt(
        "model-drift",
        f"{name} answers other vectors than before for the same text: another model stands behind the name now. "
        "Nothing that it answered was written",
        DRIFT_CURE,
    )
