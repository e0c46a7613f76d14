"""The first run, end to end: files, search, edit, delete, and the evidence for each."""

from __future__ import annotations

import sqlite3
from hashlib import sha256

from tests.integration.cli.process import Cli


def test_init_run_search(cli: Cli) -> None:
    made = cli("init", "site")
    assert "headwater run --once" in made.stdout
    config = cli.folder / "site" / "headwater.yaml"
    assert (cli.folder / "site" / "docs" / "welcome.md").exists()
    assert "nothing was changed" in cli("init", "site", code=1).stderr
    config.write_text(config.read_text().replace("model: static", "model: hash"))
    cli("-c", "site/headwater.yaml", "lint")
    cli("run", "--once", HEADWATER_CONFIG="site/headwater.yaml")
    assert not (cli.folder / "headwater.db").exists()
    found = cli.json("search", "articles", "what happens to a delete", "-k", "1", "--json", "-c", "site/headwater.yaml")
    assert found["hits"][0]["id"] == "welcome.md"


def test_a_document_from_its_file_to_its_fence(articles: Cli) -> None:
    found = articles.json("search", "articles", "the rings of Saturn", "-k", "1", "--json")
    assert (found["stream"], found["generation"]) == ("articles", 1)
    (hit,) = found["hits"]
    assert set(hit) == {"id", "chunk", "text", "score", "version", "payload"}
    assert hit["id"] == "stars.md"
    assert hit["payload"] == {"title": "Stars"}
    assert "stars.md" in articles("search", "articles", "the rings of Saturn").stdout

    articles.write("docs/stars.md", "# Stars\n\nA comet has two tails.\n")
    (articles.folder / "docs/fish.md").unlink()
    articles("run", "--once")

    (document,) = articles.lines("export", "articles", "--jsonl", "--vectors")
    assert document["id"] == "stars.md"
    assert not document["deleted"]
    (chunk,) = document["chunks"]
    assert "comet" in chunk["text"]
    assert chunk["digest"] == sha256(chunk["text"].encode()).hexdigest()
    assert len(chunk["vector"]) == 256
    fences = [line for line in articles.lines("export", "articles", "--jsonl", "--deleted") if line["deleted"]]
    assert [fence["id"] for fence in fences] == ["fish.md"]
    assert fences[0]["chunks"] == []

    traced = articles.json("trace", "articles", "fish.md", "--json")
    assert [receipt["outcome"] for receipt in traced["receipts"]] == ["indexed", "deleted"]
    assert traced["receipts"][-1]["version"] == fences[0]["version"]
    times = [traced["receipts"][0]["times"][hop] for hop in ("appended", "read", "embedded", "applied", "settled")]
    assert times == sorted(times)
    assert "deleted" in articles("trace", "articles", "fish.md").stdout
    assert "no change of 'never.md'" in articles("trace", "articles", "never.md").stderr

    shape = articles.json("verify", "articles", "--json")
    names = ["documents", "missing", "stale", "orphans", "duplicates", "resurrected", "unverifiable", "ok"]
    assert list(shape) == names
    assert shape["ok"]
    assert shape["documents"] == 1

    status = articles.json("status", "--json")["streams"]["articles"]
    assert status["lag"] == {"records": 0, "oldest_age_s": None}
    assert status["outcomes"] == {"indexed": 3, "deleted": 1}
    assert status["embedding"]["texts"] == 3
    assert status["freshness"]["count"] == 4
    assert status["generations"][0]["state"] == "serving"
    assert status["generations"][0]["progress"] == 1.0
    assert status["dead_letters"]["open"] == 0
    assert status["worker"]["running"] is False
    assert "indexed 3" in articles("status", "articles").stdout


def test_where_narrows(notes: Cli) -> None:
    lines = (
        '{"id": "a", "text": "blue whale", "kind": "animal"}\n'
        '{"id": "b", "text": "blue paint", "kind": 3}\n'
        '{"id": "c", "text": "blue sky", "kind": "3 and more"}\n'
    )
    notes("publish", "notes", stdin=lines)
    notes("run", "--once")

    def found(*where: str) -> list[str]:
        options = [word for each in where for word in ("--where", each)]
        return [hit["id"] for hit in notes.json("search", "notes", "blue", *options, "--json")["hits"]]

    assert sorted(found()) == ["a", "b", "c"]
    assert found("kind=animal") == ["a"]
    assert found("kind=3") == ["b"]
    assert found("kind=3 and more") == ["c"]
    assert found("kind=none") == []
    assert "nothing was found" in notes("search", "notes", "blue", "--where", "kind=none").stderr


def test_verify_and_repair_a_damaged_index(articles: Cli) -> None:
    with sqlite3.connect(articles.folder / "headwater.db") as connection:
        connection.execute(
            "UPDATE index_chunk SET text = text || 'x' WHERE rowid = (SELECT min(rowid) FROM index_chunk)"
        )
    connection.close()
    assert articles.json("verify", "articles", "--json", code=5)["stale"] == 1
    found = articles("verify", "articles", code=5)
    assert found.stdout.startswith("articles does not hold what its log says\n")
    assert "--repair" in found.stderr
    assert articles.json("verify", "articles", "--repair", "--json")["ok"]
    assert articles.json("verify", "articles", "--json")["ok"]
    assert articles("verify", "articles").stdout.startswith("articles holds what its log says\n")


def test_snippets_fit_the_terminal(articles: Cli) -> None:
    articles.write("docs/long.md", "# Long\n\n" + "wide words in a row " * 30)
    articles("run", "--once")
    lines = articles("search", "articles", "wide words", "-k", "1", COLUMNS="40").stdout.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("   ") and len(line) <= 40 for line in lines[1:])
    assert lines[2].endswith(" …")
