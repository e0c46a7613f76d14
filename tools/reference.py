"""Write docs/reference from the code; with --check, say whether it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from headwater.cli.error_pages import reference as errors_reference
from headwater.cli.reference import reference as cli_reference
from headwater.doctor.reference import reference as doctor_reference
from headwater.observability.metrics import reference as metrics_reference
from headwater.settings.reference import reference as settings_reference

PAGES = {
    "docs/reference/cli.md": cli_reference,
    "docs/reference/configuration.md": settings_reference,
    "docs/reference/doctor.md": doctor_reference,
    "docs/reference/errors.md": errors_reference,
    "docs/reference/metrics.md": metrics_reference,
}


def main() -> int:
    root = Path(__file__).resolve().parents[1]
    stale = [page for page, make in PAGES.items() if not _same(root / page, make())]
    if "--check" in sys.argv:
        for page in stale:
            print(f"{page} is not what the code says: run `make reference`", file=sys.stderr)
        return 1 if stale else 0
    for page in stale:
        (root / page).parent.mkdir(parents=True, exist_ok=True)
        (root / page).write_text(PAGES[page]())
        print(f"wrote {page}")
    return 0


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main())
