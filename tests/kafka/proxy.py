"""A TCP proxy that does harm on purpose: slow, thin, stalled in one direction, cut, refused.

    proxy = FaultProxy(target)                    # listens on proxy.port, forwards to the port `target`, on loopback
    proxy.stall(TO_CLIENT)                        # the broker hears and acts, its answers are stuck
    proxy.heal()

Within a connection nothing is lost, doubled or reordered: TCP does none of these. A stall holds what was sent, as lost
packets do until one gets through, and what was held goes on after `heal()`. It has a thread with its own event loop, so
it works while the test's thread is blocked; every method may be called from any thread and holds once it returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Self, TypeVar

from tests.kafka.process import free_ports
from tests.kafka.properties import HOST

TO_BROKER, TO_CLIENT = "to broker", "to client"
BOTH = (TO_BROKER, TO_CLIENT)
CHUNK_BYTES = 65_536
#: How much one direction of one connection holds back at most; then the sender feels it, as with a full TCP window.
HELD_CHUNKS = 64
#: A limited rate is kept over such spans.
PIECE_S = 0.02
_RESET = struct.pack("ii", 1, 0)

T = TypeVar("T")


class Direction:
    """What is wrong with one direction, for all connections."""

    def __init__(self) -> None:
        self.latency_s = 0.0
        self.bytes_per_s: float | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.cut_after: int | None = None
        self.forwarded = 0

    def heal(self) -> None:
        self.latency_s, self.bytes_per_s, self.cut_after = 0.0, None, None
        self.open.set()


class FaultProxy:
    """Between clients and one broker. Without faults it only forwards."""

    def __init__(self, target: int, port: int | None = None) -> None:
        self.target = target
        self.port = port or free_ports(1)[0]
        self._loop = asyncio.new_event_loop()
        self._ways = {way: Direction() for way in BOTH}
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)
        self._thread.start()
        self.accept()

    # ── faults ──

    def latency(self, seconds: float, *ways: str) -> None:
        """Delay each byte so long, in the directions given; in both unless named. Throughput stays."""

        def fault() -> None:
            for way in ways or BOTH:
                self._ways[way].latency_s = seconds

        self._do(fault)

    def rate(self, bytes_per_s: float, *ways: str) -> None:
        """Let so many bytes a second through, on each connection."""

        def fault() -> None:
            for way in ways or BOTH:
                self._ways[way].bytes_per_s = bytes_per_s

        self._do(fault)

    def stall(self, *ways: str) -> None:
        """A black hole: connections stay, and nothing comes through in the directions given until `heal()`."""

        def fault() -> None:
            for way in ways or BOTH:
                self._ways[way].open.clear()

        self._do(fault)

    def cut(self) -> int:
        """Reset every connection now; new ones are taken. Return how many there were."""
        return self._do(self._cut)

    def cut_after(self, number: int, way: str) -> None:
        """Let `number` more bytes through in that direction, then reset the connection that carried the last one."""

        def fault() -> None:
            self._ways[way].cut_after = self._ways[way].forwarded + number

        self._do(fault)

    def refuse(self) -> None:
        """Reset every connection, and refuse new ones until `accept()` or `heal()`."""
        self._await(self._refuse())

    def accept(self) -> None:
        self._await(self._accept())

    def heal(self) -> None:
        """Take back every fault. Connections that live go on where they stood."""

        def healed() -> None:
            for way in self._ways.values():
                way.heal()

        self._do(healed)
        self.accept()

    # ── what a test may ask ──

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def connections(self) -> int:
        return self._do(lambda: len(self._connections))

    def forwarded(self, way: str) -> int:
        """Bytes that went through in that direction so far."""
        return self._do(lambda: self._ways[way].forwarded)

    def close(self) -> None:
        """Reset what is left and end the thread."""
        if not self._loop.is_closed():
            self._await(self._refuse())
            self._await(self._settled())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── in the proxy's own thread ──

    def _do(self, act: Callable[[], T]) -> T:
        async def acting() -> T:
            return act()

        return asyncio.run_coroutine_threadsafe(acting(), self._loop).result(10)

    def _await(self, coroutine: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _accept(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, HOST, self.port, limit=CHUNK_BYTES)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._cut()

    def _cut(self) -> int:
        several = list(self._connections)
        for connection in several:
            connection.cut()
        self._connections.clear()
        return len(several)

    async def _settled(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onwards, back = await asyncio.open_connection(HOST, self.target, limit=CHUNK_BYTES)
        except OSError:
            # The broker is down: what the client would have met without a proxy.
            reset(writer)
            return
        task = asyncio.current_task()
        assert task is not None
        connection = Connection(task, writer, back)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, back, self._ways[TO_BROKER]))
                both.create_task(self._pump(onwards, writer, self._ways[TO_CLIENT]))
        except* CutError as cut:
            first = cut.exceptions[0]
            assert isinstance(first, CutError)
            connection.reset(spare=first.towards)
        except* (OSError, asyncio.CancelledError):
            connection.reset()
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Direction) -> None:
        """Forward one direction of one connection until its end, and then pass the end on."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD_CHUNKS)
        reading = asyncio.ensure_future(self._read(reader, held, way))
        try:
            while True:
                due, chunk = await held.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                await way.open.wait()
                if not chunk:
                    break
                await self._write(writer, chunk, way)
        finally:
            reading.cancel()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _read(
        self, reader: asyncio.StreamReader, held: asyncio.Queue[tuple[float, bytes]], way: Direction
    ) -> None:
        chunk = b"-"
        while chunk:
            try:
                chunk = await reader.read(CHUNK_BYTES)
            except OSError:
                # Reset by one side: the other is told by the end of the pump.
                chunk = b""
            await held.put((self._loop.time() + way.latency_s, chunk))

    async def _write(self, writer: asyncio.StreamWriter, chunk: bytes, way: Direction) -> None:
        cut = None if way.cut_after is None else way.cut_after - way.forwarded
        if cut is not None and cut <= len(chunk):
            writer.write(chunk[: max(0, cut)])
            way.forwarded += max(0, cut)
            way.cut_after = None
            await writer.drain()
            raise CutError(writer)
        while chunk:
            piece = chunk if way.bytes_per_s is None else chunk[: max(1, int(way.bytes_per_s * PIECE_S))]
            chunk = chunk[len(piece) :]
            writer.write(piece)
            way.forwarded += len(piece)
            await writer.drain()
            if way.bytes_per_s is not None:
                await asyncio.sleep(len(piece) / way.bytes_per_s)


class CutError(Exception):
    """So many bytes went through, and the sender is reset. The receiver meets an orderly end after them: a reset would
    overtake them, and throw away what it has not read yet.
    """

    def __init__(self, towards: asyncio.StreamWriter) -> None:
        super().__init__("cut")
        self.towards = towards


class Connection:
    """The two sockets of one client's connection."""

    def __init__(self, task: asyncio.Task[None], *writers: asyncio.StreamWriter) -> None:
        self._task = task
        self._writers = writers

    def reset(self, spare: asyncio.StreamWriter | None = None) -> None:
        """Reset both sockets, or one of them and end the spared one in order."""
        for writer in self._writers:
            if writer is not spare:
                reset(writer)

    def cut(self) -> None:
        """Reset it, and forward nothing that is held."""
        self.reset()
        self._task.cancel()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the peer sees a reset, not an orderly end."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
