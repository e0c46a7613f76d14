"""Compiling `.proto` files: text and descriptors, what comes with Protobuf, and names that would leave the folder."""

from __future__ import annotations

import asyncio
import base64
import tempfile

import pytest
from google.protobuf import descriptor_pb2

from headwater.errors import Reject, Retry
from headwater.log import protobuf_compiler
from headwater.log.codecs import protobuf
from tests.unit.log.schemas.protos import files, messages

OTHER = 'syntax = "proto3"; package o; message Author { string name = 1; }'
MAIN = 'syntax = "proto3"; package m; import "other.proto"; message Doc { o.Author by = 1; }'


def encoded(text: str, name: str, **imports: str) -> str:
    """As some clients register a schema: its file descriptor in base64."""
    descriptor = descriptor_pb2.FileDescriptorProto.FromString(files(text, **imports)[-1])
    descriptor.name = name
    return base64.b64encode(descriptor.SerializeToString()).decode()


@pytest.mark.parametrize("main", [MAIN, encoded(MAIN, "anything.proto", other=OTHER)])
@pytest.mark.parametrize("other", [OTHER, encoded(OTHER, "somewhere/else.proto")])
def test_text_and_descriptors_go_together(main: str, other: str) -> None:
    compiled = files(main, other=other)
    assert list(messages(compiled)) == ["m.Doc"]
    assert protobuf.decoder(compiled)(b"\x0a\x02\x0a\x00"[:0], b"\x00") == {}


def test_what_confluent_brings_along() -> None:
    text = """
        syntax = "proto3";
        import "confluent/meta.proto";
        import "confluent/type/decimal.proto";
        message Doc {
          string id = 1 [(confluent.field_meta).tags = "PII"];
          confluent.type.Decimal price = 2;
        }
        """
    compiled = files(text)
    message = messages(compiled)["Doc"](id="a")
    message.price.value, message.price.scale = (-1234).to_bytes(2, "big", signed=True), 2
    value = protobuf.decoder(compiled)(message.SerializeToString(), b"\x00")
    assert value == {"id": "a", "price": "-12.34"}


@pytest.mark.parametrize("name", ["/etc/x.proto", "../x.proto", "a/../../x.proto", "..", "a\0b"])
def test_a_name_that_is_no_path_below_is_refused(name: str) -> None:
    with pytest.raises(Reject):
        asyncio.run(protobuf_compiler.compile_files(MAIN, {name: OTHER}))


@pytest.mark.parametrize("text", ["nonsense", 'import "missing.proto";', "message {"])
def test_what_does_not_compile_is_refused(text: str) -> None:
    with pytest.raises(Reject):
        files(text)


def test_a_compiler_that_takes_too_long_is_the_machine_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protobuf_compiler, "TIMEOUT_S", 0.0)
    with pytest.raises(Retry, match="took longer"):
        files(MAIN, other=OTHER)


def test_a_full_disk_is_the_machine_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    with pytest.raises(Retry, match="No space left"):
        files(MAIN, other=OTHER)
