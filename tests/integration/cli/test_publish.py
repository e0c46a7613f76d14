"""`publish`: what it prints, what it refuses, and what becomes of poison."""

from __future__ import annotations

from tests.integration.cli.process import Cli


def test_shapes_and_exit_codes(notes: Cli) -> None:
    good = '{"id": "a", "text": "one", "kind": "x"}\n'
    assert notes("publish", "notes", stdin=good).stdout == '{"appended":1,"rejected":0}\n'
    mixed = notes("publish", "notes", "-", stdin=good + "\nnope\n" + '{"text": "no id"}\n', code=1)
    assert mixed.stdout == '{"appended":1,"rejected":2}\n'
    assert [line.split(":")[0] for line in mixed.stderr.splitlines()] == ["line 3", "line 4"]
    notes.write("changes.jsonl", good * 3)
    assert notes.json("publish", "notes", "changes.jsonl") == {"appended": 3, "rejected": 0}
    assert "gone.jsonl" in notes("publish", "notes", "gone.jsonl", code=2).stderr
    assert "did you mean notes?" in notes("publish", "note", stdin=good, code=2).stderr
    assert notes("publish", "notes", stdin="").stdout == '{"appended":0,"rejected":0}\n'


def test_what_waits_is_counted(notes: Cli) -> None:
    notes("publish", "notes", stdin='{"id": "a", "text": "one", "kind": "x", "time": "2020-01-01T00:00:00Z"}\n')
    shape = notes.json("status", "notes", "--json")["streams"]["notes"]
    assert shape["lag"]["records"] == 1
    assert shape["lag"]["oldest_age_s"] > 1e8
    assert shape["generations"] == []
    assert "headwater run" in notes("search", "notes", "one", code=4).stderr


def test_a_dead_letter_is_listed_retried_and_discarded(notes: Cli) -> None:
    notes("publish", "notes", stdin='{"id": "a", "text": "no kind"}\n{"id": "b", "text": "good", "kind": "x"}\n')
    run = notes("run", "--once")
    assert "1 dead letter: `headwater dead list notes` shows it" in run.stderr
    assert "change.dead stream=notes id=a version=" in run.stderr
    (letter,) = notes.json("dead", "list", "notes", "--json")["dead"]
    assert (letter["id"], letter["state"], letter["attempts"]) == ("a", "open", 1)
    assert "kind" in letter["reason"]
    assert "a  " in notes("dead", "list", "notes").stdout

    assert "b: has no open dead letter" in notes("dead", "retry", "notes", "b", code=1).stderr
    notes("dead", "retry", "notes", code=2)
    assert "1 dead letter waits for the worker" in notes("dead", "retry", "notes", "a").stderr
    assert notes.json("dead", "list", "notes", "--json")["dead"][0]["state"] == "retrying"
    notes("run", "--once")
    (letter,) = notes.json("dead", "list", "notes", "--json")["dead"]
    assert (letter["state"], letter["attempts"]) == ("open", 2)

    assert "1 dead letter was discarded" in notes("dead", "discard", "notes", "--all").stderr
    assert "no open dead letters" in notes("dead", "retry", "notes", "--all").stderr
    assert notes.json("dead", "list", "notes", "--json")["dead"] == []
    assert notes.json("dead", "list", "notes", "--all", "--json")["dead"][0]["state"] == "discarded"
    assert notes.json("status", "--json")["streams"]["notes"]["dead_letters"]["discarded"] == 1


def test_too_much_poison_pauses_the_stream(notes: Cli) -> None:
    notes("publish", "notes", stdin="".join(f'{{"id": "{number}", "text": "x"}}\n' for number in range(25)))
    run = notes("run", "--once", code=1)
    assert run.stderr.count("mend the cause, then `headwater resume notes`") == 2, "the log line, and the summary"
    assert "lets it go on" not in run.stderr
    assert "25 dead letters: `headwater dead list notes` shows them" in run.stderr
    assert notes("status").stdout.count("headwater resume notes") == 1
    assert notes.json("status", "--json")["streams"]["notes"]["paused"]
