"""One embedding service over HTTP: one client, bounded in time and in size, and never led to another host.

The network's failures become our errors here; what a status means is decided in `refusals`. The key is a header of the
client and stands in no message.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from headwater import __version__
from headwater.embedding.providers.options import ProviderOptions
from headwater.embedding.providers.refusals import Answer, Sent
from headwater.errors import HeadwaterError, Misconfigured, Overloaded, Retry, Unreachable

try:
    import httpx2
except ModuleNotFoundError as missing:
    raise Unreachable(
        "embedding service",
        f"the package {missing.name} is not installed",
        "pip install 'headwater[services]'",
        code="not-installed",
    ) from missing

_CONNECT_S = 10.0
#: Shorter than most services keep a silent connection.
_KEEP_ALIVE_S = 30.0


class HttpService:
    """The service at `url`. `headers` carry the key. How many calls run at once is for the caller to decide."""

    def __init__(self, url: str, headers: Mapping[str, str], ca: Path | None, timeout_s: float) -> None:
        self.host = host_of(url)
        self._base = urlsplit(url)
        self._timeout_s = timeout_s
        try:
            self._http = httpx2.AsyncClient(
                headers={"Accept": "application/json", "User-Agent": f"headwater/{__version__}", **headers},
                verify=_trusted(ca) if ca else True,
                # The whole call is bounded in `ask`: a service that drips would never run into a time-out a read.
                timeout=httpx2.Timeout(None, connect=_CONNECT_S),
                limits=httpx2.Limits(
                    max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEP_ALIVE_S
                ),
                follow_redirects=False,
            )
        except (ValueError, ImportError, httpx2.InvalidURL) as error:
            # The client reads the proxies of the environment as it is made.
            raise Misconfigured("url", "a proxy that can be used", "another in HTTPS_PROXY or HTTP_PROXY") from error

    def __repr__(self) -> str:
        return f"HttpService({self.host!r})"

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._http.aclose()

    def url_of(self, place: str) -> str:
        """Return the address of a place below the service's own. What follows a `?` there stays, and goes before what
        follows one in the place.
        """
        path, _, query = place.partition("?")
        joined = "&".join(it for it in (self._base.query, query) if it)
        return urlunsplit(self._base._replace(path=self._base.path.rstrip("/") + path, query=joined))

    async def ask(
        self,
        place: str,
        body: bytes | None,
        sent: Sent,
        most_bytes: int,
        *,
        method: str = "",
        kind: str = "application/json",
        timeout_s: float = 0.0,
    ) -> Answer:
        """Post a body, or get without one, unless `method` says otherwise. Return the answer of any status.

        `kind` is the body's; `timeout_s` how long it may take, where that is longer than a call may take. Raise Retry
        when no answer comes in time, Unreachable when TLS fails or the answer has more than `most_bytes`.
        """
        headers = None if body is None else {"Content-Type": kind}
        within_s = max(timeout_s, self._timeout_s)
        method = method or ("GET" if body is None else "POST")
        try:
            async with (
                asyncio.timeout(within_s),
                self._http.stream(method, self.url_of(place), content=body, headers=headers) as response,
            ):
                return Answer(
                    response.status_code,
                    {name.lower(): value for name, value in response.headers.items()},
                    await _bounded(response, sent, most_bytes),
                )
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise Retry(sent.name, f"{self.host} did not answer within {within_s:g} s") from error
        except httpx2.RequestError as error:
            raise _broken(error, sent) from error


def host_of(url: str) -> str:
    """Return the host of an address, all of it that messages may hold. Raise Misconfigured where it is none."""
    expected = "the address of the service with https:// or http://"
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.fragment:
            if parts.username or parts.password:
                raise Misconfigured("url", "an address without a login", "one with a login", hint="give it as the key")
            return parts.hostname
    except ValueError:
        pass  # a port that is no number, or too large a one
    raise Misconfigured("url", expected, "something else")


def reached(options: ProviderOptions, own: str = "") -> HttpService:
    """Return the service where the options say, else at the provider's own address."""
    return HttpService(options.url or own, bearer(options.key), options.ca, options.timeout_s)


def with_accounts(options: ProviderOptions, own: str, model: str, key: str) -> HttpService:
    """Return a service whose own address needs a key. `model` and `key` (a variable) are examples for hints."""
    options.require("model", f"for example `{model}`")
    if options.url is None:
        options.require("key", f"for example `key: ${{env:{key}}}`")
    return reached(options, own)


def bearer(key: str | None) -> dict[str, str]:
    """Return the header that most services want their key in. Raise Misconfigured for what no header can hold."""
    key = spoken(key)
    return {"Authorization": f"Bearer {key}"} if key else {}


def spoken(key: str | None) -> str:
    """Return the key without the line break that a file ends with. Raise Misconfigured for what no header can hold."""
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise Misconfigured("key", "the service's key", "a text with spaces or other signs that no key has")
    return key


async def _bounded(response: Any, sent: Sent, most_bytes: int) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > most_bytes:
            raise sent.unreachable(
                f"its answer is larger than {most_bytes} bytes, more than any vectors that were asked for",
                "Check that the address and the model are right",
            )
    return bytes(body)


def _broken(error: httpx2.RequestError, sent: Sent) -> HeadwaterError:
    causes = list(_causes(error))
    if any(isinstance(it, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(it) for it in causes):
        return sent.unreachable(
            "its certificate is not trusted", "Name the file of the authority that signed it (`ca`)"
        )
    if any(isinstance(it, ssl.SSLError) and it.reason == "WRONG_VERSION_NUMBER" for it in causes):
        return sent.unreachable("it does not speak TLS there", "Check the port, and whether the address is http://")
    if isinstance(error, httpx2.ProxyError):
        return _proxy(str(error), sent)
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return sent.unreachable("it cannot be asked in this way", "Check the address and the key")
    if any(isinstance(it, socket.gaierror) for it in causes):
        return Retry(sent.name, f"{sent.host} is not known by this name")
    if any(isinstance(it, ConnectionRefusedError) for it in causes):
        return Retry(sent.name, f"{sent.host} refuses the connection")
    if isinstance(error, httpx2.ConnectError):
        return Retry(sent.name, f"{sent.host} cannot be reached")
    if isinstance(error, httpx2.DecodingError):
        return Retry(sent.name, f"{sent.host} sent an answer that cannot be unpacked")
    return Retry(sent.name, f"the connection to {sent.host} broke")


def _proxy(said: str, sent: Sent) -> HeadwaterError:
    """Tell apart what a proxy says of the tunnel: only some of it passes by itself."""
    status = said.strip()[:3]
    if status == "407":
        return sent.unreachable("the proxy in between wants a login", "Put it into the proxy's address")
    if status in ("400", "403", "404", "405"):
        return sent.unreachable(f"the proxy in between refuses it (HTTP {status})", "See to the proxy's rules")
    if status in ("429", "503"):
        return Overloaded(sent.name, f"the proxy before {sent.host} is overloaded (HTTP {status})")
    return Retry(sent.name, f"the proxy before {sent.host} cannot reach it")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            for one in cause.exceptions:
                yield from _causes(one)
        cause = cause.__cause__ or cause.__context__


def _trusted(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ValueError) as error:
        raise Misconfigured("ca", "a file with certificates in PEM", "one that holds none that can be read") from error
