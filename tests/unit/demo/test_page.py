"""The page: it shows what was measured, and says when a figure breaks a promise."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headwater.demo.figures import Act, Crash, Deletion, Figures, Found, broken
from headwater.demo.page import page

GOOD = Figures(
    package="django",
    releases=("1", "2"),
    acts=(Act(name="load 1", added=3, edited=0, deleted=0, chunks=1234, embedded=617, seconds=1.25),),
    answers=(Found("why?", "a.txt", "A", 0.5, 12.4),),
    deletion=Deletion(("a.txt",), (), ({"outcome": "indexed"}, {"outcome": "deleted"})),
    crash=Crash(changes=7, settled=3, waiting=4, waiting_after=0, verified=True),
    files=2,
    documents=2,
    chunks=10,
    foreign_chunks=0,
    appended=10,
    outcomes={"indexed": 8, "deleted": 2},
    dead_letters=0,
    embedding={"calls": 5, "texts": 60, "tokens": 700, "reused": 8},
    freshness={"p50_s": 0.4, "p99_s": 1.5, "budget_s": 60.0},
    verify={"documents": 2, "missing": 0, "ok": True},
    seconds=33.3,
)


def test_the_page_shows_the_figures_and_the_next_steps() -> None:
    text = page(GOOD)
    assert not broken(GOOD)
    assert "BROKEN" not in text
    for shown in ("1,234", "617", "50%", "3 of 7", "4 waiting", "99 % within 1.5 s", "verify          clean", "33 s"):
        assert shown in text
    for command in ("headwater init", "headwater run", "headwater search"):
        assert command in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    "wrong",
    [
        {"verify": {"ok": False}},
        {"documents": 3},
        {"foreign_chunks": 1},
        {"outcomes": {"indexed": 9}},
        {"dead_letters": 1},
        {"crash": msgspec.structs.replace(GOOD.crash, waiting_after=1)},
        {"crash": msgspec.structs.replace(GOOD.crash, verified=False)},
        {"deletion": Deletion(("a.txt",), ("a.txt",), ({"outcome": "deleted"},))},
        {"deletion": Deletion(("a.txt",), (), ({"outcome": "indexed"},))},
        {"acts": (Act(name="edit", added=1, edited=0, deleted=0, chunks=1, embedded=2, seconds=0.1),)},
        {"freshness": {"p50_s": 0.4, "p99_s": 61.0, "budget_s": 60.0}},
        {"freshness": {"p50_s": None, "p99_s": None, "budget_s": 60.0}},
    ],
)
def test_a_broken_promise_is_named(wrong: dict[str, Any]) -> None:
    figures = msgspec.structs.replace(GOOD, **wrong)
    assert len(broken(figures)) == 1
    if figures.freshness["p50_s"] is not None:
        assert f"BROKEN          {broken(figures)[0]}" in page(figures)
