"""A whole stream over a topic with schemas: the registry's outage pauses it, and makes no dead letter."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from headwater.engine.supervisor import End, StreamWorker
from headwater.errors import Retry
from headwater.log.codecs.decoder import decoder
from headwater.log.codecs.layout import Layout
from headwater.log.codecs.schemas import Part, Schema, SchemaBook, SchemaKind, SchemaRef, Unusable
from headwater.log.learning import Learning, LearningHistory, LearningReader
from headwater.model.change import Outgoing
from tests.integration.engine.harness import STREAM, Stream, play

_AVRO = b"""{"type": "record", "name": "Doc", "fields": [
    {"name": "id", "type": "string"}, {"name": "text", "type": "string"}, {"name": "tag", "type": "int"}]}"""


class Registry:
    """Knows the ids below 100. While it is not `back`, it is away."""

    def __init__(self) -> None:
        self.back = True
        self.refused = 0

    async def fetch(self, ref: SchemaRef) -> Schema | Unusable:
        if not self.back:
            self.refused += 1
            raise Retry("schema registry", "away")
        return Schema(SchemaKind.AVRO, _AVRO) if ref.id < 100 else Unusable("is not known to the registry")

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass


def worker(stream: Stream, registry: Registry) -> StreamWorker:
    """The harness's worker, over a topic of Avro values. Its book is new, as after a restart."""
    book = SchemaBook([Part.VALUE])
    learn = Learning(book, registry, stream.clock)
    made = stream.worker(reader=lambda reader: LearningReader(reader, learn))
    layout = Layout(format="avro", envelope="none", text=("text",))
    made._ports = msgspec.structs.replace(
        made._ports, decode=decoder(layout, book), history=LearningHistory(made._ports.history, learn)
    )
    return made


async def say(stream: Stream, schema: int, document: str, text: str) -> None:
    value = b"".join(bytes([2 * len(it)]) + it.encode() for it in (document, text)) + b"\0"
    frame = b"\0" + schema.to_bytes(4, "big")
    await stream.log.writer(STREAM, 1).append([Outgoing(document.encode(), frame + value)])


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_an_outage_pauses_the_stream_and_makes_no_dead_letter(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        registry = Registry()
        running = worker(stream, registry)
        task = asyncio.ensure_future(running.run(once=False))

        async def settled(document: str, *outcomes: tuple[int, str]) -> None:
            async def holds() -> bool:
                return await stream.outcomes(document) == list(outcomes)

            await stream.until(holds)

        await say(stream, 1, "x", "A")
        await settled("x", (0, "indexed"))
        registry.back = False
        await say(stream, 2, "y", "B")
        await say(stream, 1, "x", "C")

        async def waits() -> bool:
            return registry.refused > 2

        await stream.until(waits)
        assert await stream.shown() == {"x": "A"}
        assert set(running.patience.outages) == {"schema registry"}
        registry.back = True
        await settled("y", (1, "indexed"))
        await settled("x", (0, "indexed"), (2, "indexed"))
        assert not running.patience.outages
        running.stop()
        assert (await task).end is End.STOPPED
        assert await stream.letters() == []
        assert await stream.shown() == {"x": "C", "y": "B"}

    play(kind, tmp_path, story)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_an_unknown_id_is_one_dead_letter_and_the_rest_goes_on(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        for schema, document in ((1, "x"), (100, "y"), (1, "z")):
            await say(stream, schema, document, "A")
        assert (await worker(stream, Registry()).run(once=True)).end is End.DONE
        assert await stream.shown() == {"x": "A", "z": "A"}
        (letter,) = await stream.letters()
        assert letter.document == "y"
        assert "schema id 100 is not known to the registry" in letter.reason

    play(kind, tmp_path, story)
