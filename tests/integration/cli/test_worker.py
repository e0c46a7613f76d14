"""`run` as a process: one a log, signals, pause and resume, its logs."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

from tests.integration.cli.process import CONFIG, Cli, until, wait_for


def hits(cli: Cli, query: str) -> list[str]:
    return [hit["id"] for hit in cli.json("search", "articles", query, "-k", "1", "--json")["hits"]]


def test_it_serves_until_stopped(articles: Cli) -> None:
    worker = articles.start("run")
    wait_for(worker, "stream.started")

    second = articles("run", "--once", code=4)
    assert str(worker.pid) in second.stderr
    assert articles.json("status", "--json")["streams"]["articles"]["worker"] == {"running": True, "pid": worker.pid}

    articles.write("docs/fish.md", "# Fish\n\nAn eel crosses the ocean.\n")
    until(lambda: "eel" in articles("search", "articles", "eel crosses the ocean", "-k", "1").stdout)
    articles("publish", "articles", stdin='{"id": "note", "text": "volcano lava basalt"}\n')
    until(lambda: hits(articles, "volcano lava basalt") == ["note"])

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert articles.json("status", "--json")["streams"]["articles"]["worker"]["running"] is False
    assert articles.json("verify", "articles", "--json")["ok"]


def test_interrupted_it_ends_with_130(articles: Cli) -> None:
    worker = articles.start("run", "--log-format", "json")
    wait_for(worker, "stream.started")
    worker.send_signal(signal.SIGINT)
    assert worker.wait(20) == 130


def test_a_paused_stream_waits_and_goes_on(articles: Cli) -> None:
    articles("pause", "articles", "--reason", "lunch")
    assert "paused already: lunch" in articles("pause", "articles").stderr
    assert "lunch" in articles("run", "--once", code=1).stderr
    assert articles.json("status", "articles", "--json")["streams"]["articles"]["paused"] == "lunch"

    worker = articles.start("run")
    until(lambda: bool(articles.json("status", "--json")["streams"]["articles"]["worker"]["running"]))
    articles.write("docs/bird.md", "# Bird\n\nThe albatross glides.\n")
    articles("resume", "articles")
    wait_for(worker, "stream.started")
    until(lambda: hits(articles, "albatross glides") == ["bird.md"])
    articles("pause", "articles")
    until(lambda: articles.json("status", "--json")["streams"]["articles"]["paused"] == "paused by hand")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0


def test_logs_are_events_without_document_text(cli: Cli) -> None:
    cli.write("headwater.yaml", CONFIG)
    cli.write("docs/secret.md", "# xyzzy-heading\n\nxyzzy-marker in the text.\n")
    cli.write("docs/poison.md", "")
    run = cli("run", "--once", "--verbose", "--log-format", "json")
    events = [json.loads(line)["event"] for line in run.stderr.splitlines()]
    assert {"stream.started", "source.synchronised", "changes.settled", "stream.stopped"} <= set(events)
    plain = cli("run", "--once", "--verbose")
    assert "stream.started stream=articles" in plain.stderr
    assert "xyzzy" not in run.stderr + plain.stderr + run.stdout + plain.stdout


def test_another_log_before_the_index_halts_until_it_is_accepted(cli: Cli) -> None:
    cli.write("headwater.yaml", CONFIG.replace("    recipe:", "    index: sqlite:///index.db\n    recipe:"))
    cli.write("docs/a.md", "# A\n\nalpha\n")
    cli("run", "--once")
    for path in cli.folder.glob("headwater.db*"):
        path.unlink()
    halted = cli("run", "--once", code=5)
    assert halted.stderr.count("log-rewind") == 1
    assert "articles halted: log-rewind: " in halted.stderr
    assert "headwater resume articles --accept-log-epoch" in halted.stderr
    assert "settled" not in halted.stderr
    assert "cannot go on  log-rewind: " in cli("status").stdout
    assert "resume articles --accept" in cli.json("status", "--json")["streams"]["articles"]["obstacle"]
    events = cli("run", "--once", "--log-format", "json", code=5).stderr
    assert '"event": "stream.halted"' in events
    cli("resume", "articles", "--accept-log-epoch")
    cli("run", "--once")
    assert cli.json("status", "--json")["streams"]["articles"]["obstacle"] is None
    assert cli.json("verify", "articles", "--json")["ok"]


def test_what_stops_one_stream_leaves_the_others_alone(cli: Cli) -> None:
    cli.write(
        "headwater.yaml", "streams: {one: {recipe: {embed: {model: hash}}}, two: {recipe: {embed: {model: hash}}}}"
    )
    for stream in ("one", "two"):
        cli("publish", stream, stdin='{"id": "a", "text": "alpha"}\n')
    cli("pause", "one")
    cli("run", "--once", code=1)
    streams = cli.json("status", "--json")["streams"]
    assert streams["one"]["outcomes"] == {}
    assert streams["two"]["outcomes"] == {"indexed": 1}
    assert cli("status").stdout.index("one") < cli("status").stdout.index("two")


def test_files_that_cannot_be_read_are_told_once_and_counted_at_the_end(articles: Cli) -> None:
    bad = articles.folder / "docs/bad.md"
    with bad.open("wb") as file:
        file.truncate((32 << 20) + 1)
    assert "articles: 0 changes settled, 0 behind, 1 file skipped" in articles("run", "--once").stderr
    worker = articles.start("run", "--log-format", "json")
    lines = events(worker)
    assert until_event(lines, "source.skipped")[-1]["item"] == "bad.md"
    articles.write("docs/bird.md", "# Bird\n")  # a rescan later
    seen = until_event(lines, "source.synchronised", upserts=1)
    bad.write_text("# Mended\n")
    seen += until_event(lines, "source.synchronised", skipped=0)
    assert not [event for event in seen if event["event"] == "source.skipped"]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0


def test_a_folder_that_was_never_there_is_a_mistake(cli: Cli) -> None:
    cli.write("headwater.yaml", CONFIG)
    warned = cli("lint")
    assert warned.stderr.startswith("headwater.yaml:4:14: warning: streams.articles.source.folder: there is no folder ")
    (warning,) = cli.json("lint", "--json")["warnings"]
    assert (warning["line"], warning["column"]) == (4, 14)
    failed = cli("run", "--once", code=4)
    assert "docs: there is no such folder. Make it, or mend `source.folder`" in failed.stderr
    assert "outage" not in failed.stderr


def test_a_folder_that_went_away_is_waited_for(articles: Cli) -> None:
    docs = articles.folder / "docs"
    docs.rename(articles.folder / "away")
    waited = articles("run", "--once", "--timeout", "100ms", code=4)
    assert 'cause="there is no such folder" then="waiting until it is back"' in waited.stderr
    (articles.folder / "away").rename(docs)
    articles("run", "--once")
    assert sorted(line["id"] for line in articles.lines("export", "articles")) == ["fish.md", "stars.md"]


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stderr is not None
    yield from map(json.loads, process.stderr)


def until_event(lines: Iterator[dict[str, Any]], name: str, **fields: object) -> list[dict[str, Any]]:
    """Read events up to one of this name with these fields, that one included."""
    seen = []
    for line in lines:
        seen.append(line)
        if line["event"] == name and fields.items() <= line.items():
            return seen
    raise AssertionError(f"{name} {fields} was never said")
