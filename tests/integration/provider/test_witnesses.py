"""A service that swaps its model or cuts texts without a word: the stream halts, says what to do, and writes nothing.

Against the faulty provider, as a user runs it; what was written is what a search finds and `verify` says.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.cli.process import Cli, heard, until
from tests.provider.provider import Provider

Start = Callable[..., Provider]
STREAM = """\
  {name}:
    index: sqlite:///{index}
    recipe:
      embed: {{model: openai/fake-embedding, url: '{url}/v1', revision: '{revision}'}}
      chunk: {{size: 200, maximum: {maximum}}}
"""


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    with closing(Cli(tmp_path)) as cli:
        yield cli


def configure(
    cli: Cli, *streams: tuple[str, Provider], index: str = "{name}.db", maximum: int = 400, revision: str = "1"
) -> None:
    parts = [
        STREAM.format(name=name, index=index.format(name=name), url=service.url, maximum=maximum, revision=revision)
        for name, service in streams
    ]
    cli.write(
        "headwater.yaml", "log: sqlite:///log.db\ncache: {url: 'sqlite:///cache.db'}\nstreams:\n" + "".join(parts)
    )


def publish(cli: Cli, stream: str, **texts: str) -> None:
    lines = (json.dumps({"id": name, "text": text}) for name, text in texts.items())
    cli("publish", stream, stdin="\n".join(lines) + "\n")


def exported(cli: Cli, stream: str) -> str:
    """Return all that the index holds, vectors too."""
    return cli("export", stream, "--deleted", "--vectors").stdout


def vectors(lines: str) -> set[str]:
    return {json.dumps(chunk["vector"]) for line in lines.splitlines() for chunk in json.loads(line)["chunks"]}


def present(cli: Cli, stream: str) -> set[str]:
    return {it["id"] for it in cli.lines("export", stream)}


def found(cli: Cli, stream: str, query: str) -> list[str]:
    return [it["id"] for it in cli.json("search", stream, query, "-k", "1", "--json")["hits"]]


def calls(service: Provider) -> int:
    return len(service.record.entries)


def test_a_model_that_was_swapped_while_the_worker_was_down(cli: Cli, provider: Start) -> None:
    service = provider(vectors="words")
    configure(cli, ("notes", service))
    publish(cli, "notes", a="rivers and mountains", c="lakes")
    cli("run", "--once")
    before = exported(cli, "notes")
    service.behave(drift=0.5)
    publish(cli, "notes", a="rivers and deserts", b="islands")
    said = cli("run", "--once", code=5).stderr
    assert "model-drift: openai/fake-embedding is not the model that" in said
    assert "Bring the old model back, or" in said
    assert "`embed: {revision: ...}` and `index: sqlite:///another.db`" in said
    assert exported(cli, "notes") == before

    # What it says helps: the log is replayed into another index, and the old one goes on with the old model.
    configure(cli, ("notes", service), index="another.db", revision="2")
    cli("run", "--once")
    assert present(cli, "notes") == {"a", "b", "c"}
    assert found(cli, "notes", "deserts") == ["a"]
    assert not vectors(before) & vectors(exported(cli, "notes"))
    configure(cli, ("notes", service))
    service.behave()
    cli("run", "--once")
    assert found(cli, "notes", "deserts") == ["a"]
    assert cli.json("verify", "notes", "--json")["ok"]


def test_a_model_that_is_swapped_under_a_worker_stops_its_stream_and_no_other(cli: Cli, provider: Start) -> None:
    swapped, steady = provider(vectors="words"), provider(vectors="words")
    configure(cli, ("notes", swapped), ("letters", steady))
    publish(cli, "notes", a="rivers")
    publish(cli, "letters", a="rivers")
    cli("run", "--once")
    before = exported(cli, "notes")
    begun = calls(swapped)
    worker = cli.start("run", "--log-format", "json")
    with heard(worker) as lines:
        until(lambda: calls(swapped) == begun + 2)  # it asked for the dimensions, and looked
        swapped.behave(drift=0.5)
        publish(cli, "notes", a="deserts", b="islands")
        until(lambda: any('"stream.halted"' in line for line in lines))
        publish(cli, "letters", b="islands")
        until(lambda: present(cli, "letters") == {"a", "b"})
        assert exported(cli, "notes") == before
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 5
    told = [json.loads(line) for line in lines if line.startswith("{")]
    incidents = [(it["stream"], it["incident"]) for it in told if it["event"] == "incident.raised"]
    assert incidents == [("notes", "model-drift")]


@pytest.mark.parametrize("hidden", [False, True])
def test_a_service_that_cuts_without_a_word(cli: Cli, provider: Start, hidden: bool) -> None:
    service = provider(behaviour={"truncate_tokens": 120, "truncation_hidden": hidden})
    configure(cli, ("notes", service))
    publish(cli, "notes", a="rivers")
    said = cli("run", "--once", code=5).stderr
    assert "silent-truncation: openai/fake-embedding gives texts of 600 characters" in said
    assert "Lower `chunk: {maximum: ...}`" in said
    assert "no index generation" in cli("export", "notes", code=4).stderr

    # What it says helps, without another index.
    configure(cli, ("notes", service), maximum=250)
    cli("run", "--once")
    assert present(cli, "notes") == {"a"}


def test_a_service_that_refuses_what_is_too_long_is_honest(cli: Cli, provider: Start) -> None:
    service = provider(max_text_tokens=120)
    configure(cli, ("notes", service))
    publish(cli, "notes", a="rivers")
    cli("run", "--once")
    assert present(cli, "notes") == {"a"}
