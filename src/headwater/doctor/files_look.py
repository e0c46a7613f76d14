"""Looks at SQLite files without changing them: read-only, and where nobody has them open as immutable ones."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from headwater.clock import Clock
from headwater.doctor.files import FoundContent, FoundFile, FoundPlace, NamedFile, Shape
from headwater.doctor.machine import mounted_on
from headwater.doctor.machine_look import mounts
from headwater.settings.schema import Settings
from headwater.settings.stores import Store

#: A check of the pages ends after so long: it reads the whole file.
_CHECK_S = 2.0
_STEPS = 10_000


def named_files(settings: Settings) -> list[NamedFile]:
    """Return the files that a configuration names, each once."""
    places: dict[Path, list[tuple[str, str]]] = {}
    if isinstance(settings.log, Store):
        places.setdefault(settings.log.path, []).append(("log", "log"))
    for name, stream in settings.streams.items():
        held = places.setdefault(stream.index.path, [])
        if not any(role == "index" for role, _ in held):
            held.append(("index", f"streams.{name}.index"))
    if settings.cache is not None:
        places.setdefault(settings.cache.url.path, []).append(("cache", "cache.url"))
    return [
        NamedFile(str(path), str(path.parent), tuple(role for role, _ in held), held[0][1])
        for path, held in places.items()
    ]


def look_at_file(named: NamedFile, clock: Clock) -> FoundFile:
    """Look at one. Blocks for a few seconds at most."""
    path = Path(named.path)
    place = _place(path)
    try:
        state = path.stat()
    except OSError as error:
        # Links that lead in a circle are there, and lead to no file.
        return FoundFile(named, Shape.OTHER if error.errno == errno.ELOOP else Shape.NOTHING, place)
    if not stat.S_ISREG(state.st_mode):
        return FoundFile(named, Shape.OTHER, place)
    usable = os.access(path, os.R_OK | os.W_OK)
    return FoundFile(
        named,
        Shape.FILE,
        place,
        size=state.st_size,
        usable=usable,
        mode=stat.S_IMODE(state.st_mode),
        exposed=exposed(path.parent),
        content=_content(path, clock) if usable else FoundContent(),
    )


def _place(path: Path) -> FoundPlace:
    there = path.parent.is_dir()
    lock = Path(f"{os.path.realpath(path)}.lock")
    return FoundPlace(
        there=there,
        writable=there and os.access(path.parent, os.W_OK | os.X_OK),
        free=shutil.disk_usage(path.parent).free if there else None,
        filesystem=mounted_on(mounts(), os.path.realpath(path)),
        lockable=not lock.exists() or (lock.is_file() and os.access(lock, os.R_OK | os.W_OK)),
    )


def exposed(folder: Path) -> bool:
    """Tell whether other users may come into a folder: each on the way lets them through."""
    try:
        return all(it.stat().st_mode & 0o001 for it in (folder, *folder.parents))
    except OSError:
        return False


def open_to_others(folder: Path) -> bool:
    """Tell whether other users may read the names in a folder, and come to its files."""
    try:
        return bool(folder.stat().st_mode & 0o004) and exposed(folder)
    except OSError:
        return False


def _content(path: Path, clock: Clock) -> FoundContent:
    # A file in use is read beside its write-ahead log. One that nobody has open is left as it is, to the byte; what
    # looks wrong then is looked at again, since a worker may have begun meanwhile.
    in_use = path.with_name(f"{path.name}-wal").exists()
    modes = ["mode=ro"] if in_use else ["immutable=1", "mode=ro"]
    found = FoundContent()
    for mode in modes:
        found = _read(f"file:{quote(str(path))}?{mode}", clock)
        if not found.foreign and not found.damage:
            break
    return found


def _read(uri: str, clock: Clock) -> FoundContent:
    parts: dict[str, int] = {}
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=1)) as connection:
            parts = _parts(connection)
            end = clock.monotonic() + _CHECK_S
            connection.set_progress_handler(lambda: clock.monotonic() > end, _STEPS)
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        return FoundContent(
            parts,
            foreign=code == sqlite3.SQLITE_NOTADB,
            damage=str(error) if code == sqlite3.SQLITE_CORRUPT else "",
            whole=False,  # it was interrupted, or another process is just opening it
        )
    return FoundContent(parts, damage="" if said == "ok" else str(said).splitlines()[-1][:200])


def _parts(connection: sqlite3.Connection) -> dict[str, int]:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'headwater_schema'").fetchone()
    if known is None:
        return {}
    rows: Sequence[tuple[str, int]] = connection.execute("SELECT part, version FROM headwater_schema").fetchall()
    return {str(part): int(version) for part, version in rows}
