"""PURE: Avro's binary encoding, read with the schema it was written with.

A decoder of our own, because a record is somebody else's input: the usual one takes a negative length for "the rest",
rounds decimals, and ends the whole process on a few kilobytes for a recursive schema. This one bounds depth and counts
by the payload, and makes JSON-like values at once (see `values`). A union gives its branch's bare value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from headwater.errors import Reject
from headwater.log.codecs import values
from headwater.log.codecs.json import MAX_DEPTH

#: Reads one value: (payload, position, depth) gives the value and the position behind it.
_Read = Callable[[bytes, int, int], tuple[Any, int]]

_DOUBLE = struct.Struct("<d")
_FLOAT = struct.Struct("<f")
_DURATION = struct.Struct("<III")
_TOO_EARLY = "it ends too early"
_TOO_DEEP = f"it is nested too deeply, at most {MAX_DEPTH} levels are allowed"


def decoder(definition: bytes, imports: Sequence[bytes]) -> Callable[[bytes], object]:
    """Return what reads a whole payload of this schema. `imports` are the schemas that it names, the deepest first.

    Raise Reject when the schema is none, or cannot be read safely.
    """
    scope = _Scope()
    try:
        for text in imports:
            scope.compile(msgspec.json.decode(text), "")
        read, _ = scope.compile(msgspec.json.decode(definition), "")
    except RecursionError as error:
        raise Reject("its definition is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Reject("its definition is no JSON") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Reject("its definition is no Avro schema") from error

    def decode(payload: bytes) -> object:
        try:
            value, end = read(payload, 0, 1)
        except (IndexError, struct.error) as error:
            raise Reject(_TOO_EARLY) from error
        except UnicodeDecodeError as error:
            raise Reject("a string in it is not UTF-8") from error
        except RecursionError as error:
            raise Reject(_TOO_DEEP) from error
        if end != len(payload):
            raise Reject("bytes follow its end")
        return value

    return decode


class _Scope:
    """The named types of one schema and of those that it refers to."""

    def __init__(self) -> None:
        self._named: dict[str, tuple[_Read, bool]] = {}

    def compile(self, schema: Any, namespace: str) -> tuple[_Read, bool]:
        """Return what reads a value of this schema, and whether it takes at least one byte."""
        if isinstance(schema, str):
            if schema in _PRIMITIVES:
                return _PRIMITIVES[schema], schema != "null"
            # A simple name is one of the namespace around it, or of none.
            return self._named.get(f"{namespace}.{schema}") or self._named[schema]
        if isinstance(schema, list):
            if any(isinstance(branch, list) for branch in schema):
                raise ValueError("a union right in a union")
            return _union([self.compile(branch, namespace)[0] for branch in schema]), True
        kind = schema["type"]
        if kind == "array":
            items, solid = self.compile(schema["items"], namespace)
            if not solid:
                raise Reject("an array's items take no bytes: a few would ask for all memory")
            return _array(items), True
        if kind == "map":
            return _map(self.compile(schema["values"], namespace)[0]), True
        if kind in ("record", "error"):
            return self._record(schema, namespace)
        if kind in ("enum", "fixed"):
            reader = _enum(schema["symbols"]) if kind == "enum" else _fixed(schema)
            self._named[_full_name(schema, namespace)] = reader
            return reader
        read, solid = self.compile(kind, namespace)
        return (_logical(schema, kind) or read) if isinstance(kind, str) else read, solid

    def _record(self, schema: Mapping[str, Any], namespace: str) -> tuple[_Read, bool]:
        name = _full_name(schema, namespace)
        fields: list[tuple[str, _Read]] = []

        def read(data: bytes, position: int, depth: int) -> tuple[Any, int]:
            if depth > MAX_DEPTH:
                raise Reject(_TOO_DEEP)
            depth += 1
            record = {}
            for field, read_field in fields:
                record[field], position = read_field(data, position, depth)
            return record, position

        # A record inside of itself lies in a union, an array or a map, each of which takes a byte.
        self._named[name] = (read, True)
        solid = False
        for field in schema["fields"]:
            read_field, field_solid = self.compile(field["type"], name.rpartition(".")[0])
            fields.append((str(field["name"]), read_field))
            solid = solid or field_solid
        self._named[name] = (read, solid)
        return read, solid


def _full_name(schema: Mapping[str, Any], namespace: str) -> str:
    name = str(schema["name"])
    space = schema.get("namespace", namespace)
    return name if "." in name or not space else f"{space}.{name}"


def _long(data: bytes, position: int, _depth: int) -> tuple[int, int]:
    byte = data[position]
    position += 1
    raw = byte & 0x7F
    shift = 7
    while byte & 0x80:
        byte = data[position]
        position += 1
        raw |= (byte & 0x7F) << shift
        shift += 7
        if shift > 70:
            raise Reject("a number in it is too long")
    if raw >> 64:
        raise Reject("a number in it is too long")
    return (raw >> 1) ^ -(raw & 1), position


def _int(data: bytes, position: int, depth: int) -> tuple[int, int]:
    number, position = _long(data, position, depth)
    if not -0x8000_0000 <= number <= 0x7FFF_FFFF:
        raise Reject("a number in it is too long")
    return number, position


def _bytes(data: bytes, position: int, depth: int) -> tuple[bytes, int]:
    size, position = _long(data, position, depth)
    end = position + size
    if size < 0 or end > len(data):
        raise Reject(_TOO_EARLY)
    return data[position:end], end


def _string(data: bytes, position: int, depth: int) -> tuple[str, int]:
    raw, position = _bytes(data, position, depth)
    return raw.decode(), position


def _binary(data: bytes, position: int, depth: int) -> tuple[str, int]:
    raw, position = _bytes(data, position, depth)
    return values.binary(raw), position


def _null(_data: bytes, position: int, _depth: int) -> tuple[None, int]:
    return None, position


def _boolean(data: bytes, position: int, _depth: int) -> tuple[bool, int]:
    byte = data[position]
    if byte > 1:
        raise Reject("a boolean in it is neither true nor false")
    return byte == 1, position + 1


def _float(data: bytes, position: int, _depth: int) -> tuple[float | str, int]:
    return values.number(_FLOAT.unpack_from(data, position)[0]), position + 4


def _double(data: bytes, position: int, _depth: int) -> tuple[float | str, int]:
    return values.number(_DOUBLE.unpack_from(data, position)[0]), position + 8


_PRIMITIVES: dict[str, _Read] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "float": _float,
    "double": _double,
    "bytes": _binary,
    "string": _string,
}


def _union(branches: Sequence[_Read]) -> _Read:
    def read(data: bytes, position: int, depth: int) -> tuple[Any, int]:
        branch, position = _long(data, position, depth)
        if not 0 <= branch < len(branches):
            raise Reject("it names a branch of a union that the schema does not have")
        return branches[branch](data, position, depth)

    return read


def _array(items: _Read) -> _Read:
    def read(data: bytes, position: int, depth: int) -> tuple[Any, int]:
        if depth > MAX_DEPTH:
            raise Reject(_TOO_DEEP)
        array = []
        count, position = _block(data, position)
        while count:
            for _ in range(count):
                item, position = items(data, position, depth + 1)
                array.append(item)
            count, position = _block(data, position)
        return array, position

    return read


def _map(items: _Read) -> _Read:
    def read(data: bytes, position: int, depth: int) -> tuple[Any, int]:
        if depth > MAX_DEPTH:
            raise Reject(_TOO_DEEP)
        found = {}
        count, position = _block(data, position)
        while count:
            for _ in range(count):
                key, position = _string(data, position, depth)
                found[key], position = items(data, position, depth + 1)
            count, position = _block(data, position)
        return found, position

    return read


def _block(data: bytes, position: int) -> tuple[int, int]:
    """Read the number of items in an array's or a map's next block.

    It may be any number: each item takes a byte at least, so that a lie ends with the payload.
    """
    count, position = _long(data, position, 0)
    if count < 0:
        # The block's size in bytes follows, for readers that skip it.
        count = -count
        _, position = _long(data, position, 0)
    return count, position


def _enum(symbols: Sequence[str]) -> tuple[_Read, bool]:
    names = [str(symbol) for symbol in symbols]

    def read(data: bytes, position: int, depth: int) -> tuple[Any, int]:
        number, position = _long(data, position, depth)
        if not 0 <= number < len(names):
            raise Reject("it names a symbol of an enum that the schema does not have")
        return names[number], position

    return read, True


def _fixed(schema: Mapping[str, Any]) -> tuple[_Read, bool]:
    size = schema["size"]
    if not isinstance(size, int) or size < 0:
        raise ValueError(size)
    convert: Callable[[bytes], Any] = values.binary
    if schema.get("logicalType") == "decimal" and (scale := _scale(schema)) is not None:
        convert = _decimal(scale)
    elif schema.get("logicalType") == "duration" and size == _DURATION.size:
        convert = _duration
    elif schema.get("logicalType") == "uuid" and size == 16:
        convert = values.uuid

    def read(data: bytes, position: int, _depth: int) -> tuple[Any, int]:
        end = position + size
        if end > len(data):
            raise Reject(_TOO_EARLY)
        return convert(data[position:end]), end

    return read, size > 0


def _scale(schema: Mapping[str, Any]) -> int | None:
    """Return a decimal's scale, or None where it is wrong: then Avro wants the bytes as they are."""
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    right = isinstance(precision, int) and isinstance(scale, int) and 0 <= scale <= precision and precision > 0
    return scale if right else None


