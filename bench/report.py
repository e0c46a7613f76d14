"""What a measurement says, as a table for people and as build/bench.json for machines."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

OUT = Path("build/bench.json")


@dataclass(frozen=True)
class Figure:
    """One line. `ratio` is ours over baseline, or ours alone where there is none; `target` is what it must keep to."""

    name: str
    unit: str
    ours: float
    baseline: float | None = None
    ratio: float | None = None
    target: str | None = None

    @property
    def verdict(self) -> str:
        """Whether the target is met. It is written as `>= number` or `<= number`."""
        if self.target is None:
            return ""
        sign, bound = self.target.split()
        value = self.ours if self.ratio is None else self.ratio
        return "ok" if (value >= float(bound) if sign == ">=" else value <= float(bound)) else "MISSED"


def report(figures: list[Figure]) -> None:
    """Print the table and write the file."""
    print(f"\n{'figure':72} {'unit':14} {'ours':>10} {'baseline':>10} {'ratio':>7}  target")
    for it in figures:
        baseline = "" if it.baseline is None else f"{it.baseline:10.4g}"
        ratio = "" if it.ratio is None else f"{it.ratio:7.3f}"
        print(f"{it.name:72} {it.unit:14} {it.ours:10.4g} {baseline:>10} {ratio:>7}  {it.target or '':9} {it.verdict}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps([asdict(it) for it in figures], indent=1) + "\n")
    print(f"\nwrote {OUT}")


def percentile(values: list[float], share: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: list[float]) -> float:
    """The middle one: what a noisy machine changes least."""
    return statistics.median(values)
