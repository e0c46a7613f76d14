"""The database that is followed: a table with every kind of column that matters, and somebody who writes into it."""

from __future__ import annotations

import json
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.kafka.postgres import Postgres
from tests.kafka.process import soon

PAGE = """\
create table page (
    id bigint primary key,
    title text,
    body text,
    manual text,
    price numeric(10, 2),
    updated timestamptz,
    payload jsonb,
    views int not null default 0
)"""
#: Signs of one to four bytes, and what SQL, JSON and CSV each treat in their own way.
WORDS = ("pump", "frost", "Überlauf", "naïve", "水位", "🚰", "o'clock", "back\\slash", 'quo"te', "a\tb", "line\nbreak")


class Session:
    """One connection: statements cost no new process. For one thread."""

    def __init__(self, postgres: Postgres, database: str) -> None:
        command = [str(postgres.programs / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", postgres.url(database)]
        self._psql = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={}
        )

    def __call__(self, statement: str) -> str:
        """Run a statement, and return its rows, a line each."""
        assert self._psql.stdin is not None
        assert self._psql.stdout is not None
        with suppress(BrokenPipeError):
            self._psql.stdin.write(f"{statement};\n\\echo --done\n")
            self._psql.stdin.flush()
        lines: list[str] = []
        for line in self._psql.stdout:
            if line == "--done\n":
                return "".join(lines).strip()
            lines.append(line)
        assert self._psql.stderr is not None
        raise AssertionError(self._psql.stderr.read())

    def close(self) -> None:
        self._psql.communicate(timeout=30)


@contextmanager
def session(postgres: Postgres, database: str) -> Iterator[Session]:
    opened = Session(postgres, database)
    try:
        yield opened
    finally:
        opened.close()


def quoted(value: str | None) -> str:
    return "null" if value is None else "'" + value.replace("'", "''") + "'"


def large(dice: random.Random) -> str:
    """A text that PostgreSQL keeps outside of its row, as it cannot be compressed to fit (TOAST)."""
    return " ".join(f"{dice.getrandbits(64):016x}" for _ in range(600))


class Writer:
    """Inserts, updates, deletes and moves rows at random, in transactions of one to three statements, on a thread."""

    def __init__(self, run: Session, seed: int) -> None:
        self._run = run
        self._dice = random.Random(seed)
        self._live: list[int] = []
        self._next = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._failure: BaseException | None = None
        self.transactions = 0
        self._goal = 0
        self.gone: dict[int, str] = {}
        self._titles: dict[int, str] = {}

    def insert(self, number: int) -> None:
        """Insert rows, all of them in one transaction."""
        self._run(f"begin; {'; '.join(self._insert() for _ in range(number))}; commit")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write until the block ends."""
        self._thread.start()
        try:
            yield
        finally:
            self.end()
        assert self._failure is None, self._failure

    def end(self) -> None:
        """Write nothing more."""
        self._stop.set()
        self._thread.join()

    def let(self, transactions: int) -> None:
        """Let so many more be written, while others go on."""
        self._goal += transactions

    def go_on(self, transactions: int) -> None:
        """Let so many more be written, and wait for all."""
        self.let(transactions)
        assert soon(lambda: self.transactions >= self._goal or not self._thread.is_alive(), 60)
        assert self._thread.is_alive(), self._failure

    def _work(self) -> None:
        try:
            while not self._stop.wait(0.01):
                if self.transactions >= self._goal:
                    continue
                statements = [self._statement() for _ in range(self._dice.randint(1, 3))]
                self._run(f"begin; {'; '.join(statements)}; commit")
                self.transactions += 1
        except BaseException as error:  # noqa: BLE001 (a thread's failure is told where it ends)
            self._failure = error

    def _statement(self) -> str:
        choices: list[Callable[[], str]] = [self._insert, self._delete, self._move, self._read, *[self._update] * 4]
        return self._dice.choice(choices)()

    def _text(self) -> str:
        return " ".join(self._dice.choices(WORDS, k=self._dice.randint(1, 40)))

    def _maybe(self, value: Callable[[], str]) -> str:
        return quoted(None if self._dice.random() < 0.1 else value())

    def _title(self, id_: int) -> str:
        title = f"Page {id_} of {self._dice.getrandbits(32):08x}"
        self._titles[id_] = title
        return title

    def _insert(self) -> str:
        # Sometimes one that was deleted comes back.
        back = self._dice.random() < 0.2 and self.gone
        id_ = self._dice.choice(sorted(self.gone)) if back else self._next
        self._next += not back
        self.gone.pop(id_, None)
        self._live.append(id_)
        manual = quoted(large(self._dice) if self._dice.random() < 0.3 else None)
        payload = json.dumps({"tags": self._dice.sample(WORDS, 2), "n": self._dice.randint(0, 9)})
        return (
            "insert into page values "
            f"({id_}, {self._maybe(lambda: self._title(id_))}, {self._maybe(self._text)}, {manual}, "
            f"{self._maybe(lambda: f'{self._dice.randint(-9999, 9999) / 100}')}, "
            f"now(), {self._maybe(lambda: payload)})"
        )

    def _update(self) -> str:
        if not self._live:
            return self._insert()
        id_ = self._dice.choice(self._live)
        column, value = self._dice.choice(
            [
                ("title", self._maybe(lambda: self._title(id_))),
                ("body", self._maybe(self._text)),
                ("price", f"{self._dice.randint(0, 9999) / 100}"),
                ("manual", quoted(large(self._dice))),
            ]
        )
        return f"update page set {column} = {value}, updated = clock_timestamp() where id = {id_}"

    def _read(self) -> str:
        if not self._live:
            return self._insert()
        return f"update page set views = views + 1 where id = {self._dice.choice(self._live)}"

    def _delete(self) -> str:
        if len(self._live) < 20:
            return self._insert()
        id_ = self._live.pop(self._dice.randrange(len(self._live)))
        self.gone[id_] = self._titles.get(id_, "")
        return f"delete from page where id = {id_}"

    def _move(self) -> str:
        if not self._live:
            return self._insert()
        at = self._dice.randrange(len(self._live))
        old, self._live[at] = self._live[at], self._next
        self._next += 1
        self.gone[old] = self._titles.get(old, "")
        return f"update page set id = {self._live[at]} where id = {old}"


def rows(postgres: Postgres, database: str, table: str = "page") -> list[dict[str, Any]]:
    """The table as it stands, numerics and JSON as PostgreSQL writes them."""
    columns = "t.*, t.price::text as price_text, t.payload::text as payload_text"
    found = postgres.sql(f"select coalesce(json_agg(r), '[]') from (select {columns} from {table} t) r", database)
    read: list[dict[str, Any]] = json.loads(found)
    return read
