"""Accounts at embedding services, and the cache: what is read, and what does not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.settings.reading import lines, read

EVERY_KEY = """
accounts:
  openai:
    requests: 3000
    tokens: ${env:TPM}
    per: 60s
    reserve: 0.2
    minimum: 0.1
    price: ${env:PRICE}
    batch_price: 0.013
    budget: {soft: 8, hard: 10.5, per: day}
cache: {url: sqlite:///cache.db, size: 2GiB, tenant: acme}
streams:
  a: {recipe: {embed: {model: openai/m, key: k, account: openai, too_long: split}}}
"""


def test_every_key_is_read(tmp_path: Path) -> None:
    settings = read(tmp_path, EVERY_KEY, TPM="1000000", PRICE="0.02")
    account = settings.accounts["openai"]
    assert (account.requests, account.tokens, account.per_s, account.price) == (3000, 1_000_000, 60.0, 0.02)
    assert (account.reserve, account.minimum) == (0.2, 0.1)
    assert account.prices == (0.02, 0.013)
    assert account.budget is not None
    assert (account.budget.soft, account.budget.hard, account.budget.per) == (8, 10.5, "day")
    assert settings.cache is not None
    assert (settings.cache.url.path, settings.cache.size_bytes) == (tmp_path / "cache.db", 2 << 30)
    embed = settings.streams["a"].recipe.embed
    assert (embed.account, embed.too_long) == ("openai", "split")


def test_without_them_nothing_is_limited_and_nothing_kept(tmp_path: Path) -> None:
    settings = read(tmp_path, "accounts: {mine: {}}\nstreams: {a: {}}")
    account = settings.accounts["mine"]
    assert (account.requests, account.tokens, account.price, account.budget) == (None, None, None, None)
    assert (account.reserve, account.minimum) == (0.0, 0.05)
    assert account.prices is None
    assert settings.cache is None
    assert settings.streams["a"].recipe.embed.account is None


@pytest.mark.parametrize(("written", "prices"), [("price: 3", (3, 1.5)), ("price: 3, batch_price: 0", (3, 0))])
def test_the_batch_interface_costs_half_unless_it_is_said(
    tmp_path: Path, written: str, prices: tuple[float, float]
) -> None:
    settings = read(tmp_path, f"accounts: {{mine: {{{written}}}}}\nstreams: {{a: {{}}}}")
    assert settings.accounts["mine"].prices == prices


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("accounts: {o: {}}\nstreams: {a: {recipe: {embed: {model: openai/m, account: p}}}}", "expected one of o"),
        ("streams: {a: {recipe: {embed: {model: openai/m, account: p}}}}", "expected `accounts` with one of this name"),
        ("accounts: {o: {}}\nstreams: {a: {recipe: {embed: {account: o}}}}", "needs no service"),
        ("accounts: {o: {budget: {hard: 1}}}\nstreams: {a: {}}", "`price` beside it"),
        ("accounts: {o: {price: 1, budget: {soft: 3, hard: 2}}}\nstreams: {a: {}}", "no more than `hard`"),
        ("accounts: {o: {price: -1}}\nstreams: {a: {}}", "accounts.o.price"),
        ("accounts: {o: {price: true}}\nstreams: {a: {}}", "accounts.o.price"),
        ("accounts: {o: {price: .nan}}\nstreams: {a: {}}", "accounts.o.price"),
        ("accounts: {o: {batch_price: 1}}\nstreams: {a: {}}", "accounts.o.batch_price: expected `price` beside it"),
        ("accounts: {o: {price: 1, batch_price: -1}}\nstreams: {a: {}}", "accounts.o.batch_price"),
        ("accounts: {o: {tokens: 0}}\nstreams: {a: {}}", "accounts.o.tokens"),
        ("accounts: {o: {reserve: 0.9, minimum: 0.2}}\nstreams: {a: {}}", "1 or less together"),
        ("cache: {url: sqlite:///headwater.db}\nstreams: {a: {}}", "cache.url: expected a file of its own"),
        ("cache: {url: sqlite:///i.db}\nstreams: {a: {index: sqlite:///i.db}}", "the index lies in this one"),
        ("cache: {url: sqlite:///c.db, size: 1MiB}\nstreams: {a: {}}", "between 16MiB and 1TiB"),
        ("cache: {size: 1GiB}\nstreams: {a: {}}", "cache.url"),
    ],
)
def test_what_does_not_fit_is_said_at_its_place(tmp_path: Path, text: str, says: str) -> None:
    found = lines(tmp_path, text)
    assert len(found) >= 1
    assert any(says in line for line in found), found
