"""The built-in model: one vector a token, summed and brought to length 1. No network, no GPU, no training.

The weights and the tokenizer are files of the `wordllama` package (256 dimensions, 32,000 tokens). They are read
straight from its folder: importing the package is slow, and its own loader goes to the network. The averaging is the
package's own: no special tokens, no truncation, every token of the text with weight 1. A vector depends on its text
alone, bit for bit: each text is summed by itself, from its start, in the order of its tokens.

Licence caveat: see `LICENCE`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from headwater.embedding.port import Compute, Description, Embedded, Purpose, on_a_thread
from headwater.embedding.providers.tokens import Tokens
from headwater.embedding.providers.wordless import wordless
from headwater.errors import Reject, Unreachable

LICENCE = (
    "The wordllama package is under the MIT licence. Its README says that the weights are derived from the token "
    "codebooks of LLaMA 2 70B and Phi-3 medium. Whether the terms of those models reach the weights is unresolved."
)

_REVISION = 1
# Rows gathered at once: 4 MiB at 256 dimensions, so that one huge text does not take a gigabyte.
_BLOCK_TOKENS = 4096


@dataclass(frozen=True)
class ModelFiles:
    """Where the files are and what they must be. The digests stand here so that describing the model reads nothing."""

    package: str = "wordllama"
    version: str = "0.2.2.post0"
    weights: str = "weights/l2_supercat_256.safetensors"
    weights_digest: str = "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5"
    tensor: str = "embedding.weight"
    tokenizer: str = "tokenizers/l2_supercat_tokenizer_config.json"
    tokenizer_digest: str = "bf467c9e0f536bda271283c6ef85eb1a943e3196b621c8a912d64953b205df83"
    dimensions: int = 256
    folder: Path | None = field(default=None, compare=False)

    @property
    def fingerprint(self) -> str:
        """A digest of all that the vectors depend on; the place of the files is not part of it."""
        parts = ("static", _REVISION, self.package, self.version, self.weights_digest, self.tensor)
        return sha256(repr((*parts, self.tokenizer_digest, self.dimensions, "sum", "l2")).encode()).hexdigest()

    def read(self, name: str, digest: str) -> bytes:
        """Read one of the files whole, and check that it is what this model was built on."""
        path = self._folder() / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise self.unusable(f"{path} cannot be read: {error.strerror or error}") from error
        if sha256(content).hexdigest() != digest:
            raise self.unusable(f"{path} is damaged, or not the one of {self.package} {self.version}")
        return content

    def unusable(self, cause: str) -> Unreachable:
        """Say why the model cannot be used, and how to mend it."""
        return Unreachable(
            "the static model",
            cause,
            f"Install it again: pip install --force-reinstall {self.package}=={self.version}",
            code="not-installed",
        )

    def _folder(self) -> Path:
        if self.folder is not None:
            return self.folder
        found = importlib.util.find_spec(self.package)  # finds without importing
        if found is None or not found.submodule_search_locations:
            raise self.unusable(f"the package {self.package} is not installed")
        return Path(found.submodule_search_locations[0])


class StaticEmbedder:
    """Text -> sum of its tokens' vectors, at length 1. The files are read at the first call of `embed`."""

    def __init__(
        self,
        files: ModelFiles | None = None,
        *,
        max_texts: int = 256,
        max_characters: int = 1_000_000,
        compute: Compute = on_a_thread,
    ) -> None:
        self._files = files or ModelFiles()
        self._description = Description(
            name="static",
            fingerprint=self._files.fingerprint,
            dimensions=self._files.dimensions,
            max_texts=max_texts,
            max_characters=max_characters,
            witnessed=False,
        )
        self._compute = compute
        self._loading = Lock()
        self._model: _Model | None = None

    def __repr__(self) -> str:
        return f"StaticEmbedder({self._files.package} {self._files.version}, loaded={self._model is not None})"

    def describe(self) -> Description:
        return self._description

    async def open(self) -> None:
        """Nothing has to be asked: what the files must be stands in `ModelFiles`."""

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:  # noqa: ARG002 (it makes no difference here)
        return await self._compute(lambda: self._embed(texts))

    def count(self, text: str) -> int:
        """Return how many tokens the text has for the model. A lone surrogate, which `embed` refuses, counts as a
        question mark. The first call reads the files; raise Unreachable when it cannot.
        """
        return len(self._loaded().tokens.of(text.encode("utf-8", "replace").decode()))

    async def close(self) -> None:
        self._model = None

    def _embed(self, texts: Sequence[str]) -> Embedded:
        model = self._loaded()
        vectors = np.empty((len(texts), self._files.dimensions), dtype=np.float32)
        tokens = 0
        for row, text in enumerate(texts):
            try:
                ids = model.tokens.of(text)
            except UnicodeEncodeError as error:
                raise Reject("the text holds a lone surrogate, which is not Unicode text", index=row) from error
            tokens += len(ids)
            vectors[row] = model.sum(ids)
        return Embedded(vectors=_at_length_1(vectors, texts), index=tuple(range(len(texts))), tokens=tokens)

    def _loaded(self) -> _Model:
        """Return the model, read once even when several threads come first together."""
        with self._loading:
            if self._model is None:
                self._model = _Model(_matrix(self._files), _tokens(self._files))
            return self._model


@dataclass(frozen=True, eq=False)
class _Model:
    """What `embed` needs in memory: a row a token, and the way from text to tokens."""

    matrix: npt.NDArray[np.float32]
    tokens: Tokens

    def sum(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Add up the tokens' rows. Text by text is faster than a whole batch at once: the rows stay in the cache."""
        if len(ids) <= _BLOCK_TOKENS:
            return self._block(ids)
        total = np.zeros(self.matrix.shape[1], dtype=np.float32)
        for start in range(0, len(ids), _BLOCK_TOKENS):
            total += self._block(ids[start : start + _BLOCK_TOKENS])
        return total

    def _block(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        total: npt.NDArray[np.float32] = self.matrix.take(ids, axis=0).sum(axis=0)
        return total


def _at_length_1(vectors: npt.NDArray[np.float32], texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Divide by the length. It makes dividing by the number of tokens first, as a mean would, needless."""
    lengths = np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1))
    for row in np.flatnonzero(lengths == 0.0).tolist():
        vectors[row] = wordless(texts[row], vectors.shape[1])
        lengths[row] = 1.0
    scaled: npt.NDArray[np.float32] = (vectors / lengths[:, np.newaxis]).astype(np.float32)
    return scaled


def _matrix(files: ModelFiles) -> npt.NDArray[np.float32]:
    """Read the weights, kept as float32: adding up in float16 would lose what long texts hold."""
    content = files.read(files.weights, files.weights_digest)
    try:
        matrix = load(content)[files.tensor]
    except (SafetensorError, KeyError) as error:
        raise files.unusable(f"{files.weights} does not hold {files.tensor}") from error
    if matrix.ndim != 2 or matrix.shape[1] != files.dimensions:
        raise files.unusable(f"{files.weights} has the shape {matrix.shape}, not (n, {files.dimensions})")
    return np.ascontiguousarray(matrix, dtype=np.float32)


def _tokens(files: ModelFiles) -> Tokens:
    content = files.read(files.tokenizer, files.tokenizer_digest)
    try:
        return Tokens(content)
    except ValueError as error:
        raise files.unusable(f"{files.tokenizer}: {error}") from error
