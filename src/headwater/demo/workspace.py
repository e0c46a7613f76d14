"""The folder that the demo works in, and its end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Where `make corpus` keeps the archives, seen from a checkout.
IN_A_CHECKOUT = Path("build/corpus/archives")


def cache() -> Path:
    """Return the user's own place for archives."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "headwater" / "archives"


@contextmanager
def workspace(folder: Path | None, *, keep: bool) -> Iterator[Path]:
    """Give an empty folder: `folder`, made if it is not there, or a new one. What is in it goes at the end, and the
    folder too if it was made here; with `keep` both stay.
    """
    if folder is None:
        folder, made = Path(tempfile.mkdtemp(prefix="headwater-demo-")), True
    else:
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder.resolve()
    finally:
        if not keep:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            if made:
                folder.rmdir()
