"""A schema registry on the loopback that answers what a test tells it to, and records as others write them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from confluent_kafka.schema_registry import header_schema_id_serializer
from confluent_kafka.schema_registry._sync.mock_schema_registry_client import MockSchemaRegistryClient
from confluent_kafka.serialization import MessageField, SerializationContext

from headwater.model.change import Record
from tests.loopback import listening


class FakeRegistry:
    """`answers` maps a path to a status, headers and a body; what is not there is unknown as a registry says it."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []
        self.logins: list[str] = []
        self.everything: tuple[int, dict[str, str], bytes] | None = None
        self.silent_s = 0.0
        self.url = ""
        self.put("/schemas/types", ["JSON", "PROTOBUF", "AVRO"])

    def put(self, path: str, body: object, status: int = 200, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers[path] = (status, {it.replace("_", "-"): value for it, value in headers.items()}, content)

    def all(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.everything = (status, {it.replace("_", "-"): value for it, value in headers.items()}, body)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        time.sleep(self.silent_s)
        unknown = json.dumps({"error_code": 40403, "message": "Schema not found"}).encode()
        return self.everything or self.answers.get(path, (404, {}, unknown))

    def copy(self, client: MockSchemaRegistryClient) -> None:
        """Answer with what others registered in their own mock."""
        for number, registered in client._store.schema_id_index.items():
            schema = registered.schema
            references = [
                {"name": it.name, "subject": it.subject, "version": it.version} for it in schema.references or ()
            ]
            body: dict[str, Any] = {"schema": schema.schema_str, "references": references}
            if schema.schema_type != "AVRO":
                body["schemaType"] = schema.schema_type
            self.put(f"/schemas/ids/{number}", body)
            self.put(f"/schemas/guids/{registered.guid}", body)
            self.put(f"/subjects/{registered.subject}/versions/{registered.version}?deleted=true", body)


@contextmanager
def serving(fake: FakeRegistry, certificate: Path | None = None) -> Iterator[FakeRegistry]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.logins.append(self.headers.get("authorization", ""))
            status, headers, body = fake.answer(self.path)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # whoever asked has gone

    with listening(Handler, certificate) as fake.url:
        yield fake


def mock_client() -> MockSchemaRegistryClient:
    return MockSchemaRegistryClient({"url": "http://127.0.0.1:1"})


def written(serializer: Any, value: object, *, key: bool = False, offset: int = 0) -> Record:
    """A record of which another's serializer wrote one part, wherever it puts the schema's id."""
    headers: list[tuple[str, bytes]] = []
    field = MessageField.KEY if key else MessageField.VALUE
    data = serializer(value, SerializationContext("topic", field, headers))  # type: ignore[arg-type]  # it only adds bytes
    return record(key=data, headers=headers, offset=offset) if key else record(data, headers=headers, offset=offset)


#: Confluent's settings for each of the two places of a schema's id.
FRAMINGS: dict[str, dict[str, Any]] = {"prefix": {}, "header": {"schema.id.serializer": header_schema_id_serializer}}


def record(
    value: bytes | None = None,
    key: bytes = b"k",
    headers: list[tuple[str, bytes]] | tuple[tuple[str, bytes], ...] = (),
    partition: int = 0,
    offset: int = 0,
) -> Record:
    return Record(partition, offset, key, value, 1_700_000_000_000_000, tuple(headers))


def framed(number: int, payload: bytes = b"", **more: Any) -> Record:
    return record(b"\0" + number.to_bytes(4, "big") + payload, **more)
