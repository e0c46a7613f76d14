"""The fault proxy does what it says, between a plain client and a plain server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.kafka.process import free_ports, soon
from tests.kafka.proxy import TO_BROKER, TO_CLIENT, FaultProxy

SHORT_S = 0.3


class Echo:
    """A server that sends back what it gets, and remembers it."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.heard = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                taken, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(taken,), daemon=True).start()

    def _answer(self, taken: socket.socket) -> None:
        with taken:
            try:
                while chunk := taken.recv(65_536):
                    self.heard += chunk
                    taken.sendall(chunk)
            except OSError:
                return


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.socket.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    with FaultProxy(echo.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        yield client


def exactly(client: socket.socket, number: int) -> bytes:
    found = b""
    while len(found) < number:
        chunk = client.recv(number - len(found))
        assert chunk, "the connection ended"
        found += chunk
    return found


def nothing_comes(client: socket.socket) -> bool:
    client.settimeout(SHORT_S)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(5)
    return False


def test_without_faults_it_forwards_both_ways_and_passes_the_end_on(
    client: socket.socket, proxy: FaultProxy, echo: Echo
) -> None:
    sent = bytes(range(256)) * 4000
    threading.Thread(target=client.sendall, args=(sent,)).start()
    assert exactly(client, len(sent)) == sent
    assert proxy.forwarded(TO_BROKER) == proxy.forwarded(TO_CLIENT) == len(sent)
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""


def test_latency_delays_each_way_and_keeps_the_throughput(client: socket.socket, proxy: FaultProxy) -> None:
    proxy.latency(0.1)
    began = time.monotonic()
    for _ in range(20):
        client.sendall(b"x")
        time.sleep(0.001)
    assert exactly(client, 20) == b"x" * 20
    assert 0.2 <= time.monotonic() - began < 1.5


def test_a_rate_is_kept(client: socket.socket, proxy: FaultProxy) -> None:
    proxy.rate(20_000, TO_CLIENT)
    began = time.monotonic()
    client.sendall(b"x" * 2_000)
    client.sendall(b"x" * 2_000)
    time.sleep(0.05)
    client.sendall(b"y")
    exactly(client, 4_001)
    assert time.monotonic() - began >= 0.1


def test_a_stall_to_the_client_lets_the_server_hear_and_holds_the_answer(
    client: socket.socket, proxy: FaultProxy, echo: Echo
) -> None:
    proxy.stall(TO_CLIENT)
    client.sendall(b"asked")
    assert nothing_comes(client)
    assert soon(lambda: echo.heard == b"asked")
    proxy.heal()
    assert exactly(client, 5) == b"asked"


def test_a_stall_to_the_broker_keeps_the_server_from_hearing(
    client: socket.socket, proxy: FaultProxy, echo: Echo
) -> None:
    proxy.stall(TO_BROKER)
    client.sendall(b"asked")
    assert nothing_comes(client)
    assert echo.heard == b""
    proxy.heal()
    assert exactly(client, 5) == b"asked"


def test_a_cut_resets_and_new_connections_are_taken(client: socket.socket, proxy: FaultProxy) -> None:
    client.sendall(b"x")
    exactly(client, 1)
    assert proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert proxy.connections() == 0
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as again:
        again.sendall(b"y")
        assert exactly(again, 1) == b"y"


def test_it_cuts_after_so_many_bytes_in_one_direction(client: socket.socket, proxy: FaultProxy, echo: Echo) -> None:
    proxy.cut_after(7, TO_BROKER)
    client.sendall(b"0123456789")
    echoed = b""
    with pytest.raises(ConnectionResetError):  # noqa: PT012 - the echo comes first, in pieces of any size
        while chunk := client.recv(100):
            echoed += chunk
    assert b"0123456".startswith(echoed)
    assert soon(lambda: echo.heard == b"0123456")


def test_refused_means_that_nobody_listens(client: socket.socket, proxy: FaultProxy) -> None:
    client.sendall(b"x")
    exactly(client, 1)
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    proxy.heal()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as again:
        again.sendall(b"y")
        assert exactly(again, 1) == b"y"


def test_a_cut_ends_a_stalled_connection_too(client: socket.socket, proxy: FaultProxy, echo: Echo) -> None:
    proxy.stall(TO_BROKER)
    client.sendall(b"held")
    assert nothing_comes(client)
    assert proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    proxy.heal()
    assert echo.heard == b""


def test_a_server_that_is_down_looks_like_a_reset() -> None:
    nobody = free_ports(1)[0]
    with (
        FaultProxy(nobody) as proxy,
        # The reset may come before connect() has returned.
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client,
    ):
        client.recv(1)
