"""Source distributions on disk: found by their digest, fetched by pip when they are missing.

pip alone knows where packages come from and how this machine reaches them. It insists on a package's metadata before
it hands over an archive, and for that would run the package's own build. It is given a build backend that reads the
metadata lying in the archive instead: nothing is installed, and no code of the package runs.

Needs nothing but Python and pip, so that `tools/corpus.py` runs in a fresh checkout.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from headwater.demo.pins import PACKAGE, Release
from headwater.errors import Unreachable

#: How many archives are fetched at once.
AT_ONCE = 3

_BACKEND = '''\
"""Stands in for setuptools: gives pip the metadata that the archive holds, and runs nothing of the archive."""
import email, pathlib, sys

def prepare_metadata_for_build_wheel(folder, settings=None):
    raw = pathlib.Path("PKG-INFO").read_bytes()
    found = email.message_from_bytes(raw)
    made = pathlib.Path(folder, f"{found['Name']}-{found['Version']}.dist-info")
    made.mkdir()
    (made / "METADATA").write_bytes(raw)
    return made.name

def build_wheel(folder, settings=None, metadata=None):
    raise RuntimeError("nothing is built here")

__legacy__ = sys.modules[__name__]
'''


def find(folders: Sequence[Path], release: Release) -> Path | None:
    """Return the release's archive from the first folder that has it, digest checked."""
    wanted = f"{PACKAGE}-{release.version}.tar.gz"
    for folder in folders:
        for path in sorted(folder.glob("*.tar.gz")):
            if path.name.lower() == wanted and _sha256(path) == release.sha256:
                return path
    return None


def provide(folders: Sequence[Path], releases: Sequence[Release], notice: Callable[[str], None]) -> dict[Release, Path]:
    """Return the archives of the releases. Missing ones are fetched into the last folder. Raise Unreachable."""
    target = folders[-1].absolute()
    found = {release: path for release in releases if (path := find(folders, release))}
    missing = [release for release in releases if release not in found]
    if missing:
        versions = ", ".join(release.version for release in missing)
        notice(f"fetching the source archives of {PACKAGE} {versions} with pip, once, into {target}")
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=target) as work, ThreadPoolExecutor(AT_ONCE) as pool:
            fetching = [pool.submit(_fetch, release, target, Path(work)) for release in missing]
            found |= {release: future.result() for release, future in zip(missing, fetching, strict=True)}
    return found


def _fetch(release: Release, target: Path, work: Path) -> Path:
    """Fetch one archive. It appears in `target` whole and checked, or not at all."""
    backend = work / f"backend-{release.version}" / "setuptools"
    landing = work / f"landing-{release.version}"
    backend.mkdir(parents=True)
    (backend / "__init__.py").touch()
    (backend / "build_meta.py").write_text(_BACKEND)
    requirement = backend.parent / "requirement.txt"
    requirement.write_text(f"{PACKAGE}=={release.version} --hash=sha256:{release.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "2"]
    command += ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--use-pep517"]
    command += ["--require-hashes", "--requirement", str(requirement), "--dest", str(landing)]
    path = os.pathsep.join(part for part in (str(backend.parent), os.environ.get("PYTHONPATH", "")) if part)
    done = subprocess.run(  # noqa: S603 - pip of this very interpreter, with arguments from the pins alone
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    fetched = find([landing], release) if landing.is_dir() else None
    if fetched is None:
        raise _unreachable(release, target, done.stderr)
    return fetched.replace(target / fetched.name)


def _unreachable(release: Release, target: Path, complaint: str) -> Unreachable:
    if "No module named pip" in complaint:
        cause, cure = "this Python has no pip", f"Run `{sys.executable} -m ensurepip`, or "
    else:
        lines = [line.strip() for line in complaint.splitlines()]
        errors = [line for line in lines if line.lower().startswith("error:")] or ["error: pip gave no archive"]
        cause, cure = errors[-1][len("error:") :].strip(" .")[:300], "Check the network and pip's settings, or "
    name = f"{PACKAGE}-{release.version}.tar.gz"
    return Unreachable(
        f"the source archive of {PACKAGE} {release.version}",
        cause,
        f"{cure}put {name} (SHA-256 {release.sha256[:12]}…) into {target} yourself",
        code="no-archive",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
