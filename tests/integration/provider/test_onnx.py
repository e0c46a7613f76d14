"""A recipe that is moved from the built-in model to onnx/all-MiniLM-L6-v2, as a user does it."""

from __future__ import annotations

import json
from pathlib import Path

from tests import minilm
from tests.integration.cli.process import Cli

CONFIG = """\
streams:
  notes:
    recipe:
      chunk: {{size: 400, maximum: 480}}
      embed: {{model: {model}}}
    index: sqlite:///{index}.db
"""
ONNX = "onnx/all-MiniLM-L6-v2"
NOTES = {
    "stream": "The brook burst its banks, and the water rose into the cellars.",
    "tax": "The quarterly invoice is due within thirty days.",
    "bread": "The dough rises twice before it goes into the oven.",
}
#: Fewer characters than a chunk may have, and more tokens than the model takes.
DENSE = "!?" * 200


def test_from_the_built_in_model_to_a_better_one(tmp_path: Path) -> None:
    minilm.weights()
    cli = Cli(tmp_path)
    cli.write("headwater.yaml", CONFIG.format(model="static", index="static"))
    texts = NOTES | {"dense": DENSE}
    cli("publish", "notes", stdin="".join(json.dumps({"id": it, "text": text}) + "\n" for it, text in texts.items()))
    cli("run", "--once")
    cli.write("headwater.yaml", CONFIG.format(model=ONNX, index="static"))
    assert "model-drift" in cli("search", "notes", "flood", code=5).stderr, "the old index is not searched with it"

    cli.write("headwater.yaml", CONFIG.format(model=ONNX, index="better"))
    cli("lint")
    cli("run", "--once")
    hits = cli.json("search", "notes", "flooding of a river", "--json")["hits"]
    assert hits[0]["id"] == "stream"
    assert {hit["id"] for hit in hits} == set(NOTES), "what the model cannot take whole is not searchable in part"
    (dead,) = cli.json("dead", "list", "notes", "--json")["dead"]
    assert dead["id"] == "dense"
    assert "402 tokens" in dead["reason"]
    assert "takes 256" in dead["reason"]
    assert cli.json("verify", "notes", "--json")["ok"]
