"""What the tests of `log.security` share: a stream on the secured broker, and who may work on it."""

from __future__ import annotations

import base64
import json
import re
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AclBindingFilter

from tests.integration.cli.process import Cli
from tests.integration.kafka.granting import bindings
from tests.kafka.secured import Secured

Login = dict[str, Any]
Entry = tuple[str, Login]
CLIENT_SECRET = "client-secret-of-one-test"


class Place:
    """A folder with a configuration, and the stream `docs` that it names."""

    def __init__(self, folder: Path, prefix: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.cli = Cli(folder)
        self.prefix = prefix
        #: Everything that was ever said.
        self.said = ""

    def as_(self, bootstrap: str, login: Login | None = None) -> Place:
        """From now on, come by this listener and log in so."""
        log: dict[str, object] = {"url": f"kafka://{bootstrap}", "prefix": self.prefix}
        if login:
            log["security"] = dict(login)
        streams = {"docs": {"partitions": 1, "recipe": {"embed": {"model": "hash"}}}}
        self.cli.write("headwater.yaml", json.dumps({"log": log, "streams": streams}))
        return self

    def __call__(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        """Call `headwater`; return what it said, on stdout and stderr."""
        done = self.cli(*arguments, code=code, stdin=stdin)
        self.said += done.stdout + done.stderr
        return done.stdout + done.stderr

    def rights(self, principal: str, role: str) -> list[list[str]]:
        """Return the calls of kafka-acls.sh that the command line prints for a role."""
        printed = self.cli("topics", "acl", "--principal", f"User:{principal}", "--role", role).stdout
        return [shlex.split(line) for line in printed.splitlines() if not line.startswith("#")]

    def publish(self, *names: str, code: int = 0) -> str:
        lines = "".join(json.dumps({"id": name, "text": f"about {name}"}) + "\n" for name in names)
        return self("publish", "docs", code=code, stdin=lines)

    def documents(self) -> set[str]:
        return {it["id"] for it in self.cli.lines("export", "docs", "--jsonl")}


def allow(secured: Secured, calls: list[list[str]]) -> None:
    """Give the rights that these calls of kafka-acls.sh would give."""
    admin = secured.client.admin()
    for future in admin.create_acls([it for call in calls for it in bindings(call)]).values():
        future.result(10)


def revoke(secured: Secured, call: list[str]) -> None:
    """Take the rights back that this call would give."""
    admin = secured.client.admin()
    wanted = [
        AclBindingFilter(
            it.restype, it.name, it.resource_pattern_type, it.principal, it.host, it.operation, it.permission_type
        )
        for it in bindings(call)
    ]
    for future in admin.delete_acls(wanted).values():
        future.result(10)


# --- logging in


def scram(secured: Secured, user: str, password: str, mechanism: str = "SCRAM-SHA-512", **more: str) -> Entry:
    login = {"protocol": "sasl_ssl", "mechanism": mechanism, "username": user, "password": password}
    return secured.listeners["SASL_SSL"], {**login, "ca": str(secured.ca), **more}


def mtls(secured: Secured, pem: Path, **more: str) -> Entry:
    files = {"ca": str(secured.ca), "certificate": str(pem), "key": str(pem)}
    return secured.listeners["MTLS"], {"protocol": "ssl", **files, **more}


def oauth(secured: Secured, url: str, user: str, secret: str = CLIENT_SECRET) -> Entry:
    asked = {"token_url": url, "client_id": user, "client_secret": secret}
    login: Login = {"protocol": "sasl_plaintext", "mechanism": "OAUTHBEARER", "oauth": asked}
    return secured.listeners["OAUTH"], login


@contextmanager
def token_endpoint() -> Iterator[str]:
    """A token endpoint on loopback: gives whoever knows the secret an unsigned token of its own name."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            named = re.fullmatch("Basic (.*)", self.headers.get("Authorization", ""))
            user, _, secret = base64.b64decode(named[1]).decode().partition(":") if named else ("", "", "")
            body = json.dumps({"access_token": _token(user), "token_type": "Bearer", "expires_in": 600}).encode()
            code = 200 if secret == CLIENT_SECRET else 401
            if code == 401:
                body = b'{"error":"invalid_client","error_description":"the client is not known"}'
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _token(user: str) -> str:
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": user, "iat": now, "exp": now + 600})
    return ".".join(base64.urlsafe_b64encode(json.dumps(it).encode()).decode().rstrip("=") for it in parts) + "."
