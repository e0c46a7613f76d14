"""`verify` and `verify --repair` on an index that was damaged behind everybody's back."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.integration.cli.process import Cli


def damage(cli: Cli, *statements: str) -> None:
    with closing(sqlite3.connect(cli.folder / "headwater.db")) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement


def mended(cli: Cli, documents: int) -> str:
    """Repair, and return what was said. A second look finds nothing."""
    said = cli("verify", "articles", "--repair").stderr
    assert f"{documents} document{'' if documents == 1 else 's'} mended" in said
    assert cli.json("verify", "articles", "--json")["ok"]
    found = cli.json("search", "articles", "trout and salmon", "-k", "5", "--json")
    assert {hit["id"] for hit in found["hits"]} == {"fish.md", "stars.md"}
    assert len(cli.lines("export", "articles", "--jsonl")) == 2
    return said


FISH = "WHERE id = CAST('fish.md' AS BLOB)"


@pytest.mark.parametrize(
    "change",
    [
        "payload = '{x'",
        "payload = '[]'",
        "payload = CAST(x'ff' AS TEXT)",
        "state = 'gone'",
        "chunks = x'00'",
        "extra = x'00'",
    ],
)
def test_a_manifest_that_cannot_be_read(articles: Cli, change: str) -> None:
    damage(articles, f"UPDATE index_document SET {change} {FISH}")
    one_line = (
        "headwater: torn-document: the index row of document 'fish.md' cannot be read. "
        "`headwater verify articles --repair` mends it\n"
    )
    assert articles("search", "articles", "trout", code=5).stderr == one_line
    exported = articles("export", "articles", "--jsonl", code=5)
    assert exported.stderr == one_line
    assert len(exported.stdout.splitlines()) == 1  # the other document
    said = articles("verify", "articles", code=5)
    assert "stale: fish.md: its manifest cannot be read" in said.stderr
    shape = articles.json("verify", "articles", "--json", code=5)
    assert (shape["documents"], shape["stale"], shape["missing"], shape["orphans"]) == (2, 1, 0, 0)
    mended(articles, 1)


def test_a_vector_of_another_size(articles: Cli) -> None:
    damage(articles, "UPDATE index_chunk SET vector = x'0000' WHERE text LIKE '%Trout%'")
    assert "torn-document" in articles("search", "articles", "trout", code=5).stderr
    assert "torn-document" in articles("export", "articles", "--jsonl", "--vectors", code=5).stderr
    assert "a vector of another size" in articles("verify", "articles", code=5).stderr
    mended(articles, 1)


def test_rows_of_a_document_that_vanished(articles: Cli) -> None:
    damage(articles, f"DELETE FROM index_document {FISH}")
    said = articles("verify", "articles", code=5).stderr
    assert "missing: fish.md: " in said
    assert "orphan: rows that belong to no document: 1\n" in said
    assert "1 row that no document names removed" in mended(articles, 1)


def test_rows_of_a_document_that_was_deleted(articles: Cli) -> None:
    (articles.folder / "docs/stars.md").write_text("# Stars\n\nA comet has two tails.\n")
    gone = articles.folder / "docs/owls.md"
    gone.write_text("# Owls\n\nAn owl turns its head.\n")
    articles("run", "--once")
    gone.unlink()
    articles("run", "--once")
    # A fence takes no repair at its own version: the index removes what should not lie under it.
    damage(
        articles,
        "INSERT INTO index_chunk SELECT (SELECT key FROM index_document WHERE state = 'deleted') << 32 | 9, digest, "
        "occurrence, text, vector FROM index_chunk WHERE text LIKE '%comet%'",
    )
    assert "orphan: owls.md: 1 rows that its manifest does not name" in articles("verify", "articles", code=5).stderr
    mended(articles, 0)
