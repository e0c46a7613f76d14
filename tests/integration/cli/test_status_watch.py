"""`status --watch`: on a terminal in place, elsewhere lines; a log that is away is waited for, Ctrl-C ends it.

And what else a terminal gets.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from typing import Any

import pytest

from tests.integration.cli.process import Cli

EVERY = ["--every", "100ms"]


def line_of(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def until(process: subprocess.Popen[str], key: str) -> Any:
    """Return the next look that has this key."""
    return next(found for found in iter(lambda: line_of(process), None) if key in found)


def test_lines_where_it_is_no_terminal(articles: Cli) -> None:
    process = articles.start("status", "--watch", *EVERY)
    first = line_of(process)
    assert {"time", "streams"} == set(first)
    assert first["streams"] == articles.json("status", "--json")["streams"]
    articles.write("docs/new.md", "# New\n")
    articles("run", "--once")
    while line_of(process)["streams"]["articles"]["outcomes"]["indexed"] != 3:
        pass
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_a_log_that_is_away_is_said_and_found_again(articles: Cli) -> None:
    log = articles.folder / "headwater.db"
    process = articles.start("status", "articles", "--watch", *EVERY)
    assert until(process, "streams")["streams"]["articles"]["outcomes"]["indexed"] == 2
    for path in articles.folder.glob("headwater.db*"):
        path.rename(path.with_name(f"away-{path.name}"))
    away = until(process, "away")
    assert away["code"] == "nothing-yet"
    assert "headwater.db" in away["away"]
    assert not log.exists(), "whoever only looks makes no file"
    for path in articles.folder.glob("away-*"):
        path.rename(path.with_name(path.name.removeprefix("away-")))
    assert until(process, "streams")["streams"]["articles"]["outcomes"]["indexed"] == 2


def test_a_new_file_in_the_place_of_the_old_one_is_seen(articles: Cli) -> None:
    process = articles.start("status", "--watch", *EVERY)
    until(process, "streams")
    for path in articles.folder.glob("headwater.db*"):
        path.unlink()
    articles("run", "--once")
    articles.write("docs/third.md", "# Third\n")
    articles("run", "--once")
    while until(process, "streams")["streams"]["articles"]["outcomes"] != {"indexed": 3}:
        pass


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--jsonl"], "--watch"), (["--watch", "--json"], "--jsonl"), (["--watch", "--every", "5"], "unit")],
)
def test_what_does_not_go_together(articles: Cli, options: list[str], said: str) -> None:
    assert said in articles("status", *options, code=2).stderr


def test_a_stream_that_is_not_there_ends_it(articles: Cli) -> None:
    assert "did you mean articles?" in articles("status", "artciles", "--watch", code=2).stderr


def test_a_terminal_is_left_as_it_was(articles: Cli) -> None:
    shown, code = on_a_terminal(articles, "status", "--watch", *EVERY)
    assert code == 130
    assert b"\x1b[?1049h" in shown, "it has a screen of its own"
    assert shown.count(b"not running") >= 2, "it is drawn again"
    tail = shown[shown.rindex(b"\x1b[?1049l") :]
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l"), "the cursor is back"
    assert b"Traceback" not in tail
    assert b"articles" not in tail


def test_a_person_is_told_the_page_of_an_error(cli: Cli) -> None:
    shown, code = on_a_terminal(cli, "lint")
    assert code == 3
    assert shown.decode().splitlines()[-1] == "see: `headwater explain no-configuration`"
    assert "see:" not in cli("lint", code=3).stderr, "a script has the codes"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_the_terminal_as_it_was(articles: Cli, number: signal.Signals, code: int) -> None:
    shown, ended = on_a_terminal(articles, "status", "--watch", *EVERY, end=number)
    assert ended == code
    assert shown.count(b"\x1b[?1049l") == shown.count(b"\x1b[?1049h") == 1
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l"), "the cursor is back"
    assert b"Traceback" not in shown


@pytest.mark.parametrize(("rows", "seen", "more"), [(24, 8, b""), (5, 3, b"5 more: ")])
def test_no_stream_is_hidden_without_a_word(cli: Cli, rows: int, seen: int, more: bytes) -> None:
    cli.write("headwater.yaml", "streams:\n" + "".join(f"  s{number}: {{}}\n" for number in range(8)))
    cli("publish", "s0", stdin='{"id": "a", "body": {"text": "x"}}\n')
    shown, _ = on_a_terminal(cli, "status", "--watch", *EVERY, rows=rows)
    assert sum(f"s{number}: ".encode() in shown for number in range(8)) == seen, shown
    assert more in shown
    assert (b" more: " in shown) == bool(more)


def test_an_edited_configuration_is_read_again(articles: Cli) -> None:
    process = articles.start("status", "--watch", *EVERY)
    assert list(until(process, "streams")["streams"]) == ["articles"]
    config = articles.folder / "headwater.yaml"
    written = config.read_text()
    config.write_text("streams: [")
    codes = (until(process, "away")["code"] for _ in range(50))
    assert "not-yaml" in codes, "for a moment it is empty, then somebody is just writing it"
    config.write_text(written + "  notes: {}\n")
    assert list(until(process, "streams")["streams"]) == ["articles", "notes"]


def on_a_terminal(cli: Cli, *arguments: str, rows: int = 24, end: signal.Signals = signal.SIGINT) -> tuple[bytes, int]:
    """Run on a terminal of its own, end it (by Ctrl-C) once the screen was drawn twice; return what it wrote."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 100, 0, 0))
        os.chdir(cli.folder)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup make test` has it ignored
        # Its size is the terminal's, not that of the terminal from which the tests were begun.
        sizeless = {name: it for name, it in cli.environment.items() if name not in ("COLUMNS", "LINES")}
        os.execve(sys.executable, [sys.executable, "-m", "headwater", *arguments], {**sizeless, "TERM": "xterm"})
    shown, interrupted = b"", False
    try:
        while True:
            ready, _, _ = select.select([terminal], [], [], 30)
            assert ready, f"nothing is shown any more: {shown[-500:]!r}"
            try:
                piece = os.read(terminal, 1 << 16)
            except OSError:
                break
            if not piece:
                break
            shown += piece
            assert shown.count(b"\x1b[H") < 100, "it does not end"
            # The third begins: two are whole, and a Ctrl-C throws away what a terminal has not shown yet.
            if shown.count(b"\x1b[H") > 3 and not interrupted:
                if end is signal.SIGINT:
                    os.write(terminal, b"\x03")
                else:
                    os.kill(pid, end)
                interrupted = True
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(terminal)
    return shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
