"""PURE: Protobuf messages, read with the compiled files of their schema.

Fields have the names of the `.proto` file. One that has no presence is always there, with its default; one that has it
(messages, `optional`, `oneof`) only when it is set. An enum gives its name (its number, if the schema does not know
it), a map's keys are strings. The well-known types give what they stand for: a timestamp RFC 3339, a duration seconds
("1.5s"), a wrapper its value, a Struct an object; an Any stays packed, as base64 beside its type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.message import DecodeError

from headwater.errors import Reject
from headwater.log.codecs import values

_Convert = Callable[[Any], Any]

#: A message lies this deep in others at most: its place is written as a path of numbers.
_MAX_PATH = 32
_FLOATS = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)


def decoder(files: Sequence[bytes]) -> Callable[[bytes, bytes | None], object]:
    """Return what reads a payload, given these serialized file descriptors: each after what it imports, its own last.

    The path of the message in its file stands before the payload, or in the header if there is one. Raise Reject when
    the files do not fit together.
    """
    pool = descriptor_pool.DescriptorPool()
    try:
        for serialized in files:
            pool.AddSerializedFile(serialized)
        name = descriptor_pb2.FileDescriptorProto.FromString(files[-1]).name
        file = pool.FindFileByName(name)
    except (TypeError, KeyError, IndexError, DecodeError) as error:
        raise Reject("its definition does not fit together") from error
    known: dict[tuple[int, ...], tuple[Any, _Convert]] = {}
    converters = _Converters()

    def decode(payload: bytes, header: bytes | None) -> object:
        path, end = _path(payload if header is None else header)
        if header is None:
            payload = payload[end:]
        elif end != len(header):
            raise Reject("bytes follow the message's path in the header")
        if path not in known:
            descriptor = _find(file, path)
            known[path] = (message_factory.GetMessageClass(descriptor), converters.of(descriptor))
        message_class, convert = known[path]
        try:
            message = message_class.FromString(payload)
        except DecodeError as error:
            raise Reject("it is no such message") from error
        return convert(message)

    return decode


def _path(data: bytes) -> tuple[tuple[int, ...], int]:
    """Read the path of a message in its file: its length and its steps as zigzag numbers; a single 0 is the first."""
    try:
        length, position = _zigzag(data, 0)
        if length == 0:
            return (0,), position
        if not 0 < length <= _MAX_PATH:
            raise Reject("its message's path is too long")
        path = []
        for _ in range(length):
            step, position = _zigzag(data, position)
            path.append(step)
    except IndexError as error:
        raise Reject("it ends in the middle of its message's path") from error
    return tuple(path), position


def _zigzag(data: bytes, position: int) -> tuple[int, int]:
    raw = shift = 0
    while True:
        byte = data[position]
        position += 1
        raw |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return (raw >> 1) ^ -(raw & 1), position
        if shift > 28:
            raise Reject("its message's path holds no small numbers")


def _find(file: FileDescriptor, path: tuple[int, ...]) -> Descriptor:
    messages: Sequence[Descriptor] = list(file.message_types_by_name.values())
    descriptor = None
    for step in path:
        if not 0 <= step < len(messages):
            raise Reject("it is of a message that the schema does not have")
        descriptor = messages[step]
        messages = descriptor.nested_types
    return descriptor


class _Converters:
    """What turns each message type of one schema into a JSON-like value, made once."""

    def __init__(self) -> None:
        self._made: dict[str, _Convert] = {}

    def of(self, descriptor: Descriptor) -> _Convert:
        name = descriptor.full_name
        if name in _WELL_KNOWN:
            return _WELL_KNOWN[name]
        if name not in self._made:
            fields: list[tuple[str, bool, _Convert]] = []

            def convert(message: Any) -> dict[str, Any]:
                return {
                    field: make(getattr(message, field))
                    for field, optional, make in fields
                    if not optional or message.HasField(field)
                }

            self._made[name] = convert  # before its fields: a message may hold itself
            fields += [(it.name, it.has_presence, self._field(it)) for it in descriptor.fields]
        return self._made[name]

    def _field(self, field: FieldDescriptor) -> _Convert:
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            make = self._single(message.fields_by_name["value"])
            return lambda entries: {_key(key): make(entries[key]) for key in sorted(entries)}
        make = self._single(field)
        return (lambda items: [make(item) for item in items]) if field.is_repeated else make

    def _single(self, field: FieldDescriptor) -> _Convert:
        if field.message_type is not None:
            return self.of(field.message_type)
        if field.enum_type is not None:
            return _enum(field.enum_type)
        if field.cpp_type in _FLOATS:
            return values.number
        return values.binary if field.type == FieldDescriptor.TYPE_BYTES else _same


def _same(value: Any) -> Any:
    return value


def _key(key: Any) -> str:
    return ("true" if key else "false") if isinstance(key, bool) else str(key)


def _enum(enum: EnumDescriptor) -> _Convert:
    names = {number: value.name for number, value in enum.values_by_number.items()}
    return lambda number: names.get(number, number)


def _value(message: Any) -> Any:
    kind = message.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    inner = getattr(message, kind)
    if kind == "struct_value":
        return _struct(inner)
    if kind == "list_value":
        return _list(inner)
    return values.number(inner) if kind == "number_value" else inner


def _struct(message: Any) -> dict[str, Any]:
    return {key: _value(message.fields[key]) for key in sorted(message.fields)}


def _list(message: Any) -> list[Any]:
    return [_value(item) for item in message.values]


def _plain(message: Any) -> Any:
    return message.value


_WELL_KNOWN: dict[str, _Convert] = {
    "google.protobuf.Timestamp": lambda it: values.instant(it.seconds * 1_000_000_000 + it.nanos) + "Z",
    "google.protobuf.Duration": lambda it: values.duration(it.seconds, it.nanos),
    "google.protobuf.FieldMask": lambda it: ",".join(it.paths),
    "google.protobuf.Any": lambda it: {"@type": it.type_url, "value": values.binary(it.value)},
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _value,
    "google.protobuf.ListValue": _list,
    "google.protobuf.BytesValue": lambda it: values.binary(it.value),
    "google.protobuf.DoubleValue": lambda it: values.number(it.value),
    "google.protobuf.FloatValue": lambda it: values.number(it.value),
    **{f"google.protobuf.{it}Value": _plain for it in ("Bool", "Int32", "Int64", "UInt32", "UInt64", "String")},
    "confluent.type.Decimal": lambda it: values.decimal(it.value, it.scale),
}
