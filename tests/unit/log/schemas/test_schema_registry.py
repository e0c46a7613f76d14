"""The registry over HTTP: what each of its answers means."""

from __future__ import annotations

import asyncio
import importlib
import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import HeadwaterError, Retry, Unreachable
from headwater.log import schema_registry
from headwater.log.codecs.schemas import Schema, SchemaKind, SchemaRef, SchemaRegistry, Unusable
from headwater.log.schema_registry import HttpSchemaRegistry
from tests.kafka.certificates import Authority
from tests.unit.log.schemas.fake import FakeRegistry, serving

PROTO = 'syntax = "proto3"; package p; message M { string a = 1; }'


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with serving(FakeRegistry()) as running:
        yield running


ONE = SchemaRef(1)


def fetch(url: str, ref: SchemaRef = ONE, **settings: Any) -> Schema | Unusable:
    async def ask() -> Schema | Unusable:
        registry: SchemaRegistry = HttpSchemaRegistry(url, **settings)
        try:
            return await registry.fetch(ref)
        finally:
            await registry.close()

    return asyncio.run(ask())


def failure(call: Callable[[], object]) -> HeadwaterError:
    with pytest.raises(HeadwaterError) as error:
        call()
    return error.value


def refers(*names: str) -> list[dict[str, object]]:
    return [{"name": name, "subject": name, "version": 1} for name in names]


def version(name: str) -> str:
    return f"/subjects/{name}/versions/1?deleted=true"


def test_a_schema_without_a_type_is_avro(fake: FakeRegistry) -> None:
    fake.put("/schemas/ids/1", {"schema": '"string"', "guid": "g", "id": 1, "ruleSet": {}})
    assert fetch(fake.url + "/") == Schema(SchemaKind.AVRO, b'"string"')


def test_a_schema_by_its_guid(fake: FakeRegistry) -> None:
    fake.put("/schemas/guids/g-1", {"schema": "{}", "schemaType": "JSON"})
    assert fetch(fake.url, SchemaRef(0, "g-1")) == Schema(SchemaKind.JSON, b"{}")


def test_references_come_deepest_first_and_once(fake: FakeRegistry) -> None:
    fake.put("/schemas/ids/1", {"schema": "1", "references": refers("a", "b")})
    fake.put(version("a"), {"schema": "a", "references": refers("c")})
    fake.put(version("b"), {"schema": "b", "references": refers("c")})
    fake.put(version("c"), {"schema": "c", "references": None})
    assert fetch(fake.url) == Schema(SchemaKind.AVRO, b"1", (b"c", b"a", b"b"))
    assert fake.asked.count(version("c")) == 1


def test_references_of_json_schemas_are_not_needed(fake: FakeRegistry) -> None:
    fake.put("/schemas/ids/1", {"schema": "{}", "schemaType": "JSON", "references": refers("a")})
    assert fetch(fake.url) == Schema(SchemaKind.JSON, b"{}")


def test_a_subject_with_odd_characters_stays_one_part_of_the_path(fake: FakeRegistry) -> None:
    odd = {"name": "a", "subject": "a/../b?c", "version": 1}
    fake.put("/schemas/ids/1", {"schema": "1", "references": [odd]})
    fake.put("/subjects/a%2F..%2Fb%3Fc/versions/1?deleted=true", {"schema": "a"})
    assert fetch(fake.url) == Schema(SchemaKind.AVRO, b"1", (b"a",))


def test_references_in_a_circle_and_without_end_are_bounded(fake: FakeRegistry) -> None:
    fake.put("/schemas/ids/1", {"schema": "1", "references": refers("a")})
    fake.put(version("a"), {"schema": "a", "references": refers("a", "b")})
    fake.put(version("b"), {"schema": "b", "references": refers("a")})
    assert isinstance(fetch(fake.url), Schema)
    for number in range(300):
        fake.put(version(f"n{number}"), {"schema": "n", "references": refers(f"n{number + 1}")})
    fake.put("/schemas/ids/2", {"schema": "1", "references": refers("n0")})
    assert fetch(fake.url, SchemaRef(2)) == Unusable("is of no use: it refers to too many other schemas")
    assert len(fake.asked) < 30
    fake.put("/schemas/ids/3", {"schema": "1", "references": refers(*(f"w{number}" for number in range(300)))})
    for number in range(300):
        fake.put(version(f"w{number}"), {"schema": "w"})
    assert fetch(fake.url, SchemaRef(3)) == Unusable("is of no use: it refers to too many other schemas")


