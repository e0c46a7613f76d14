"""The probes' HTTP server: on a thread and an event loop of its own, so that a worker's loop that is stuck is seen.

It answers GET and HEAD, one request a connection. Nobody can hold it up: connections are few, short and small.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus

import msgspec

from headwater.errors import Unreachable
from headwater.observability.health import Answer

MOST_CLIENTS = 16
MOST_BYTES = 8 * 1024
#: From the connection to the last byte of the answer.
WITHIN_S = 5.0

#: What a path is answered with; None: there is no such path. Called on the server's thread.
Ask = Callable[[str], Answer | None]


def listen(host: str, port: int) -> socket.socket:
    """Take an address; port 0 takes any free one. Raise Unreachable when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=MOST_CLIENTS)
    except OSError as error:
        used = error.errno == errno.EADDRINUSE
        cause = "the address is in use" if used else os.strerror(error.errno or errno.EADDRNOTAVAIL)
        raise Unreachable(
            f"probes at {address_of(host, port)}", cause, "Give --probes another port", code="address-taken"
        ) from error


def address_of(host: str, port: int) -> str:
    """Write an address as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reply(head: bytes, ask: Ask) -> bytes:
    """Return the whole response to a request, of which `head` is all up to its empty line."""
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return _response(Answer(HTTPStatus.BAD_REQUEST, {}))
    method, target, _ = words
    if method not in ("GET", "HEAD"):
        return _response(Answer(HTTPStatus.METHOD_NOT_ALLOWED, {}))
    found = ask(target.partition("?")[0]) or Answer(HTTPStatus.NOT_FOUND, {"paths": ["/livez", "/readyz", "/metrics"]})
    return _response(found, body=method == "GET")


def _response(answer: Answer, *, body: bool = True) -> bytes:
    if isinstance(answer.body, str):
        content, media = answer.body.encode(), "text/plain; version=0.0.4; charset=utf-8"  # Prometheus's own
    else:
        content, media = msgspec.json.encode(answer.body) + b"\n", "application/json"
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {media}",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (content if body else b"")


class Probes:
    """Answers probes while its context is open."""

    def __init__(self, listening: socket.socket, ask: Ask) -> None:
        self._listening = listening
        self._ask = ask
        self._clients = 0
        self._up: Future[Callable[[], object]] = Future()
        self._thread = threading.Thread(target=self._serve, name="probes", daemon=True)

    @property
    def address(self) -> str:
        """Where it listens, with the port that was chosen."""
        host, port, *_ = self._listening.getsockname()
        return address_of(host, port)

    def __enter__(self) -> Probes:
        self._thread.start()
        self._end = self._up.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._thread.join()

    def _serve(self) -> None:
        try:
            asyncio.run(self._until_ended())
        except BaseException as error:
            if self._up.done():
                raise
            self._up.set_exception(error)  # whoever opens the context hears of it, instead of waiting for ever

    async def _until_ended(self) -> None:
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._client, sock=self._listening, limit=MOST_BYTES)
        self._up.set_result(partial(loop.call_soon_threadsafe, end.set))
        await end.wait()
        server.close()  # who is still connected is cut off when this loop ends

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients <= MOST_CLIENTS:
                async with asyncio.timeout(WITHIN_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(reply(head, self._ask))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # it went away, was too slow or said too much
        finally:
            self._clients -= 1
            writer.close()
