"""Fetch the jars that a Kafka broker and its companions run on, each pinned by SHA-256 in jars.lock.

    python tools/kafka/fetch.py [GROUP ...]      broker, tiered, debezium unless named; the other group is registry
    python tools/kafka/fetch.py --lock           write jars.lock anew from the two poms (needs mvn)

    build/kafka/<digest of jars.lock>/<group>/   the files of a group, and `.whole` once all of them are there

jgo fetches, one named artifact after another: it knows where artifacts come from, and it resolves nothing here, because
its own resolution picks other versions than Maven's. So a machine needs neither Maven nor Java. A second run takes no
network.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE / "jars.lock"
BUILD = HERE.parents[1] / "build" / "kafka"
ALWAYS = ("broker", "tiered", "debezium")
#: How many artifacts are fetched at once, and how often each is tried: a registry may refuse one request of a hundred.
AT_ONCE = 8
TRIES = 3
SILENCE_S = 60

#: What no pom names: (group of files, coordinates).
EXTRA = (
    # LocalTieredStorage, Kafka's own remote store for tests.
    ("tiered", "org.apache.kafka:kafka-storage:4.3.1:test"),
    ("tiered", "org.apache.kafka:kafka-clients:4.3.1:test"),
    ("registry", "io.apicurio:apicurio-registry-app:3.3.3:all:tar.gz"),
)


@dataclass(frozen=True)
class Pin:
    """One artifact of the lock: its coordinates, `group:artifact:version[:classifier[:packaging]]`, and its digest."""

    group: str
    coordinates: str
    sha256: str

    @property
    def packaging(self) -> str:
        parts = self.coordinates.split(":")
        return parts[4] if len(parts) > 4 else "jar"

    @property
    def file(self) -> str:
        return "-".join(self.coordinates.split(":")[1:4]) + f".{self.packaging}"


class CannotFetchError(Exception):
    """An artifact could not be had, or is not the pinned one."""


def pins(text: str) -> list[Pin]:
    """Read the lock: `[group]` lines, then one artifact a line."""
    found, group = [], ""
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("["):
            group = line.strip("[]")
        elif line and not line.startswith("#"):
            coordinates, sha256 = line.split()
            found.append(Pin(group, coordinates, sha256))
    return found


def home() -> Path:
    """The folder of the lock as it stands."""
    return BUILD / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]


def provide(groups: Sequence[str]) -> None:
    """Make the groups whole. Runs beside each other wait for one another, and the second finds all of it there."""
    wanted = [group for group in groups if not (home() / group / ".whole").exists()]
    if not wanted:
        return
    BUILD.mkdir(parents=True, exist_ok=True)
    with locked(BUILD / ".fetching"):
        for left in BUILD.glob(".fetching-*"):
            shutil.rmtree(left, ignore_errors=True)
        for group in wanted:
            if not (home() / group / ".whole").exists():
                provide_group(group, [pin for pin in pins(LOCK.read_text()) if pin.group == group])


def provide_group(group: str, wanted: Sequence[Pin]) -> None:
    if not wanted:
        raise CannotFetchError(f"jars.lock has no group {group}")
    folder = home() / group
    folder.mkdir(parents=True, exist_ok=True)
    missing = [pin for pin in wanted if not is_there(folder / pin.file, pin)]
    say(f"{group}: fetching {len(missing)} of {len(wanted)} files, once, into {folder.relative_to(BUILD.parents[1])}")
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=BUILD) as work, ThreadPoolExecutor(AT_ONCE) as pool:
        tasks = [pool.submit(fetch, pin, Path(work), folder) for pin in missing]
        try:
            for number, task in enumerate(as_completed(tasks), start=1):
                task.result()
                if number % 20 == 0 or number == len(tasks):
                    say(f"{group}: {number} of {len(tasks)}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    for pin in wanted:
        if pin.packaging == "tar.gz":
            unpack(folder / pin.file, folder)
    (folder / ".whole").touch()


def fetch(pin: Pin, work: Path, folder: Path) -> None:
    """Fetch one artifact. It appears in `folder` whole and checked, or not at all."""
    landed = download(pin, work)
    if (found := digest(landed)) != pin.sha256:
        raise CannotFetchError(f"{pin.coordinates} has SHA-256 {found}, jars.lock says {pin.sha256}")
    landed.replace(folder / pin.file)


def download(pin: Pin, work: Path) -> Path:
    import requests  # noqa: PLC0415 - both come with jgo, which only a fetch needs: a second run works without it
    from jgo.maven import MavenContext  # noqa: PLC0415

    group, artifact, version, classifier = (*pin.coordinates.split(":"), "")[:4]
    # A mirror of one's own, for a machine that reaches nothing else.
    mirror = os.environ.get("HEADWATER_MAVEN_MIRROR")
    context = MavenContext(
        repo_cache=work, local_repos=[], remote_repos={"mirror": mirror} if mirror else None, timeout=SILENCE_S
    )
    wanted = context.project(group, artifact).at_version(version).artifact(classifier, pin.packaging)
    for attempt in range(1, TRIES + 1):
        try:
            return wanted.resolve()
        except (requests.RequestException, RuntimeError) as error:
            # jgo writes in place, so a connection that broke leaves a stump that it would take for the file.
            if (stump := wanted.cached_path) is not None:
                stump.unlink(missing_ok=True)
            if attempt == TRIES:
                cause = str(error).split("{", maxsplit=1)[0].strip()[:300]
                raise CannotFetchError(f"{pin.coordinates}: {cause}") from error
    raise AssertionError


def unpack(archive: Path, folder: Path) -> None:
    """Unpack and let the archive go: it is as large as what was in it."""
    with tarfile.open(archive) as tar:
        # Python before 3.11.4 has no filters: what is unpacked there is pinned by its digest, as it is everywhere.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(folder)
    archive.unlink()


def is_there(path: Path, pin: Pin) -> bool:
    return path.exists() and digest(path) == pin.sha256


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is fetching; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_lock() -> None:
    """Resolve the poms with mvn, fetch what they name, and write down its digests."""
    unpinned = [Pin(group, it, "") for group in ("broker", "debezium") for it in resolved(HERE / f"{group}.xml")]
    unpinned += [Pin(group, coordinates, "") for group, coordinates in EXTRA]
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(AT_ONCE) as pool:
        digests = list(pool.map(lambda pin: digest(download(pin, Path(work))), unpinned))
    lines = ["# Written by `python tools/kafka/fetch.py --lock` from the poms beside it: coordinates and SHA-256."]
    for group in (*ALWAYS, "registry"):
        lines += ["", f"[{group}]"]
        lines += sorted(f"{p.coordinates} {d}" for p, d in zip(unpinned, digests, strict=True) if p.group == group)
    LOCK.write_text("\n".join(lines) + "\n")
    say(f"{LOCK.name}: {len(unpinned)} artifacts")


def resolved(pom: Path) -> list[str]:
    with tempfile.NamedTemporaryFile("r") as out:
        command = ["mvn", "-q", "-B", "-ntp", "-f", str(pom), "dependency:list", "-DincludeScope=runtime"]
        subprocess.run([*command, f"-DoutputFile={out.name}"], check=True)
        lines = [line.strip().split(" ")[0].split(":") for line in out.read().splitlines()]
    found = []
    for parts in (parts for parts in lines if len(parts) >= 5):
        # group:artifact:packaging[:classifier]:version:scope
        group, artifact, packaging, *classifier, version, _ = parts
        assert packaging == "jar", parts
        found.append(":".join([group, artifact, version, *classifier]))
    return found


def say(text: str) -> None:
    print(f"kafka: {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", default=list(ALWAYS), metavar="GROUP")
    parser.add_argument("--lock", action="store_true")
    arguments = parser.parse_args()
    if arguments.lock:
        write_lock()
        return
    try:
        provide(arguments.groups)
    except CannotFetchError as error:
        cure = "Check the network, or name a Maven mirror that this machine reaches in HEADWATER_MAVEN_MIRROR"
        sys.exit(f"kafka: cannot fetch {error}\n{cure}; run it again, and it goes on where it stopped.")


if __name__ == "__main__":
    main()