def test_a_reference_that_is_gone_makes_the_schema_unusable(fake: FakeRegistry) -> None:
    fake.put("/schemas/ids/1", {"schema": "1", "references": refers("a")})
    assert fetch(fake.url) == Unusable("is of no use: it refers to 'a', which is not known to the registry")


def test_an_unknown_id_is_an_answer(fake: FakeRegistry) -> None:
    assert fetch(fake.url, SchemaRef(7)) == Unusable("is not known to the registry")


def test_a_registry_without_guids_does_not_know_this_one(fake: FakeRegistry) -> None:
    fake.put("/schemas/guids/g", b"", status=404)  # as Apicurio 3.3 does
    assert fetch(fake.url, SchemaRef(0, "g")) == Unusable("is not known to the registry")


@pytest.mark.parametrize("status", [400, 422])
def test_a_refusal_is_about_this_schema(fake: FakeRegistry, status: int) -> None:
    fake.put("/schemas/ids/1", {"error_code": 42201, "message": "no"}, status=status)
    assert fetch(fake.url) == Unusable(f"is of no use: the registry does not give it (HTTP {status})")


def test_a_schema_in_another_language(fake: FakeRegistry) -> None:
    fake.put("/schemas/ids/1", {"schema": "x", "schemaType": "XSD"})
    assert fetch(fake.url) == Unusable("is of no use: it is written in 'XSD'")


def test_an_answer_larger_than_any_schema(fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_registry, "MAX_ANSWER_BYTES", 1 << 20)
    fake.put("/schemas/ids/1", {"schema": "x" * (2 << 20)})
    assert fetch(fake.url) == Unusable("is of no use: its answer is larger than 1 MiB")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_registry_in_trouble_is_away(fake: FakeRegistry, status: int) -> None:
    fake.all(status, b"<html>secret</html>", Retry_After="7")
    error = failure(lambda: fetch(fake.url))
    assert isinstance(error, Retry)
    assert (error.dependency, error.after_s) == ("schema registry", 7.0)
    assert str(status) in str(error)
    assert "secret" not in str(error)


def test_a_retry_after_that_is_no_number_is_ignored(fake: FakeRegistry) -> None:
    fake.all(503, Retry_After="Fri, 27 Nov 2026 10:00:00 GMT")
    error = failure(lambda: fetch(fake.url))
    assert isinstance(error, Retry)
    assert error.after_s is None


def test_nobody_there_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert isinstance(failure(lambda: fetch(f"http://127.0.0.1:{port}")), Retry)


def test_a_silent_registry_is_away(fake: FakeRegistry) -> None:
    fake.silent_s = 1.0
    error = failure(lambda: fetch(fake.url, timeout_s=0.2))
    assert isinstance(error, Retry)
    assert "did not answer within 0.2 s" in str(error)


