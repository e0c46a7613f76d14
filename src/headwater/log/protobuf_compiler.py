"""Compiles the text of `.proto` files with protoc, in a process and a folder of its own.

Registries hold Protobuf schemas as text, or, from some clients, as a file descriptor in base64. Both go through protoc,
so that what comes out is complete and fits together.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import importlib.util
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from headwater.errors import Reject, Retry

TIMEOUT_S = 30.0

_MAIN = "headwater-schema.proto"
_COMPILER = "schema compiler"

#: What Confluent's schemas may import without saying so to the registry.
_BUILT_IN = {
    "confluent/meta.proto": """
        syntax = "proto3";
        package confluent;
        import "google/protobuf/descriptor.proto";
        message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }
        extend google.protobuf.FileOptions { Meta file_meta = 1088; }
        extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
        extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
        extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
        extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }
        """,
    "confluent/type/decimal.proto": """
        syntax = "proto3";
        package confluent.type;
        message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }
        """,
}


async def compile_files(main: str, imports: Mapping[str, str]) -> list[bytes]:
    """Return the serialized file descriptors of `main` and of all that it needs, itself last.

    `imports` are by the name under which they are imported. Raise Reject when they do not compile, Retry when the
    machine could not do it.
    """
    sources = {**_BUILT_IN, **imports, _MAIN: main}
    try:
        with tempfile.TemporaryDirectory(prefix="headwater-") as folder:
            await asyncio.to_thread(_write, Path(folder), sources)
            await _protoc(Path(folder))
            serialized = await asyncio.to_thread((Path(folder) / "out").read_bytes)
    except OSError as error:
        raise Retry(_COMPILER, error.strerror or "the machine is short of something") from error
    files = descriptor_pb2.FileDescriptorSet.FromString(serialized).file
    return [file.SerializeToString() for file in files]


def _write(folder: Path, sources: Mapping[str, str]) -> None:
    compiled = descriptor_pb2.FileDescriptorSet()
    (folder / "in").mkdir()
    for name, text in sources.items():
        if descriptor := _descriptor(text):
            descriptor.name = name
            compiled.file.append(descriptor)
            continue
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.name or "\0" in name:
            raise Reject("it imports something that is no path")
        place = folder / "in" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    (folder / "compiled").write_bytes(compiled.SerializeToString())


def _descriptor(text: str) -> descriptor_pb2.FileDescriptorProto | None:
    """Read a file descriptor in base64, or None: then it is a `.proto` file's text, which holds what base64 cannot."""
    try:
        return descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, DecodeError):
        return None


async def _protoc(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # what lies in the current folder is none of it
        "-m",
        "grpc_tools.protoc",
        f"--proto_path={folder / 'in'}",
        *(f"--proto_path={path}" for path in _shipped()),
        f"--descriptor_set_in={folder / 'compiled'}",
        "--include_imports",
        f"--descriptor_set_out={folder / 'out'}",
        _MAIN,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, said = await process.communicate()
    except TimeoutError as error:
        raise Retry(_COMPILER, f"protoc took longer than {TIMEOUT_S:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == -signal.SIGKILL:
        raise Retry(_COMPILER, "protoc was killed")
    if process.returncode:
        lines = said.decode(errors="replace").replace(f"{_MAIN}:", "").splitlines()
        complaint = next((it for it in lines if it and "warning" not in it.lower()), "no reason given")
        raise Reject(f"it does not compile: {complaint[:200]}")


def _shipped() -> list[Path]:
    """Return where the files lie that Google ships: its well-known types, and `google/type`."""
    return [
        *(Path(place) / "_proto" for place in _places("grpc_tools")),
        *(Path(place).parents[1] for place in _places("google.type")),
    ]


def _places(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)
    return list(spec.submodule_search_locations or ()) if spec else []
