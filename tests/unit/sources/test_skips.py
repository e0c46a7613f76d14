"""What cannot be read is told once, and memory stays bounded."""

from __future__ import annotations

from headwater.sources.skips import NAMED, Skips


def test_only_news_are_told() -> None:
    skips = Skips()
    assert list(skips.news([("a", "not UTF-8"), ("b", "too large")])) == [("a", "not UTF-8"), ("b", "too large")]
    assert list(skips.news([("a", "not UTF-8"), ("b", "not UTF-8")])) == [("b", "not UTF-8")]
    assert list(skips.news([("a", "not UTF-8")])) == []
    assert skips.count == 1
    assert list(skips.news([])) == []
    assert list(skips.news([("a", "not UTF-8")])) == [("a", "not UTF-8")], "it was well meanwhile"


def test_a_bounded_number_is_told_by_name_and_all_are_counted() -> None:
    skips = Skips()
    many = [(str(number), "not UTF-8") for number in range(NAMED + 5)]
    assert list(skips.news(many)) == many[:NAMED]
    assert list(skips.news(many)) == []
    assert skips.count == NAMED + 5
