"""The probes' server: what it answers, and what it does not let clients do to it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection

import pytest

from headwater.errors import Unreachable
from headwater.observability import probes
from headwater.observability.health import Answer
from headwater.observability.probes import MOST_BYTES, MOST_CLIENTS, Probes, listen


def ask(path: str) -> Answer | None:
    if path == "/metrics":
        return Answer(HTTPStatus.OK, 'one 1\ntwo{a="ü"} 2\n')
    return Answer(HTTPStatus.OK, {"thread": threading.current_thread().name}) if path == "/livez" else None


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    with Probes(listen("127.0.0.1", 0), ask) as server:
        host, _, port = server.address.rpartition(":")
        yield host, int(port)


def told(address: tuple[str, int], request: bytes) -> bytes:
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_it_answers_on_a_thread_of_its_own(address: tuple[str, int]) -> None:
    for method, target in (("GET", "/livez"), ("GET", "/livez?verbose"), ("HEAD", "/livez")):
        with closing(HTTPConnection(*address, timeout=10)) as connection:
            connection.request(method, target)
            response = connection.getresponse()
            content = response.read()
        assert response.status == 200
        assert response.getheader("Content-Type") == "application/json"
        assert int(response.getheader("Content-Length") or 0) > 0
        assert content == b"" if method == "HEAD" else json.loads(content) == {"thread": "probes"}


def test_text_is_answered_as_prometheus_reads_it(address: tuple[str, int]) -> None:
    with closing(HTTPConnection(*address, timeout=10)) as connection:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
        assert response.read().decode() == 'one 1\ntwo{a="ü"} 2\n'


@pytest.mark.parametrize(
    ("request_line", "code"),
    [
        (b"GET /nowhere HTTP/1.1", 404),
        (b"POST /livez HTTP/1.1", 405),
        (b"DELETE /livez HTTP/1.0", 405),
        (b"GET /livez", 400),
        (b"", 400),
        (b"\xff\xfe\x00 /livez HTTP/1.1", 405),
        (b"GET /livez HTTP/2", 400),
        (b"GET  /livez HTTP/1.1", 400),
    ],
)
def test_other_requests_are_refused(address: tuple[str, int], request_line: bytes, code: int) -> None:
    response = told(address, request_line + b"\r\nHost: here\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 %d " % code)
    assert (b"Allow: GET, HEAD\r\n" in response) is (code == 405)


def test_a_request_that_never_ends_is_cut_off(address: tuple[str, int]) -> None:
    try:
        response = told(address, b"GET /livez HTTP/1.1\r\nX: " + b"x" * (4 * MOST_BYTES))
    except ConnectionResetError:
        response = b""
    assert response == b""
    assert told(address, b"GET /livez HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_slow_clients_are_cut_off_and_then_there_is_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "WITHIN_S", 0.5)
    with Probes(listen("127.0.0.1", 0), ask) as server:
        host, _, port = server.address.rpartition(":")
        address = (host, int(port))
        slow = [socket.create_connection(address, timeout=10) for _ in range(MOST_CLIENTS)]
        for client in slow:
            client.sendall(b"GET /livez HTTP/1.1\r\n")
        for client in slow:
            assert client.recv(1) == b"", "cut off, without an answer"
            client.close()
        assert told(address, b"GET /livez HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_too_many_clients_are_turned_away(address: tuple[str, int]) -> None:
    held = [socket.create_connection(address, timeout=10) for _ in range(MOST_CLIENTS)]
    with closing(socket.create_connection(address, timeout=10)) as one_more:
        assert one_more.recv(1) == b""
    for client in held:
        client.close()


def test_it_ends_while_clients_are_connected() -> None:
    with Probes(listen("127.0.0.1", 0), ask) as server:
        host, _, port = server.address.rpartition(":")
        client = socket.create_connection((host, int(port)), timeout=10)
        client.sendall(b"GET /livez HTTP/1.1\r\n")
        assert told((host, int(port)), b"GET /livez HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert client.recv(1) == b""
    client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=10)


def test_an_address_in_use_is_said() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(Unreachable, match=r"the address is in use\. .*another port"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_what_keeps_the_server_from_starting_is_raised_where_it_is_opened() -> None:
    listening = listen("127.0.0.1", 0)
    listening.close()
    with pytest.raises((OSError, ValueError)):
        Probes(listening, ask).__enter__()


def test_it_answers_while_the_asking_loop_is_stuck(address: tuple[str, int]) -> None:
    async def stuck() -> bytes:
        return told(address, b"GET /livez HTTP/1.1\r\n\r\n")  # blocks this loop until the answer is there

    assert asyncio.run(stuck()).startswith(b"HTTP/1.1 200 ")