def test_a_line_that_breaks_in_the_middle_is_away() -> None:
    async def ask() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"schema"')
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        registry = HttpSchemaRegistry(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            await registry.fetch(SchemaRef(1))
        finally:
            await registry.close()
            server.close()

    assert isinstance(failure(lambda: asyncio.run(ask())), Retry)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_needs_a_person_and_names_no_secret(fake: FakeRegistry, status: int) -> None:
    fake.all(status, b"{}")
    error = failure(lambda: fetch(fake.url.replace("//", "//u:hunter1@"), login=("u", "hunter2")))
    assert isinstance(error, Unreachable)
    assert "the login is refused" in str(error)
    assert error.cure
    assert "hunter" not in f"{error} {error!r}"


def test_the_login_is_sent(fake: FakeRegistry) -> None:
    fake.put("/schemas/ids/1", {"schema": "1"})
    fetch(fake.url, login=("u", "p"))
    assert fake.logins == ["Basic dTpw"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>welcome</html>"),
        (200, b"[]"),
        (200, b"\xff"),
        (302, b""),
        (404, b"<html>no such page</html>"),
        (404, b'{"detail": "no such path", "status": 404}'),
        (405, b""),
    ],
)
def test_an_address_that_is_no_registry_needs_a_person(fake: FakeRegistry, status: int, body: bytes) -> None:
    fake.all(status, body)
    error = failure(lambda: fetch(fake.url))
    assert isinstance(error, Unreachable)
    assert "no schema registry" in str(error)
    assert error.cure


@pytest.mark.parametrize("url", ["no url at all", "ftp://127.0.0.1/", "http://127.0.0.1:99999"])
def test_an_address_that_is_no_url(url: str) -> None:
    assert isinstance(failure(lambda: fetch(url)), Unreachable)


def test_a_file_without_certificates(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("")
    for path in (empty, tmp_path / "missing.pem"):
        assert isinstance(failure(lambda path=path: fetch("https://127.0.0.1:1", ca=path)), Unreachable)  # type: ignore[misc]  # a default, not an argument


def test_a_certificate_has_to_be_trusted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    fake = FakeRegistry()
    fake.put("/schemas/ids/1", {"schema": "1"})
    with serving(fake, authority.issue("registry")):
        assert isinstance(fetch(fake.url, ca=authority.ca), Schema)
        for settings in ({}, {"ca": Authority(tmp_path / "other").ca}):
            error = failure(lambda settings=settings: fetch(fake.url, **settings))  # type: ignore[misc]  # a default
            assert isinstance(error, Unreachable)
            assert "its certificate is not trusted" in str(error)


@pytest.mark.parametrize("package", ["httpx2", "grpc_tools", "google.protobuf"])
def test_without_the_extra_it_says_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("headwater.log.schema_registry", "headwater.log.protobuf_compiler"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    error = failure(lambda: importlib.import_module("headwater.log.schema_registry"))
    assert isinstance(error, Unreachable)
    assert error.cure == "pip install 'headwater[schemas]'"


def test_checking_tells_a_registry_from_anything_else(fake: FakeRegistry) -> None:
    async def check() -> None:
        registry = HttpSchemaRegistry(fake.url)
        try:
            await registry.check()
        finally:
            await registry.close()

    asyncio.run(check())
    fake.all(200, b"{}")
    assert isinstance(failure(lambda: asyncio.run(check())), Unreachable)


def test_protobuf_comes_compiled_and_complete(fake: FakeRegistry) -> None:
    main = 'syntax = "proto3"; import "o/other.proto"; import "google/protobuf/any.proto"; message A { p.M m = 1; }'
    fake.put("/schemas/ids/1", {"schema": main, "schemaType": "PROTOBUF", "references": refers("o/other.proto")})
    fake.put("/subjects/o%2Fother.proto/versions/1?deleted=true", {"schema": PROTO, "schemaType": "PROTOBUF"})
    schema = fetch(fake.url)
    assert isinstance(schema, Schema)
    assert schema.kind is SchemaKind.PROTOBUF
    assert len(schema.imports) == 2


def test_protobuf_that_does_not_compile_says_where(fake: FakeRegistry) -> None:
    fake.put("/schemas/ids/1", {"schema": PROTO + " message B { Missing m = 1; }", "schemaType": "PROTOBUF"})
    schema = fetch(fake.url)
    assert isinstance(schema, Unusable)
    assert '"Missing" is not defined' in schema.reason


def test_the_fake_speaks_as_the_real_one(fake: FakeRegistry) -> None:
    assert json.loads(fake.answer("/schemas/ids/99")[2])["error_code"] == 40403
