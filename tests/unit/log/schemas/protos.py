"""Message classes for tests, from the text of a `.proto` file."""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from headwater.log.protobuf_compiler import compile_files

ARTICLE = """
syntax = "proto3";
package news;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/any.proto";
import "google/protobuf/field_mask.proto";
import "google/type/money.proto";
message Unused { string nothing = 1; }
message Article {
  message Part { string text = 1; repeated Part parts = 2; }
  enum Kind { NEWS = 0; BLOG = 1; }
  string id = 1;
  optional string subtitle = 2;
  Kind kind = 3;
  repeated string tags = 4;
  map<int32, Part> by_page = 5;
  google.protobuf.Timestamp at = 6;
  google.protobuf.Duration took = 7;
  google.protobuf.Struct more = 8;
  google.protobuf.Int64Value views = 9;
  google.protobuf.Any packed = 10;
  google.protobuf.FieldMask mask = 11;
  google.type.Money price = 12;
  bytes raw = 13;
  double score = 14;
  int64 big = 15;
  bool live = 16;
  oneof where { string city = 17; uint32 plz = 18; }
  Part body = 19;
  map<bool, bytes> flags = 20;
}
"""


def files(text: str, **imports: str) -> list[bytes]:
    return asyncio.run(compile_files(text, {f"{name}.proto": it for name, it in imports.items()}))


def messages(compiled: list[bytes]) -> dict[str, Any]:
    """The classes of all messages in a compiled file, by their full name."""
    pool = descriptor_pool.DescriptorPool()
    for it in compiled:
        pool.AddSerializedFile(it)
    name = descriptor_pb2.FileDescriptorProto.FromString(compiled[-1]).name
    return {it: message_factory.GetMessageClass(pool.FindMessageTypeByName(it)) for it in _names(pool, name)}


def _names(pool: Any, file: str) -> list[str]:
    waiting = list(pool.FindFileByName(file).message_types_by_name.values())
    found = []
    for it in waiting:
        found.append(it.full_name)
        waiting += it.nested_types
    return found
