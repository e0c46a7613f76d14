"""The faulty provider as an HTTP server: the thin shell around what `service` decides. On loopback only."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from types import FrameType
from typing import Any

import msgspec
import uvicorn

from headwater.clock import Clock
from headwater.errors import Unreachable
from headwater.rehearsal import errands, openai, tei
from headwater.rehearsal.batches import MOST_KEPT, Batches, Job, Line
from headwater.rehearsal.plan import Fault, Plan, read_behaviour
from headwater.rehearsal.record import Recorder
from headwater.rehearsal.replies import Reply
from headwater.rehearsal.service import Ask, Refusal, Service, Verdict
from headwater.rehearsal.vectors import Model, Vectors

HOST = "127.0.0.1"
#: How often jobs are looked at, in seconds, while none of their lines is due.
_LOOK_S = 0.01

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_Answer = Callable[[Plan, Ask, Verdict, Vectors], Reply]
_Refuse = Callable[[Plan, Verdict, Refusal, int], Reply]


class Application:
    """Answers requests as a service decides, at the time that it decides. An ASGI application."""

    def __init__(self, service: Service, clock: Clock, recorder: Recorder | None) -> None:
        self._service = service
        self._plan = service.plan
        self._model = Model(service.plan)
        self._clock = clock
        self._recorder = recorder
        self._started = clock.monotonic()
        self._batches = Batches(service, clock.now_us())
        self._working: asyncio.Task[None] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = await _body(receive)
        method, path, headers = scope["method"], scope["path"], _headers(scope)
        reply: Reply | None
        if body is None:
            reply = errands.TOO_LARGE
        elif method == "POST" and path.endswith("/embeddings"):
            ask = openai.read(body, headers)
            reply = await self._embed(ask, openai.answer, openai.refuse)
        elif method == "POST" and path == "/embed":
            ask = tei.read(self._plan, body, headers)
            reply = await self._embed(ask, tei.answer, tei.refuse)
        elif errand := errands.read(method, path, scope["query_string"], headers, body):
            reply = self._run(errand)
        else:
            reply = self._rest(method, path, body)
        if reply is None:
            await _until_gone(receive)
        else:
            await _send(send, reply)

    async def _embed(self, ask: Ask | None, answer: _Answer, refuse: _Refuse) -> Reply | None:
        """Do what is decided, and record it. None is a request that is never answered."""
        verdict = self._service.decide(self._now_us(), ask)
        reply: Reply | None
        if verdict.refusal is not None:
            reply = refuse(self._plan, verdict, verdict.refusal, self._clock.now_us())
        else:
            assert ask is not None  # what cannot be read is refused
            vectors = await self._model.embed(verdict.texts, verdict.drift)
            reply = answer(self._plan, ask, verdict, vectors)
            if Fault.CUT in verdict.faults:
                reply = reply._replace(cut=True)
            if Fault.TIMEOUT in verdict.faults:
                reply = None
        await self._clock.sleep(max(0, verdict.end_us - self._now_us()) / 1e6)
        if self._recorder is not None:
            self._recorder.write(ask, verdict, reply.status if reply else None)
        return reply

    def _run(self, errand: errands.Errand) -> Reply | None:
        """Do what a request about jobs and files asks for, and record it. None is one that is never answered."""
        verdict = self._service.decide_errand(self._now_us(), errand.key)
        reply: Reply | None
        if verdict.refusal is not None:
            reply = openai.refuse(self._plan, verdict, verdict.refusal, self._clock.now_us())
        else:
            reply = errands.run(self._batches, errand, verdict.arrived_us)
            if Fault.CUT in verdict.faults:
                reply = reply._replace(cut=True)
            if Fault.TIMEOUT in verdict.faults:
                reply = None
        if self._recorder is not None:
            self._recorder.write(None, verdict, reply.status if reply else None, about=errand.about)
        if self._batches.working() and (self._working is None or self._working.done()):
            self._working = asyncio.create_task(self._work())
        return reply

    async def _work(self) -> None:
        """Work on the jobs until none is left."""
        while self._batches.working():
            due = self._batches.step(self._now_us())
            if due is not None:
                await self._work_on(*due)
            await self._clock.sleep(0 if due else _LOOK_S)

    async def _work_on(self, job: Job, line: Line) -> None:
        """Do a line of a job as is decided, and record it."""
        verdict = self._service.decide_line(self._now_us(), job.order.owner, line.ask)
        reply: Reply | None
        if verdict.refusal is not None:
            reply = openai.refuse(self._plan, verdict, verdict.refusal, self._clock.now_us())
        else:
            assert line.ask is not None  # what cannot be read is refused
            reply = openai.answer(self._plan, line.ask, verdict, await self._model.embed(verdict.texts, verdict.drift))
            if Fault.TIMEOUT in verdict.faults:
                reply = None
        if self._recorder is not None:
            self._recorder.write(line.ask, verdict, reply.status if reply else None, batch=job.id)
        self._batches.done(job, line, verdict, reply)

    def _rest(self, method: str, path: str, body: bytes) -> Reply:
        """Answer what is no request for vectors."""
        if (method, path) == ("GET", "/info"):
            return tei.info(self._plan)
        if (method, path) == ("GET", "/health"):
            return Reply(200, {}, b"")
        if (method, path) == ("PUT", "/behaviour"):
            return self._behave(body)
        return Reply(404, {"content-type": "application/json"}, b'{"error":{"message":"Not Found"}}')

    def _behave(self, body: bytes) -> Reply:
        try:
            behaviour = read_behaviour(msgspec.json.decode(body), self._plan.behaviour)
        except ValueError as error:
            return Reply(400, {"content-type": "text/plain; charset=utf-8"}, f"{error}\n".encode())
        self._service.behave(behaviour)
        return Reply(204, {}, b"")

    def _now_us(self) -> int:
        return int((self._clock.monotonic() - self._started) * 1e6)


async def _body(receive: Receive) -> bytes | None:
    """Return the body of a request; None where it is larger than all that may be kept."""
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size <= MOST_KEPT:
            parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts) if size <= MOST_KEPT else None


def _headers(scope: Message) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def _until_gone(receive: Receive) -> None:
    """Wait until the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, reply: Reply) -> None:
    headers = {**reply.headers, "content-length": str(len(reply.body))}
    written = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": written})
    if reply.cut:  # to return before the body is whole breaks the connection off
        await send({"type": "http.response.body", "body": reply.body[: len(reply.body) // 2], "more_body": True})
    else:
        await send({"type": "http.response.body", "body": reply.body})


class _Server(uvicorn.Server):
    """Says when it listens for signals too, and ends by itself on one instead of passing it on to the process."""

    ended_by: int | None = None

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (uvicorn's signature)
        self.ended_by = sig
        self.should_exit = True


async def serve(
    application: Application, listening: socket.socket, started: Callable[[], None], ended: asyncio.Event
) -> int | None:
    """Serve until a signal comes or `ended` is set; return the signal. Requests in work are broken off."""
    config = uvicorn.Config(
        application,
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config, started)
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    ending = asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        ending.cancel()
    return server.ended_by


def listen(port: int) -> socket.socket:
    """Return a socket that listens on loopback; port 0 takes a free one. Raise Unreachable where it cannot."""
    # Named, so that asyncio turns off Nagle's algorithm: with delayed acknowledgements an answer would take 45 ms more.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise Unreachable(f"{HOST}:{port}", error.strerror or str(error), code="address-taken") from error
    return listening
