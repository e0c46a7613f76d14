"""PURE: the page at the demo's end, from what was measured."""

from __future__ import annotations

from collections.abc import Iterator

from headwater.demo.figures import Act, Figures, broken

_WIDTH = 78

#: What to do with a folder of one's own.
OWN_FOLDER = (
    "headwater init                          # then name your folder in headwater.yaml",
    "headwater run                           # follows the folder until you stop it",
    'headwater search articles "a question"  # any time, from another terminal',
)


def page(figures: Figures) -> str:
    """Write the page."""
    return "\n".join(_lines(figures))


def _lines(figures: Figures) -> Iterator[str]:
    releases = ", ".join(figures.releases)
    yield "═" * _WIDTH
    yield f"What was shown: the documentation of {figures.package.capitalize()}, releases {releases}"
    yield "═" * _WIDTH
    yield ""
    yield f"{'the folder':<32}{'documents':>10}{'their':>9}{'texts':>10}{'':>8}{'':>9}"
    yield f"{'':<32}{'changed':>10}{'chunks':>9}{'embedded':>10}{'share':>8}{'seconds':>9}"
    yield from map(_row, figures.acts)
    yield ""
    answers = sorted(answer.milliseconds for answer in figures.answers)
    yield f"search          {len(answers)} questions, the slowest answer after {answers[-1]:.0f} ms"
    deletion = figures.deletion
    yield f"deletion        {len(deletion.ids)} documents deleted, {len(deletion.still_found)} of them found afterwards"
    crash = figures.crash
    yield f"crash           killed with {crash.settled} of {crash.changes} changes settled and {crash.waiting} waiting;"
    clean = "clean" if crash.verified else "NOT CLEAN"
    yield f"                after a restart {crash.waiting_after} waiting, verify {clean}"
    yield "                (its texts in flight are embedded again; above they count as far as it had settled)"
    fresh = figures.freshness
    yield (
        f"freshness       half of the changes searchable within {fresh['p50_s']:.1f} s, 99 % within "
        f"{fresh['p99_s']:.1f} s (budget {fresh['budget_s']:g} s)"
    )
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(figures.outcomes.items()))
    yield f"receipts        {figures.receipts:,} for {figures.appended:,} changes: {outcomes}"
    usage = figures.embedding
    yield f"model           {usage['texts']:,} texts in {usage['calls']:,} calls, {usage['reused']:,} vectors reused"
    yield f"index           {figures.documents:,} documents of {figures.files:,} files, {figures.chunks:,} chunks"
    check = ", ".join(f"{count} {name}" for name, count in figures.verify.items() if name not in ("ok", "documents"))
    yield f"verify          {'clean' if figures.verify['ok'] else 'NOT CLEAN'}: {check}"
    yield f"time            {figures.seconds:.0f} s in all"
    yield ""
    failures = broken(figures)
    yield from (f"BROKEN          {failure}" for failure in failures)
    yield from ("",) if failures else ()
    yield "Your own folder:"
    yield from (f"  {line}" for line in OWN_FOLDER)


def _row(act: Act) -> str:
    share = f"{act.embedded / act.chunks:.0%}" if act.chunks else "–"
    return f"{act.name:<32}{act.changed:>10,}{act.chunks:>9,}{act.embedded:>10,}{share:>8}{act.seconds:>9.1f}"
