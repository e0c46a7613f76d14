"""A broker that is too old, as far as a client sees: it knows few requests, each in its first versions."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

API_VERSIONS, METADATA = 18, 3
#: What Kafka 0.10 knew of what is used: produce, fetch, list offsets, metadata.
KNOWN = ((0, 0, 2), (1, 0, 2), (2, 0, 0), (METADATA, 0, 1), (API_VERSIONS, 0, 0))
UNSUPPORTED_VERSION, UNKNOWN_TOPIC = 35, 3


def _text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def _asked(request: bytes) -> list[str]:
    """Return the topics that a request for metadata names: behind its header, which ends with the client's name."""
    (size,) = struct.unpack_from(">h", request, 8)
    at = 10 + max(size, 0)
    (number,) = struct.unpack_from(">i", request, at)
    at += 4
    names = []
    for _ in range(max(number, 0)):
        (size,) = struct.unpack_from(">h", request, at)
        names.append(request[at + 2 : at + 2 + size].decode())
        at += 2 + size
    return names


def _answer(request: bytes, port: int) -> bytes:
    key, version = struct.unpack_from(">hh", request)
    if key == API_VERSIONS:
        versions = b"".join(struct.pack(">hhh", *it) for it in KNOWN)
        # A client that asks in a newer version is told so in the oldest one, and what there is.
        return struct.pack(">hi", UNSUPPORTED_VERSION if version else 0, len(KNOWN)) + versions
    brokers = struct.pack(">ii", 1, 1) + _text("127.0.0.1") + struct.pack(">ih", port, -1)
    topics = [struct.pack(">h", UNKNOWN_TOPIC) + _text(name) + struct.pack(">?i", False, 0) for name in _asked(request)]
    return brokers + struct.pack(">ii", 1, len(topics)) + b"".join(topics)  # this broker is the controller


@contextmanager
def old_broker(*, answers: bool) -> Iterator[str]:
    """Return the address of one. Without `answers` it hangs up on the first request, as older ones still did."""
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                request = await reader.readexactly(size)
                key, _, correlation = struct.unpack_from(">hhi", request)
                if not answers or key not in (API_VERSIONS, METADATA):
                    break
                body = struct.pack(">i", correlation) + _answer(request, writer.get_extra_info("sockname")[1])
                writer.write(struct.pack(">i", len(body)) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        for task in asyncio.all_tasks(loop):
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
