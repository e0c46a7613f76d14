"""The record of a faulty provider: a JSON line for each request and each line of a job, and what that answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import IO

import msgspec

from headwater.rehearsal.plan import Fault, Limit, Plan, WindowKind
from headwater.rehearsal.service import Ask, Verdict, Why
from headwater.rehearsal.windows import Counted


class Opening(msgspec.Struct, frozen=True):
    """The first line: when the provider started, in microseconds since the epoch, and its plan without its keys."""

    started_at_us: int
    plan: Plan


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One request, or line of a job. Times are microseconds since the provider's start; equal texts have equal digests.

    `status` is None where it was never answered. `admitted` says that the account's limits count it, and `embedded`
    that the work was done. `refused` is the reason why it was not; `faults` are those of the plan that struck.

    `batch` is the job of which it is a line: its times and its status are that line's. `about` says what a request
    wanted that asked for no vectors: `POST /files`.
    """

    number: int
    account: int
    at_us: int
    start_us: int
    end_us: int
    status: int | None
    texts: int
    tokens: int
    admitted: bool
    embedded: bool
    refused: str = ""
    faults: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    batch: str = ""
    about: str = ""

    @property
    def direct(self) -> bool:
        """Whether it is a request for vectors, which the account's limits are about."""
        return not self.batch and not self.about

    @property
    def held_back(self) -> bool:
        """Whether a limit refused it: not a fault that only says so."""
        return self.refused == Why.RATE_LIMITED and Fault.STORM not in self.faults


class Recorder:
    """Writes the record: a line is in the file, whole, when its request is answered."""

    def __init__(self, file: IO[bytes], opening: Opening) -> None:
        self._file = file
        self._line(Opening(opening.started_at_us, msgspec.structs.replace(opening.plan, keys=())))

    def write(self, ask: Ask | None, verdict: Verdict, status: int | None, *, batch: str = "", about: str = "") -> None:
        texts = ask.texts if ask else ()
        self._line(
            Entry(
                number=verdict.number,
                account=verdict.account,
                at_us=verdict.arrived_us,
                start_us=verdict.start_us,
                end_us=verdict.end_us,
                status=status,
                texts=len(texts),
                tokens=verdict.tokens,
                admitted=verdict.admitted,
                embedded=verdict.refusal is None and not about,
                refused=verdict.refusal.why if verdict.refusal else "",
                faults=verdict.faults,
                digests=tuple(map(digest_of, texts)),
                batch=batch,
                about=about,
            )
        )

    def _line(self, value: Opening | Entry) -> None:
        self._file.write(msgspec.json.encode(value) + b"\n")
        self._file.flush()


