"""A schema registry over HTTP, by Confluent's API: its own, and others that speak it (Apicurio, Karapace, Redpanda).

Definitions are asked for as they were registered; `?format=serialized` means something else on every registry. A
schema never changes under its id, so what was fetched once is never asked for again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from headwater.errors import Reject, Retry, Unreachable
from headwater.log.codecs.schemas import Schema, SchemaKind, SchemaRef, Unusable

try:
    import grpc_tools  # noqa: F401 (the compiler runs it; better missed here than at the first Protobuf record)
    import httpx2

    from headwater.log.protobuf_compiler import compile_files
except ModuleNotFoundError as missing:
    raise Unreachable(
        "schema registry",
        f"the package {missing.name} is not installed",
        "pip install 'headwater[schemas]'",
        code="not-installed",
    ) from missing

REGISTRY = "schema registry"

MAX_ANSWER_BYTES = 4 << 20
MAX_REFERENCES = 200
MAX_REFERENCE_DEPTH = 16

_NOT_ONE = "what answers there is no schema registry"
_CURE_URL = "Give the registry's own address, with its path if it has one"


class _Reference(msgspec.Struct, frozen=True):
    name: str
    subject: str
    version: int


class _Answer(msgspec.Struct, frozen=True):
    definition: str = msgspec.field(name="schema")
    kind: str = msgspec.field(default="AVRO", name="schemaType")
    references: list[_Reference] | None = None


class _Error(msgspec.Struct, frozen=True):
    error_code: int


class HttpSchemaRegistry:
    """One registry. `login` is a user and a password; `ca` is a file with the certificates to trust."""

    def __init__(
        self, url: str, login: tuple[str, str] | None = None, ca: Path | None = None, timeout_s: float = 10.0
    ) -> None:
        self._host = _host(url)
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._http = httpx2.AsyncClient(
            auth=login,
            verify=_trusted(ca) if ca else True,
            timeout=timeout_s,
            headers={"Accept": "application/vnd.schemaregistry.v1+json, application/json"},
        )

    async def fetch(self, ref: SchemaRef) -> Schema | Unusable:
        place = f"/schemas/guids/{ref.guid}" if ref.guid else f"/schemas/ids/{ref.id}"
        try:
            answer = await self._get(place)
            if answer is None:
                return Unusable("is not known to the registry")
            return await self._schema(answer)
        except Reject as error:
            return Unusable(f"is of no use: {error.reason}")

    async def check(self) -> None:
        await self._recognise()

    async def close(self) -> None:
        await self._http.aclose()

    async def _schema(self, answer: _Answer) -> Schema:
        try:
            kind = SchemaKind(answer.kind)
        except ValueError as error:
            raise Reject(f"it is written in {answer.kind[:40]!r}") from error
        imports: dict[str, str] = {}
        if kind is not SchemaKind.JSON:
            await self._references(answer, imports, {}, 1)
        if kind is not SchemaKind.PROTOBUF:
            return Schema(kind, answer.definition.encode(), tuple(it.encode() for it in imports.values()))
        *needed, own = await compile_files(answer.definition, imports)
        return Schema(kind, own, tuple(needed))

    async def _references(
        self, answer: _Answer, imports: dict[str, str], seen: dict[str, _Reference], depth: int
    ) -> None:
        """Collect what an answer refers to, each after what it refers to itself."""
        for reference in answer.references or ():
            if reference.name in seen:
                continue
            seen[reference.name] = reference
            if depth > MAX_REFERENCE_DEPTH or len(seen) > MAX_REFERENCES:
                raise Reject("it refers to too many other schemas")
            place = f"/subjects/{quote(reference.subject, safe='')}/versions/{reference.version}"
            # A version that was deleted since is still what this schema was registered with.
            found = await self._get(f"{place}?deleted=true")
            if found is None:
                raise Reject(f"it refers to {reference.name[:100]!r}, which is not known to the registry")
            await self._references(found, imports, seen, depth + 1)
            imports[reference.name] = found.definition

    async def _get(self, place: str) -> _Answer | None:
        """Ask for one schema. None: the registry does not have it. Raise Reject when it will not give it."""
        status, body = await self._ask(place)
        if status == 200:
            try:
                return msgspec.json.decode(body, type=_Answer)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise self._unreachable(_NOT_ONE, _CURE_URL) from error
        if not _speaks(body):
            # A wrong address, or a registry that does not know this way of asking.
            await self._recognise()
        if status == 404:
            return None
        raise Reject(f"the registry does not give it (HTTP {status})")

    async def _recognise(self) -> None:
        status, body = await self._ask("/schemas/types")
        try:
            msgspec.json.decode(body, type=list[str])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._unreachable(f"{_NOT_ONE} (HTTP {status})", _CURE_URL) from error

    async def _ask(self, place: str) -> tuple[int, bytes]:
        """Return the status and the body of an answer that is about what was asked."""
        try:
            async with asyncio.timeout(self._timeout_s), self._http.stream("GET", self._url + place) as response:
                status, headers = response.status_code, response.headers
                body = bytearray()
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MAX_ANSWER_BYTES:
                        raise Reject(f"its answer is larger than {MAX_ANSWER_BYTES >> 20} MiB")
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise Retry(REGISTRY, f"{self._host} did not answer within {self._timeout_s:g} s") from error
        except httpx2.TransportError as error:
            raise self._broken(error) from error
        if status in (401, 403):
            cure = "Check the user and the password, and that they may read schemas"
            raise self._unreachable(f"the login is refused (HTTP {status})", cure)
        if status >= 500 or status in (408, 425, 429):
            raise Retry(REGISTRY, f"{self._host} answers HTTP {status}", _after_s(headers))
        if 300 <= status < 400:
            raise self._unreachable(f"{_NOT_ONE} (HTTP {status})", _CURE_URL)
        return status, bytes(body)

    def _broken(self, error: httpx2.TransportError) -> Retry | Unreachable:
        if _certificate_refused(error):
            return self._unreachable("its certificate is not trusted", "Name the certificate authority's file")
        return Retry(REGISTRY, f"{self._host} cannot be reached")

    def _unreachable(self, cause: str, cure: str) -> Unreachable:
        return Unreachable(REGISTRY, f"{self._host}: {cause}", cure, code="service-unusable")


def _host(url: str) -> str:
    """Return the host of an address, all of it that messages may hold. Raise Unreachable where it is none."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts.hostname
    except ValueError:
        pass  # a port that is no number, or too large a one
    raise Unreachable(REGISTRY, "its address is no URL", "Give it with https:// or http://", code="service-unusable")


def _trusted(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca))
    except OSError as error:
        raise Unreachable(
            REGISTRY, f"{ca} holds no certificates that can be read", "Check the file", code="tls-failed"
        ) from error


def _certificate_refused(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _speaks(body: bytes) -> bool:
    """Tell whether an error is a registry's own: those have a code."""
    try:
        msgspec.json.decode(body, type=_Error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _after_s(headers: Mapping[str, Any]) -> float | None:
    text = str(headers.get("retry-after", ""))
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
