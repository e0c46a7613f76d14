"""PURE: records written with a schema registry: which schema a record names, and its parts read with that schema.

A part (the key, the value) names its schema in front of its payload, or in a header of the record, as Confluent's
serializers write it: a magic byte, then an id (magic 0, four bytes, big-endian) or a GUID (magic 1, 16 bytes). Decoding
asks nobody: the schemas are in the `SchemaBook` before the engine sees a record (see `headwater.log.learning`).

JSON payloads are read as JSON; their schema is not applied. That is the producer's contract, and applying it costs more
than all of the rest of reading.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from headwater.errors import Reject
from headwater.log.codecs import avro, values
from headwater.log.codecs.json import parse
from headwater.model.change import Record

#: How long an id that the registry does not know, or whose schema is of no use, is not asked for again.
UNUSABLE_S = 60.0
MAX_SCHEMAS = 10_000
MAX_SCHEMA_BYTES = 64 << 20

_ID_BYTES = 5
_GUID_BYTES = 17


class Part(StrEnum):
    """A part of a record that a schema describes."""

    KEY = "key"
    VALUE = "value"


_HEADERS = {Part.KEY: "__key_schema_id", Part.VALUE: "__value_schema_id"}


class SchemaRef(NamedTuple):
    """What a record names its schema by: the registry's number (0 where it has a GUID), or a GUID."""

    id: int
    guid: str = ""

    def __str__(self) -> str:
        return f"schema {self.guid}" if self.guid else f"schema id {self.id}"


class SchemaKind(StrEnum):
    """The languages of schemas, as registries name them."""

    AVRO = "AVRO"
    JSON = "JSON"
    PROTOBUF = "PROTOBUF"