class Record:
    """What was recorded, in the order of arrival."""

    def __init__(self, opening: Opening, entries: Iterable[Entry]) -> None:
        self.plan = opening.plan
        self.started_at_us = opening.started_at_us
        self.entries: Sequence[Entry] = sorted(entries, key=lambda entry: entry.number)

    def __repr__(self) -> str:
        return f"Record({len(self.entries)} entries)"

    @property
    def direct(self) -> list[Entry]:
        """The requests for vectors: no lines of jobs, and nothing about jobs and files."""
        return [entry for entry in self.entries if entry.direct]

    def between(self, from_us: int, until_us: int) -> Record:
        """Return the record of what arrived in [from_us, until_us) since the start."""
        kept = (entry for entry in self.entries if from_us <= entry.at_us < until_us)
        return Record(Opening(self.started_at_us, self.plan), kept)

    def most(
        self,
        of: Counted,
        window_us: int,
        kind: WindowKind,
        *,
        refused_too: bool = False,
    ) -> int:
        """Return the most that any account used of its limit in any window of a length. With `refused_too` what it
        asked for, which is more where a limit had to hold it back.
        """
        used: dict[int, list[tuple[int, int]]] = {}
        for entry in self.entries:
            if entry.admitted or (refused_too and entry.held_back):
                amount = 1 if of == "requests" else entry.tokens
                used.setdefault(entry.account, []).append((entry.at_us, amount))
        count = _most_fixed if kind is WindowKind.FIXED else _most_sliding
        return max((count(amounts, window_us) for amounts in used.values()), default=0)

    def statuses(self) -> Counter[int | None]:
        """Return how many requests for vectors were answered with each status; None is never."""
        return Counter(entry.status for entry in self.direct)

    def faults(self) -> Counter[str]:
        """Return how many requests, of every sort, and lines each fault of the plan struck."""
        return Counter(fault for entry in self.entries for fault in entry.faults)

    def embedded(self) -> Counter[str]:
        """Return how often each text was embedded, by digest, in requests and in jobs."""
        return Counter(digest for entry in self.entries if entry.embedded for digest in entry.digests)

    def embedded_per_text(self) -> float:
        """Return how many texts were embedded for each different one; 0 when there was none."""
        return _ratio(self.embedded().total(), len(self.embedded()))

    def requests_per_batch(self) -> float:
        """Return how many requests for vectors there were for each different batch of texts that was embedded."""
        done = {entry.digests for entry in self.direct if entry.embedded}
        return _ratio(len(self.direct), len(done))

    def texts_per_s(self, from_us: int, until_us: int) -> float:
        """Return the texts of requests that were embedded and answered per second in [from_us, until_us). One that was
        at work partly outside counts for the part inside, so that the edges fall nowhere in particular.
        """
        done = sum(
            entry.texts * _part(entry, from_us, until_us)
            for entry in self.direct
            if entry.status == 200 and entry.embedded
        )
        return _ratio(done * 1e6, until_us - from_us)

    def summary(self) -> dict[str, object]:
        """Return the figures of the whole record."""
        return {
            "requests": len(self.direct),
            "statuses": {str(status or "never"): count for status, count in sorted(self.statuses().items(), key=str)},
            "faults": dict(sorted(self.faults().items())),
            "texts_embedded": self.embedded().total(),
            "embedded_per_text": round(self.embedded_per_text(), 4),
            "requests_per_batch": round(self.requests_per_batch(), 4),
            "batch": self._of_jobs(),
            "limits": [
                figures
                for limit in self.plan.limits
                for figures in (
                    self._against(limit, "requests", limit.requests),
                    self._against(limit, "tokens", limit.tokens),
                )
                if figures
            ],
        }

    def _of_jobs(self) -> dict[str, object]:
        lines = [entry for entry in self.entries if entry.batch]
        about = Counter(entry.about for entry in self.entries if entry.about)
        return {
            "jobs": len({entry.batch for entry in lines}),
            "lines": len(lines),
            "texts_embedded": sum(entry.texts for entry in lines if entry.embedded),
            "requests": dict(sorted(about.items())),
        }

    def _against(self, limit: Limit, of: Counted, allowed: int | None) -> dict[str, object]:
        if allowed is None:
            return {}
        window_us = round(limit.window_s * 1e6)
        return {
            "of": of,
            "kind": limit.kind,
            "window_s": limit.window_s,
            "limit": allowed,
            "most_admitted": self.most(of, window_us, limit.kind),
            "most_asked": self.most(of, window_us, limit.kind, refused_too=True),
        }


def read_record(path: Path) -> Record:
    """Read a record, of a provider that may still run: a last line that is not whole is left out."""
    opening, *lines = path.read_bytes().split(b"\n")[:-1]
    entries = map(msgspec.json.Decoder(Entry).decode, lines)
    return Record(msgspec.json.decode(opening, type=Opening), entries)


def digest_of(text: str) -> str:
    """Return the digest by which a text stands in the record."""
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _most_fixed(used: list[tuple[int, int]], window_us: int) -> int:
    windows: Counter[int] = Counter()
    for at_us, amount in used:
        windows[at_us // window_us] += amount
    return max(windows.values(), default=0)


def _most_sliding(used: list[tuple[int, int]], window_us: int) -> int:
    """Return the most in any (t - window, t]. Such a window begins to be the fullest where something arrives."""
    most = total = first = 0
    for at_us, amount in used:
        total += amount
        while used[first][0] <= at_us - window_us:
            total -= used[first][1]
            first += 1
        most = max(most, total)
    return most


def _part(entry: Entry, from_us: int, until_us: int) -> float:
    """Return how much of a request's work fell into [from_us, until_us)."""
    if entry.start_us == entry.end_us:
        return float(from_us <= entry.start_us < until_us)
    inside_us = min(entry.end_us, until_us) - max(entry.start_us, from_us)
    return max(0, inside_us) / (entry.end_us - entry.start_us)


def _ratio(one: float, other: float) -> float:
    return one / other if other else 0.0
