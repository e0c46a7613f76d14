"""A small fixed workload, and what must be in the index after it, said by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import numpy as np

from headwater.embedding.port import Description, Embedded, Purpose
from headwater.embedding.providers.hash import HashEmbedder
from headwater.errors import Reject
from headwater.log.codecs.json import encode
from headwater.log.port import LogWriter, SourcePosition
from headwater.model.change import Change, Outgoing
from headwater.model.document import Recipe
from headwater.recipe.options import Chunking, PayloadField
from headwater.recipe.standard import StandardRecipe
from headwater.sources.port import Pass

#: The model refuses ILL while it is ill, and WORSE always; the filter keeps out what begins with HIDDEN.
ILL, WORSE, HIDDEN = "ill", "worse", "hidden"


def upsert(name: str, text: str, kind: str | None = "k") -> Outgoing:
    body = {"text": text} | ({"kind": kind} if kind else {})
    return encode(msgspec.json.encode({"id": name, "body": body}), 1)


def delete(name: str) -> Outgoing:
    return encode(msgspec.json.encode({"id": name, "op": "delete"}), 1)


FIRST = [
    upsert("a", "one"),
    upsert("b", "two"),
    upsert("c", "three"),
    upsert("a", "one, edited"),
    upsert("c", "poison: no kind", None),
    upsert("d", f"{HIDDEN} from the start"),
    upsert("e", "four"),
    delete("b"),
    delete("f"),
    upsert("g", f"{ILL} at first"),
    upsert("h", "five"),
    upsert("e", f"{HIDDEN} later"),
    delete("h"),
]
THEN = [
    upsert("h", "five again"),
    upsert("a", "one, edited"),
    upsert("i", "six"),
    upsert("i", f"{WORSE} than six"),
    upsert("j", WORSE),
    upsert("k", "seven"),
    delete("k"),
]
FILES = {"x.txt": "the first file", "y.txt": "the second file", "z.txt": "one"}
EXPECTED = {
    "a": "one, edited",
    "c": "three",
    "g": f"{ILL} at first",
    "h": "five again",
    "i": "six",
    **FILES,
}
#: The documents that have a dead letter waiting at the end.
DEAD = {"c", "i", "j"}


class Model:
    """The `hash` model, which can be ill, and which anybody might swap."""

    def __init__(self) -> None:
        self._inner = HashEmbedder(dimensions=32)
        self.ill = True

    def describe(self) -> Description:
        return msgspec.structs.replace(self._inner.describe(), witnessed=True)

    async def open(self) -> None:
        await self._inner.open()

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        for text in texts:
            if WORSE in text or (self.ill and ILL in text):
                raise Reject("unreadable")
        return await self._inner.embed(texts, purpose)

    async def close(self) -> None:
        await self._inner.close()


def recipe(number: int, model: Model) -> Recipe:
    return StandardRecipe(
        number,
        Chunking(800, None, None),
        {"kind": PayloadField("kind", required=True)},
        None,
        model.describe().fingerprint,
        predicate=_passes,
        predicate_name="visible",
    )


def _passes(change: Change) -> bool:
    return not str((change.body or {}).get("text", "")).startswith(HIDDEN)


class Files:
    """A source of FILES that needs no threads: one file a step."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer

    async def synchronise(self) -> Pass:
        serial, known = await self._writer.position("files")
        count = 0
        for name, text in FILES.items():
            if name.encode() not in known:
                change = upsert(name, text)
                await self._writer.append([change], SourcePosition("files", serial, {name.encode(): b"1"}))
                serial += 1
                count += 1
        return Pass(count, 0)

    async def changed(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        await self._writer.close()


def vector(text: str) -> bytes:
    """What the model makes of a text, worked out here."""
    return np.ascontiguousarray(HashEmbedder(dimensions=32)._embed([text]).vectors[0], dtype="<f4").tobytes()