class Schema(msgspec.Struct, frozen=True):
    """A schema as the registry holds it.

    `imports` are the definitions that it refers to, each after those that it refers to itself. Avro's are its JSON;
    Protobuf's are serialized file descriptors.
    """

    kind: SchemaKind
    definition: bytes
    imports: tuple[bytes, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What holding it costs."""
        return len(self.definition) + sum(map(len, self.imports))


class Unusable(msgspec.Struct, frozen=True):
    """There is no schema to read with, and why: "is not known to the registry"."""

    reason: str


class SchemaRegistry(Protocol):
    """Where schemas come from."""

    async def fetch(self, ref: SchemaRef) -> Schema | Unusable:
        """Return a schema with all that it refers to, or say why there is none.

        Raise Retry while the registry is away, Unreachable when it will not answer until a person acts.
        """
        ...

    async def check(self) -> None:
        """Raise what `fetch` would raise if the registry could not be used now."""
        ...

    async def close(self) -> None:
        """Let go of what is held. Idempotent."""
        ...


def reference(record: Record, part: Part) -> SchemaRef | None:
    """Return what this part names its schema by, or None where it names none: a delete marker, or something else."""
    data = _data(record, part)
    if data is None:
        return None
    try:
        return _identity(_header(record, part) or data)[0]
    except Reject:
        return None


def _data(record: Record, part: Part) -> bytes | None:
    return record.key if part is Part.KEY else record.value


def _header(record: Record, part: Part) -> bytes | None:
    name = _HEADERS[part]
    for header, content in record.headers:
        if header == name:
            return content
    return None


def _identity(data: bytes) -> tuple[SchemaRef, int]:
    """Read a schema's id or GUID, and where it ends."""
    magic = data[0] if data else None
    if magic not in (None, 0, 1):
        raise Reject("it does not begin with a schema registry's magic byte")
    end = _GUID_BYTES if magic == 1 else _ID_BYTES
    if len(data) < end:
        raise Reject("it is too short to name a schema")
    if magic == 1:
        return SchemaRef(0, values.uuid(data[1:end])), end
    return SchemaRef(int.from_bytes(data[1:end], "big")), end


#: Reads (payload, what stands in the header behind the schema's id; None without a header).
_Decode = Callable[[bytes, bytes | None], object]


class _Entry(NamedTuple):
    """What the book holds: how to read, or why not and until when that is believed."""

    decode: _Decode | None
    size_bytes: int
    reason: str = ""
    until_s: float = 0.0


class SchemaBook:
    """The schemas in use, by reference: as many as were used last within the bounds, and those of the newest records.

    `parts` are the parts of a record that schemas describe. `key` and `value` give plain values: what JSON has.
    """

    def __init__(
        self, parts: Iterable[Part], max_schemas: int = MAX_SCHEMAS, max_bytes: int = MAX_SCHEMA_BYTES
    ) -> None:
        self._parts = tuple(parts)
        self._max_schemas = max_schemas
        self._max_bytes = max_bytes
        self._entries: OrderedDict[SchemaRef, _Entry] = OrderedDict()
        self._size_bytes = 0

    def references(self, records: Iterable[Record]) -> list[SchemaRef]:
        """Return what these records name, each once."""
        found = {ref: None for record in records for part in self._parts if (ref := reference(record, part))}
        return list(found)

    def wanted(self, refs: Iterable[SchemaRef], now_s: float) -> list[SchemaRef]:
        """Return those that are not here, or whose absence is no longer believed. The others count as used now."""
        absent = []
        for ref in refs:
            entry = self._entries.get(ref)
            if entry is None or (entry.decode is None and entry.until_s <= now_s):
                absent.append(ref)
            else:
                self._entries.move_to_end(ref)
        return absent

    def put(self, ref: SchemaRef, schema: Schema | Unusable, now_s: float) -> None:
        """Take what the registry answered."""
        self._drop(ref)
        try:
            if isinstance(schema, Unusable):
                raise Reject(schema.reason)
            entry = _Entry(_decoder(schema), schema.size_bytes)
        except Reject as error:
            entry = _Entry(None, len(error.reason), error.reason, now_s + UNUSABLE_S)
        self._entries[ref] = entry
        self._size_bytes += entry.size_bytes

    def trim(self, keep: Collection[SchemaRef]) -> None:
        """Forget what was not used for longest, down to the bounds, but none of `keep`."""
        for ref in list(self._entries):
            if len(self._entries) <= self._max_schemas and self._size_bytes <= self._max_bytes:
                return
            if ref not in keep:
                self._drop(ref)

    def key(self, record: Record) -> object:
        """Return the record's key. Raise Reject where it cannot be read."""
        return self._read(record, Part.KEY)

    def value(self, record: Record) -> object:
        """Return the record's value; None for a delete marker. Raise Reject where it cannot be read."""
        return self._read(record, Part.VALUE)

    def _read(self, record: Record, part: Part) -> object:
        data = _data(record, part)
        if data is None:
            return None
        header = _header(record, part)
        try:
            ref, end = _identity(header or data)
        except Reject as error:
            raise Reject(f"the {part} names no schema: {error.reason}") from error
        # A KeyError is a defect: the schema was to be learned before the record was handed out.
        entry = self._entries[ref]
        if entry.decode is None:
            raise Reject(f"the {part} cannot be read: {ref} {entry.reason}")
        try:
            return entry.decode(data, header[end:]) if header else entry.decode(data[end:], None)
        except Reject as error:
            raise Reject(f"the {part} cannot be read with {ref}: {error.reason}") from error

    def _drop(self, ref: SchemaRef) -> None:
        entry = self._entries.pop(ref, None)
        if entry:
            self._size_bytes -= entry.size_bytes


def _decoder(schema: Schema) -> _Decode:
    """Return what reads this schema's payloads. Raise Reject with what is wrong with the schema."""
    try:
        if schema.kind is SchemaKind.PROTOBUF:
            from headwater.log.codecs import protobuf  # noqa: PLC0415 (of the extra `schemas`, as few need it)

            return protobuf.decoder((*schema.imports, schema.definition))
        if schema.kind is SchemaKind.JSON:
            return _without_header(_json)
        return _without_header(avro.decoder(schema.definition, schema.imports))
    except Reject as error:
        raise Reject(f"is of no use: {error.reason}") from error


def _without_header(decode: Callable[[bytes], object]) -> _Decode:
    def read(payload: bytes, header: bytes | None) -> object:
        if header:
            raise Reject("bytes follow the schema's id in the header")
        return decode(payload)

    return read


def _json(payload: bytes) -> object:
    """Read any JSON value, by the rules for objects."""
    if payload.lstrip()[:1] == b"{":
        return parse(payload)
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Reject("it is no JSON") from error
    # Alone it is one whole value, so it is one in an object too.
    return parse(b'{"value":' + payload + b"}")["value"]
