"""Counting tokens, and cutting at them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from headwater.rehearsal.counting import Characters, Counting, Tokenized


def words() -> Tokenized:
    tokenizer = Tokenizer(WordLevel({"[CLS]": 0, "[SEP]": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $0 [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)])
    return Tokenized(tokenizer)


def test_characters_are_counted_up() -> None:
    counting = Characters(4.0)
    assert [counting.count("x" * length) for length in (1, 4, 5, 8)] == [1, 1, 2, 2]
    assert counting.cut("abcdefghij", 2) == "abcdefgh"


def test_a_tokenizer_counts_its_special_tokens_too() -> None:
    assert words().count("one two three") == 5
    assert words().cut("one two three", 4) == "one two"
    assert words().cut("one two three", 2) == ""


@pytest.mark.parametrize("counting", [Characters(4.0), Characters(2.5), words()], ids=["4", "2.5", "words"])
@given(text=st.text(min_size=1, max_size=60), most=st.integers(2, 12))
def test_what_is_cut_is_a_beginning_with_at_most_so_many_tokens(counting: Counting, text: str, most: int) -> None:
    cut = counting.cut(text, most)
    assert text.startswith(cut)
    assert counting.count(cut) <= most
    if counting.count(text) <= most:
        assert cut.split() == text.split()
