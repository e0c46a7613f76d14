"""Write docs/reference from the code and docs/llms.txt from docs/README.md; with --check, say what is out of date."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from headwater.cli.error_pages import reference as errors_reference
from headwater.cli.reference import reference as cli_reference
from headwater.doctor.reference import reference as doctor_reference
from headwater.observability.metrics import reference as metrics_reference
from headwater.settings.reference import reference as settings_reference

ROOT = Path(__file__).resolve().parents[1]
_ENTRY = re.compile(r"^- \[.+?\]\(.+?\): .+$")
_ABOUT = """\
# Headwater

> Keeps embeddings true to their source: every change to a document travels through a durable, replayable log into a
> vector index. A command line and a worker in Python; embedded in one process and one file, or on Kafka.
"""


def llms() -> str:
    """Return the list of pages for programs, made from the one for people: by section, a line each."""
    parts = [_ABOUT.rstrip()]
    for line in (ROOT / "docs/README.md").read_text().splitlines():
        if line.startswith("## "):
            parts.append(f"\n{line}\n")
        elif _ENTRY.match(line):
            parts.append(line)
    return "\n".join(parts) + "\n"


PAGES = {
    "docs/llms.txt": llms,
    "docs/reference/cli.md": cli_reference,
    "docs/reference/configuration.md": settings_reference,
    "docs/reference/doctor.md": doctor_reference,
    "docs/reference/errors.md": errors_reference,
    "docs/reference/metrics.md": metrics_reference,
}


def main() -> int:
    stale = [page for page, make in PAGES.items() if not _same(ROOT / page, make())]
    if "--check" in sys.argv:
        for page in stale:
            print(f"{page} is not what the code says: run `make reference`", file=sys.stderr)
        return 1 if stale else 0
    for page in stale:
        (ROOT / page).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / page).write_text(PAGES[page]())
        print(f"wrote {page}")
    return 0


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main())