def _decimal(scale: int) -> Callable[[bytes], str]:
    return lambda unscaled: values.decimal(unscaled, scale)


def _duration(raw: bytes) -> dict[str, int]:
    months, days, milliseconds = _DURATION.unpack(raw)
    return {"months": months, "days": days, "milliseconds": milliseconds}


_Moment = Callable[[int], str]
_MOMENTS: dict[tuple[str, str], _Moment] = {
    ("int", "date"): values.day,
    ("int", "time-millis"): lambda it: values.time_of_day(it * 1_000_000),
    ("long", "time-micros"): lambda it: values.time_of_day(it * 1000),
    ("long", "timestamp-millis"): lambda it: values.instant(it * 1_000_000) + "Z",
    ("long", "timestamp-micros"): lambda it: values.instant(it * 1000) + "Z",
    ("long", "timestamp-nanos"): lambda it: values.instant(it) + "Z",
    ("long", "local-timestamp-millis"): lambda it: values.instant(it * 1_000_000),
    ("long", "local-timestamp-micros"): lambda it: values.instant(it * 1000),
    ("long", "local-timestamp-nanos"): values.instant,
}


def _logical(schema: Mapping[str, Any], kind: str) -> _Read | None:
    """Return what reads a logical type, or None for one that is unknown: then the underlying type counts."""
    logical = schema.get("logicalType")
    if kind == "bytes" and logical == "decimal" and (scale := _scale(schema)) is not None:
        return _converted(_bytes, _decimal(scale))
    moment = _MOMENTS.get((kind, logical)) if isinstance(logical, str) else None
    return _converted(_PRIMITIVES[kind], moment) if moment else None


def _converted(inner: _Read, convert: Callable[[Any], str]) -> _Read:
    def read(data: bytes, position: int, depth: int) -> tuple[Any, int]:
        value, position = inner(data, position, depth)
        return convert(value), position

    return read
