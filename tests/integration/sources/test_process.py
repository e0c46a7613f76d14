"""`headwater run` over a real folder to which anything happens, killed now and then: the index ends equal to it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.integration.cli.process import Cli, heard, until, wait_for

#: The rescan is far away: what is found soon is found because the kernel told of it.
CONFIG = """\
streams:
  articles:
    source: {folder: ./docs, rescan: 10m, exclude: [drafts/]}
    recipe:
      embed: {model: hash}
"""
LIVES = 4
NAMES = ("a.md", "b.md", "c.md", "d", "e", "drafts")
IGNORE = ".headwaterignore"


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    with closing(Cli(tmp_path)) as made:
        made.write("headwater.yaml", CONFIG)
        made.write("docs/first.md", "the first")
        yield made


def indexed(cli: Cli) -> dict[str, str]:
    """What the index holds, each document's text by its id."""
    return {line["id"]: "".join(it["text"] for it in line["chunks"]) for line in cli.lines("export", "articles")}


def folder(root: Path) -> dict[str, str]:
    """What the folder holds, by our own look."""
    found = {}
    ignored = {"drafts"}
    if (root / IGNORE).exists():
        ignored |= set((root / IGNORE).read_text().split())
    for place, below, names in os.walk(root):
        below[:] = [it for it in below if it not in ignored]
        for name in set(names) - ignored:
            path = Path(place, name)
            if name.endswith(".md") and stat.S_ISREG(path.lstat().st_mode):
                found[path.relative_to(root).as_posix()] = path.read_text()
    return found


def disturb(root: Path, dice: random.Random, count: int) -> None:
    """Do so many things to the folder. What cannot be done is not."""
    for number in range(count):
        path, other = (root / "/".join(dice.choices(NAMES, k=dice.randint(1, 3))) for _ in range(2))
        with suppress(OSError):
            match dice.randrange(9):
                case 0 | 1:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(f"said {dice.randrange(1000):03}")
                    if number % 2:
                        os.utime(path, (0, 0))
                case 2:
                    path.replace(other)
                case 3:
                    path.unlink()
                case 4:
                    shutil.rmtree(path)
                case 5 if path.is_file():
                    path.unlink()
                    path.mkdir()
                    (path / "a.md").write_text("in a folder that was a file")
                case 6 if not path.exists():
                    path.symlink_to(root.parent / "outside")
                case 7 if number % 4 == 0:
                    (root / IGNORE).write_text(dice.choice(["", "b.md", "e\nc.md"]))
                case 8 if number % 8 == 0:
                    root.rename(root.parent / "away")
                    time.sleep(0.2)
                    (root.parent / "away").rename(root)
        if number % 10 == 0:
            time.sleep(0.05)


def test_a_change_is_searchable_long_before_the_rescan(cli: Cli) -> None:
    worker = cli.start("run")
    wait_for(worker, "stream.started")
    with heard(worker) as lines:
        for name, text in (("new/deep/a.md", "volcano"), ("new/deep/a.md", "glacier"), ("b.md", "harbour")):
            cli.write(f"docs/{name}", text)
            until(lambda name=name, text=text: indexed(cli).get(name) == text, said=lines)  # type: ignore[misc]  # bound at once
        (cli.folder / "docs/new").rename(cli.folder / "away")
        until(lambda: "new/deep/a.md" not in indexed(cli), said=lines)
        cli.write("docs/.headwaterignore", "b.md")
        until(lambda: sorted(indexed(cli)) == ["first.md"], said=lines)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
    assert not [line for line in lines if "unwatched" in line]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_index_ends_equal_to_the_folder(cli: Cli, seed: int) -> None:
    dice, docs = random.Random(seed), cli.folder / "docs"
    cli.write("outside/a.md", "outside of the folder")
    for _ in range(LIVES):
        worker = cli.start("run", "--log-format", "json")
        wait_for(worker, "stream.started")
        disturb(docs, dice, 60)
        time.sleep(dice.random() * 1.5)
        disturb(docs, dice, 20)
        worker.send_signal(signal.SIGKILL if dice.random() < 0.7 else signal.SIGTERM)
        worker.wait(20)
        disturb(docs, dice, 30)
    cli("run", "--once")
    assert indexed(cli) == folder(docs)
    assert cli.json("verify", "articles", "--json")["ok"]
