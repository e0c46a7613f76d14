"""PURE: brokers and web services as URLs name them. What is refused is never repeated: it may hold a password."""

from __future__ import annotations

import ipaddress
import re

from headwater.settings.failures import Unfit

KAFKA = "kafka://HOST:PORT[,HOST:PORT...]"
WEB = "https://HOST[:PORT][/PATH]"
DEFAULT_PORT = 9092

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")
_BROKER = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{1,5}))?")
_URL = re.compile(r"https?://(\[[^\[\]/]*\]|[^\[\]:/]*)(?::([0-9]{1,5}))?(/[!-~]*)?")


def brokers(url: str) -> tuple[str, ...]:
    """Read `kafka://a:9093,b,[::1]:9092` as `host:port` each, in order and once."""
    if not url.startswith("kafka://"):
        raise Unfit(KAFKA, _cure(url))
    rest = url.removeprefix("kafka://")
    if "@" in rest:
        raise Unfit(KAFKA, "a user and a password belong under `security`, the password as ${env:NAME}")
    if any(mark in rest for mark in "/?#"):
        raise Unfit(KAFKA, "nothing follows the last port: settings have keys of their own under `log`")
    return tuple(dict.fromkeys(map(_broker, rest.split(","))))


def web_address(url: str) -> str:
    """Check the URL of a web service: no user, no password, no query."""
    if "@" in url:
        raise Unfit(WEB, "a user and a password have keys of their own beside the URL")
    if "?" in url or "#" in url:
        raise Unfit(WEB, "a URL here has no ? or #")
    found = _URL.fullmatch(url)
    if found is None or not _is_host(found[1]) or not _is_port(found[2]):
        raise Unfit(WEB, None if "://" in url else "https:// is missing before it")
    return url


def is_loopback(place: str) -> bool:
    """Tell whether a `host:port` or a checked URL stays on this machine."""
    host = place.removeprefix("http://").removeprefix("https://").partition("/")[0]
    name = host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def _broker(text: str) -> str:
    found = _BROKER.fullmatch(text)
    if found is None or not _is_host(found[1]) or not _is_port(found[2]):
        colons = "an IPv6 address stands in brackets: kafka://[::1]:9092" if text.count(":") > 1 else None
        raise Unfit(KAFKA, colons)
    return f"{found[1]}:{int(found[2] or DEFAULT_PORT)}"


def _is_host(text: str) -> bool:
    if not text.startswith("["):
        return _NAME.fullmatch(text) is not None
    try:
        return ipaddress.IPv6Address(text[1:-1]).scope_id is None
    except ValueError:
        return False


def _is_port(text: str | None) -> bool:
    return text is None or 0 < int(text) < 1 << 16


def _cure(url: str) -> str | None:
    if url.startswith("redpanda:"):
        return "Redpanda speaks Kafka's protocol: write kafka://"
    if url.startswith("kafka:"):
        return "two slashes before the first host"
    return None
