"""What the tests of the codecs share: records, and one line to decode them."""

from __future__ import annotations

from typing import Any

import msgspec

from headwater.log.codecs.decoder import Schemas, decoder
from headwater.log.codecs.layout import Layout
from headwater.model.change import Change, Record, Undecodable, digest
from headwater.model.registry import ANY_EPOCH

APPENDED_US = 77


def raw(value: object) -> bytes:
    """Bytes are taken as they are, everything else as JSON."""
    return value if isinstance(value, bytes) else msgspec.json.encode(value)


def record(value: object, key: object = b"a", headers: tuple[tuple[str, bytes], ...] = (), **more: Any) -> Record:
    data = None if value is None else raw(value)
    place = {"partition": 0, "offset": 5, **more}
    return Record(key=raw(key), value=data, time_us=APPENDED_US, headers=headers, **place)


def read(layout: Layout, given: Record, schemas: Schemas | None = None) -> Change | Undecodable:
    return decoder(layout, schemas)(given, ANY_EPOCH)


def change(layout: Layout, given: Record, schemas: Schemas | None = None) -> Change:
    found = read(layout, given, schemas)
    assert isinstance(found, Change), found
    assert found.place == given.place
    assert found.appended_us == APPENDED_US
    assert found.size_bytes == given.size_bytes
    return found


def dead(layout: Layout, given: Record, schemas: Schemas | None = None) -> Undecodable:
    found = read(layout, given, schemas)
    assert isinstance(found, Undecodable), found
    assert found.digest == digest(given.value or b"")
    assert found.place == given.place
    return found
