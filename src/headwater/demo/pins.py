"""PURE: which releases of which package the corpus is made of, each pinned by its archive's SHA-256."""

from __future__ import annotations

from typing import NamedTuple


class Release(NamedTuple):
    """One source distribution: its version, and the digest that it must have."""

    version: str
    sha256: str


#: The package whose documentation is the corpus: a real edit history, free to use (BSD-3-Clause).
PACKAGE = "django"
#: Where its documents stand in a source distribution, and what their names end in.
FOLDER = "docs/"
SUFFIX = ".txt"

RELEASES = (
    Release("4.0", "d5a8a14da819a8b9237ee4d8c78dfe056ff6e8a7511987be627192225113ee75"),
    Release("4.1", "032f8a6fc7cf05ccd1214e4a2e21dfcd6a23b9d575c6573cacc8c67828dbe642"),
    Release("4.2", "c36e2ab12824e2ac36afa8b2515a70c53c7742f0d6eaefa7311ec379558db997"),
    Release("5.0", "7d29e14dfbc19cb6a95a4bd669edbde11f5d4c6a71fdaa42c2d40b6846e807f7"),
    Release("5.1", "848a5980e8efb76eea70872fb0e4bc5e371619c70fffbe48e3e1b50b2c09455d"),
    Release("5.2", "1a47f7a7a3d43ce64570d350e008d2949abe8c7e21737b351b6a1611277c6d89"),
)

#: The corpus, step by step. The last goes back: real deletions, and texts that return to what they were.
STEPS = ("4.0", "4.1", "4.2", "5.0", "5.1", "5.2", "5.0")


def release(version: str) -> Release:
    """Return a pinned release."""
    return next(one for one in RELEASES if one.version == version)
