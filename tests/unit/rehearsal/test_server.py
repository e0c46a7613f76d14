"""The shell, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from headwater.clock import SystemClock
from headwater.rehearsal import server
from headwater.rehearsal.counting import Characters
from headwater.rehearsal.plan import Plan
from headwater.rehearsal.server import Application, Message
from headwater.rehearsal.service import Service


def posted(*parts: bytes) -> int:
    """Return the status of a request whose body comes in parts."""
    application = Application(Service(Plan(), Characters(4.0)), SystemClock(), None)
    last = len(parts) - 1
    waiting = [{"type": "http.request", "body": part, "more_body": at < last} for at, part in enumerate(parts)]
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"method": "POST", "path": "/v1/files", "query_string": b"", "headers": []}
    asyncio.run(application(scope, receive, send))
    status: int = sent[0]["status"]
    return status


@pytest.mark.parametrize(
    ("parts", "status"), [((b"12345", b"67890"), 400), ((b"12345", b"678901"), 413), ((b"12345", b"678901", b""), 413)]
)
def test_a_body_beyond_all_bounds_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, parts: Sequence[bytes], status: int
) -> None:
    monkeypatch.setattr(server, "MOST_KEPT", 10)
    assert posted(*parts) == status
