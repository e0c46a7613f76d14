"""`run` as a process: one a log, signals, pause and resume, its logs."""

from __future__ import annotations

import json
import signal

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
    assert "log-rewind" in halted.stderr
    assert "resume" in halted.stderr
    cli("resume", "articles", "--accept-log-epoch")
    cli("run", "--once")
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
