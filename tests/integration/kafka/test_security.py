"""`log.security`: every way to log in does the whole job with the rights that are printed, and a wrong one is told."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.kafka.securing import (
    CLIENT_SECRET,
    Entry,
    Place,
    allow,
    mtls,
    oauth,
    revoke,
    scram,
    token_endpoint,
)
from tests.kafka.certificates import Authority
from tests.kafka.client import fresh_name
from tests.kafka.secured import PLAIN_PASSWORD, PLAIN_USER, Secured

PASSWORD = "password-of-one-test"
SECRETS = (PASSWORD, CLIENT_SECRET, PLAIN_PASSWORD, "BEGIN PRIVATE", "wrong-secret")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "place", fresh_name("sec"))
    yield place
    files = "".join(it.read_text(errors="replace") for it in place.folder.iterdir() if it.name != "headwater.yaml")
    for secret in SECRETS:
        assert secret not in place.said
        assert secret not in files


def whole_job(secured: Secured, place: Place, publisher: tuple[str, Entry], worker: tuple[str, Entry]) -> None:
    """Make the topics as an operator, publish as one principal, and work as another, with what each needs."""
    place.as_(secured.client.bootstrap)("topics", "apply")
    allow(secured, place.rights(publisher[0], "publisher"))
    allow(secured, place.rights(worker[0], "worker"))
    place.as_(*publisher[1]).publish("a", "b")
    place.as_(*worker[1])("run", "--once")
    assert "1." in place("search", "docs", "about a")
    assert place.documents() == {"a", "b"}


def test_scram(kafka_secured: Secured, place: Place) -> None:
    publisher, worker = fresh_name("publisher"), fresh_name("worker")
    for user in (publisher, worker):
        kafka_secured.add_user(user, PASSWORD)
    whole_job(
        kafka_secured,
        place,
        (publisher, scram(kafka_secured, publisher, PASSWORD, "SCRAM-SHA-256")),
        (worker, scram(kafka_secured, worker, PASSWORD, "SCRAM-SHA-512")),
    )


def test_plain_over_tls_and_a_client_certificate(kafka_secured: Secured, place: Place) -> None:
    dave = (PLAIN_USER, scram(kafka_secured, PLAIN_USER, PLAIN_PASSWORD, "PLAIN"))
    carol = ("carol", mtls(kafka_secured, kafka_secured.certificates / "carol.pem"))
    whole_job(kafka_secured, place, dave, carol)


def test_tokens(kafka_secured: Secured, place: Place) -> None:
    publisher, worker = fresh_name("publisher"), fresh_name("worker")
    with token_endpoint() as url:
        logins = {user: oauth(kafka_secured, url, user) for user in (publisher, worker)}
        whole_job(kafka_secured, place, *logins.items())


def test_each_missing_right_is_named(kafka_secured: Secured, place: Place) -> None:
    publisher, worker = fresh_name("publisher"), fresh_name("worker")
    for user in (publisher, worker):
        kafka_secured.add_user(user, PASSWORD)
    place.as_(kafka_secured.client.bootstrap)("topics", "apply")
    rights = {user: place.rights(user, role) for user, role in ((publisher, "publisher"), (worker, "worker"))}
    for calls in rights.values():
        allow(kafka_secured, calls)

    def without(user: str, name: str, act: Callable[[], str]) -> str:
        call = next(it for it in rights[user] if name in it)
        place.as_(*scram(kafka_secured, user, PASSWORD))
        revoke(kafka_secured, call)
        try:
            return act()
        finally:
            allow(kafka_secured, [call])

    prefix = place.prefix
    said = without(publisher, f"{prefix}.docs.changes", lambda: place.publish("a", code=4))
    assert f"{prefix}.docs.changes" in said
    assert "`headwater topics acl` prints what is needed" in said
    place.as_(*scram(kafka_secured, publisher, PASSWORD)).publish("a")
    for name, told in {
        f"{prefix}.control": f"no such topic: {prefix}.control",
        f"{prefix}.docs.changes": f"{prefix}.docs.changes",
        f"{prefix}.docs.receipts": f"{prefix}.docs.receipts",
        f"{prefix}.docs": "the consumer group",
        f"{prefix}.docs.": "the transactional id",
    }.items():
        said = without(worker, name, lambda: place("run", "--once", "--timeout", "5s", code=4))
        assert told in said, name
        assert "headwater topics acl" in said, name
    # Nothing was lost meanwhile.
    place.as_(*scram(kafka_secured, worker, PASSWORD))("run", "--once")
    assert place.documents() == {"a"}


BAD: dict[str, tuple[Callable[[Secured], Entry], str, str]] = {
    "wrong password": (
        lambda it: scram(it, "alice", "wrong-secret"),
        "the broker refused the log-in: ",
        "Check log.security",
    ),
    "wrong password in the clear": (
        lambda it: scram(it, PLAIN_USER, "wrong-secret", "PLAIN"),
        "Invalid username or password",
        "Check log.security",
    ),
    "wrong authority": (
        lambda it: scram(it, "alice", PASSWORD, ca=str(it.wrong_ca)),
        "certificate verify failed",
        "Check log.security: ca",
    ),
    "no client certificate": (
        lambda it: (it.listeners["MTLS"], {"protocol": "ssl", "ca": str(it.ca)}),
        "certificate required",
        "Check log.security: certificate and key",
    ),
    "a stranger's certificate": (
        lambda it: mtls(it, it.certificates / "elsewhere" / "stranger.pem"),
        "TLS failed",
        "Check log.security: certificate and key",
    ),
    "TLS where there is none": (
        lambda it: (it.client.bootstrap, {"protocol": "ssl", "ca": str(it.ca)}),
        "PLAINTEXT broker listener",
        "which is not encrypted",
    ),
    "none where there is TLS": (
        lambda it: (it.listeners["SASL_SSL"], {"protocol": "plaintext"}),
        "kafka: ",
        "a listener that asks for TLS does not answer other clients",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_wrong_log_in(kafka_secured: Secured, place: Place, kind: str) -> None:
    login, cause, next_step = BAD[kind]
    place.as_(*login(kafka_secured))
    for verb in (("run",), ("publish", "docs"), ("status",), ("doctor",)):
        said = place(*verb, code=4, stdin='{"id":"a","text":"b"}\n')
        assert cause in said, verb
        assert next_step in said, verb


def test_a_token_endpoint_that_refuses_or_is_away(kafka_secured: Secured, place: Place) -> None:
    with token_endpoint() as url:
        place.as_(*oauth(kafka_secured, url, "w", "wrong-secret"))
        said = place("run", code=4)
        assert "the token endpoint refused: " in said
        assert "Check log.security.oauth" in said
    said = place("run", code=4)
    assert "Check log.security.oauth.token_url, and that what is there answers. Nothing was lost" in said


@contextmanager
def handshaking(pem: Path | None) -> Iterator[str]:
    """What shakes hands with this certificate, or hangs up in the middle of it."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            connection, _ = listener.accept()
            with connection:
                try:
                    if pem is None:
                        connection.recv(4096)
                        continue
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(pem)
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    try:
        yield f"127.0.0.1:{port}"
    finally:
        ended.set()
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()
        listener.close()


def test_certificates_that_are_not_the_brokers(tmp_path: Path, place: Place) -> None:
    authority = Authority(tmp_path / "authority")
    login = {"protocol": "ssl", "ca": str(authority.ca)}
    expired = authority.issue("expired", until=datetime.now(UTC) - timedelta(minutes=5))
    for pem in (expired, authority.issue("elsewhere", elsewhere=True)):
        with handshaking(pem) as address:
            said = place.as_(address, login)("status", code=4)
            assert "certificate verify failed" in said
            assert "are for the hosts by which they are reached, and have not expired" in said
    # A broker that goes in the middle of a handshake has no wrong certificate.
    with handshaking(None) as address:
        said = place.as_(address, login)("topics", "plan", code=4)
        assert "Disconnected" in said
        assert "TLS failed" not in said
        assert "Nothing was lost" in said
