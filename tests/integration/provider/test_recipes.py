"""Recipes whose model stands behind a provider, against the faulty one: as a user types it, from publish to verify."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli.process import Cli
from tests.provider.provider import Provider

Start = Callable[..., Provider]
CONFIG = """\
streams:
  notes:
    recipe:
      embed: {{model: {model}, url: '{url}', key: '${{env:PROVIDER_KEY}}'}}
"""
KEY = "sk-hunter2"


class Notes:
    """One stream of notes."""

    def __init__(self, folder: Path, provider: Provider, model: str = "openai/fake-embedding") -> None:
        self.cli = Cli(folder)
        self.cli.environment["PROVIDER_KEY"] = KEY
        url = provider.url if model.startswith("tei") else f"{provider.url}/v1"
        self.cli.write("headwater.yaml", CONFIG.format(model=model, url=url))

    def publish(self, *texts: str) -> None:
        lines = (json.dumps({"id": f"n{at}", "text": text}) for at, text in enumerate(texts))
        self.cli("publish", "notes", stdin="\n".join(lines) + "\n")

    def found(self, query: str) -> list[str]:
        return [it["id"] for it in self.cli.json("search", "notes", query, "-k", "50", "--json")["hits"]]

    def dead(self) -> list[dict[str, str]]:
        return list(self.cli.json("dead", "list", "notes", "--json")["dead"])

    def verified(self) -> bool:
        return bool(self.cli.json("verify", "notes", "--json")["ok"])


@pytest.mark.parametrize("model", ["openai/fake-embedding", "tei/fake-embedding"])
def test_from_publish_to_verify(tmp_path: Path, provider: Start, model: str) -> None:
    service = provider(keys=[KEY], vectors="words")
    notes = Notes(tmp_path, service, model)
    texts = [f"a note about {word}" for word in ("rivers", "mountains", "deserts", "islands")]
    notes.publish(*texts)
    notes.cli("run", "--once")
    assert notes.found("deserts")[0] == "n2"
    assert notes.verified()
    assert notes.cli.json("status", "--json")["streams"]["notes"]["embedding"]["tokens"] > 0
    assert KEY not in service.file.read_text()


def test_every_poison_becomes_a_dead_letter_and_nothing_else_does(tmp_path: Path, provider: Start) -> None:
    service = provider(behaviour={"poison": ["arsenic", "cyanide"], "shares": {"server_error": 0.2}})
    notes = Notes(tmp_path, service)
    texts = [f"note number {at} about tea" for at in range(60)]
    texts[7], texts[8], texts[50] = "tea with arsenic", "tea with cyanide", "cyanide alone"
    notes.publish(*texts)
    notes.cli("run", "--once")
    assert {it["id"] for it in notes.dead()} == {"n7", "n8", "n50"}
    service.behave(shares={})
    assert len(notes.found("tea")) == 50
    assert notes.verified()


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"keys": ["another"]}, "the key is refused"),
        ({"behaviour": {"shares": {"no_model": 1}}}, "no such model"),
        ({"behaviour": {"shares": {"no_quota": 1}}}, "quota"),
    ],
)
def test_what_only_a_person_can_mend_halts_and_says_so(
    tmp_path: Path, provider: Start, plan: dict[str, object], says: str
) -> None:
    service = provider(**plan)
    notes = Notes(tmp_path, service)
    notes.publish("one", "two")
    said = notes.cli("run", "--once", code=4).stderr
    print(said)
    assert says in said
    assert KEY not in said
    assert "Traceback" not in said
    assert notes.dead() == []


def test_another_model_behind_the_name_is_never_searched(tmp_path: Path, provider: Start) -> None:
    notes = Notes(tmp_path, provider())
    notes.publish("one")
    notes.cli("run", "--once")
    other = Notes(tmp_path, provider(), "tei/fake-embedding")
    assert "model-drift" in other.cli("search", "notes", "one", code=5).stderr
    assert "streams.notes.recipe: expected the recipe" in other.cli("run", "--once", code=3).stderr
