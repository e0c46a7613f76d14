"""Addresses: of mail and of machines."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from headwater.recipe.redact.shadow import with_marks_as_letters

_MOST_LOCAL, _MOST_DOMAIN = 254, 255
#: The part before the sign, read backwards from it. Paths and queries are more common than their signs in it.
_LOCAL = re.compile(r"[\w!$%'*+=^`{|}~-]+(?:\.+[\w!$%'*+=^`{|}~-]+)*")
_QUOTED = re.compile(r'"[^"\s@]{1,64}(?: [^"\s@]{1,64}){0,3}"')
#: An ideographic full stop is a dot where it does not end a sentence: between Latin letters.
_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,62})(?:\.|(?<=[A-Za-z0-9])[。｡](?=[A-Za-z]))){1,8}([^\W\d_](?:[\w-]{1,62}))")
_LITERAL = re.compile(r"\[(?:IPv6:)?[0-9A-Fa-f:.]{3,45}\]")
#: What stands before a local part without being of it.
_NOT_OF_IT = "'=|{`*!~"
#: Endings of files that are no top-level domains: `icon@2x.png`.
_ENDINGS = "png jpg jpeg gif svg webp css js mjs html htm php json xml yml yaml tar gz txt pdf csv jar so dll"
_FILES = frozenset(_ENDINGS.split())


def emails(text: str) -> Iterator[tuple[int, int]]:
    """Yield the mail addresses of a text."""
    at = text.find("@")
    if at >= 0:
        text = with_marks_as_letters(text)
    while at >= 0:
        found = _email(text, at)
        if found:
            yield found
        at = text.find("@", found[1] if found else at + 1)


def _email(text: str, at: int) -> tuple[int, int] | None:
    domain = _domain(text, at)
    if domain is None:
        return None
    before = text[max(0, at - _MOST_LOCAL) : at]
    if before.endswith('"'):
        quoted = _QUOTED.match(before[::-1])
        return (at - quoted.end(), domain) if quoted else None
    local = _LOCAL.match(before[::-1])
    if local is None:
        return None
    own = local[0][::-1].lstrip(_NOT_OF_IT)
    # `git@host:path` names a place in a repository, and no person.
    if _in_an_address(before[: len(before) - len(own)]):
        return None
    if not own or (own in {"git", "hg", "svn"} and text[domain : domain + 1] in {":", "/"}):
        return None
    return at - len(own), domain


def _in_an_address(before: str) -> bool:
    """Tell whether what comes is the login in front of a host, as in `https://user@host`."""
    _, scheme, rest = before.rpartition("://")
    return bool(scheme) and not any(sign in "/?#& " for sign in rest)


def _domain(text: str, at: int) -> int | None:
    literal = _LITERAL.match(text, at + 1)
    if literal:
        return literal.end()
    found = _DOMAIN.match(text, at + 1, at + 1 + _MOST_DOMAIN)
    if found is None or text[found.end() : found.end() + 1] == "(":
        return None
    if found[1].lower() not in _FILES:
        return found.end()
    # `icon@2x.png` is a file, `alice@example.org.txt` is one about somebody.
    rest = found[0][: -len(found[1]) - 1]
    top = rest.rpartition(".")[2]
    return at + 1 + len(rest) if top != rest and top.isalpha() and not rest[0].isdigit() else None


_OCTET = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
#: What a regular expression finds fast.
_BEGINNING = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
#: Underscores right around it make it italic; those within a name do not.
_APART, _ENDS = r"(?<![A-Za-z0-9])(?<![A-Za-z0-9]_)", r"(?!_*[A-Za-z0-9])"
_V4 = re.compile(rf"(?<!\.){_APART}(?:{_OCTET}\.){{3}}{_OCTET}{_ENDS}(?!\.\d|-\w)", re.ASCII)
_V6 = re.compile(
    rf"(?<![:.]){_APART}[0-9A-Fa-f]{{0,4}}(?::[0-9A-Fa-f]{{0,4}}){{2,8}}(?:(?:\.\d{{1,3}}){{3}})?(?:%[A-Za-z0-9.]{{1,16}})?{_ENDS}(?!:)",
    re.ASCII,
)
_ROW = re.compile("[0-9A-Fa-f:]+")
_HEXADECIMAL = re.compile("[0-9A-Fa-f]{0,4}")
#: Words before four numbers that say that these are a version, or a chapter.
_VERSION = re.compile(
    r"(?:versions?|released?|ver|rev|revision|build|firmware|driver|kernel|patch"
    r"|section|chapter|ch|clause|abschnitt|kapitel|artikel|article|figure|oid|§)[\s.:\"'(=]{0,3}\Z",
    re.IGNORECASE,
)
#: The same, where the numbers are as low as those of a version.
_PERHAPS = re.compile(r"(?:upgraded?|updated?|since|to|from|[=~<>^]=?|@)[\s.:\"'(=]{0,3}\Z", re.IGNORECASE)
_OF_A_MACHINE = re.compile(
    r"(?:\bip|ipv4|addr|address|adresse|host|server|gateway|dns|peer|client|remote|://|ping|ssh|subnet|router|proxy)"
    r"[^\d\n\[\]]{0,16}\Z",
    re.IGNORECASE,
)
#: Of one digit each, and yet known to everybody as machines.
_KNOWN = frozenset({"1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9"})


def ips(text: str) -> Iterator[tuple[int, int]]:
    """Yield the addresses of machines, but for those that are the same everywhere: loopback, masks, all zeros."""
    for hint in _BEGINNING.finditer(text):
        found = _V4.match(text, hint.start())
        if found and _is_v4(text, found):
            yield found.span()
    at = text.find(":")
    while at >= 0:
        start = at - len(_HEXADECIMAL.match(text[max(0, at - 4) : at][::-1])[0])  # type: ignore[index]  # it may be empty
        found = _V6.match(text, start)
        if found and _is_v6(found[0]):
            yield found.span()
        # Nothing begins within a row of these signs: it would have begun where the row does.
        at = text.find(":", found.end() if found else _ROW.match(text, at).end())  # type: ignore[union-attr]  # a colon is there


def _is_v4(text: str, found: re.Match[str]) -> bool:
    start, end = found.span()
    octets = [int(octet) for octet in found[0].split(".")]
    if octets[0] in (0, 127, 255) or max(octets[1:]) == 0:
        return False
    before = text[max(0, start - 32) : start]
    named = _OF_A_MACHINE.search(before) is not None
    if not named and (_VERSION.search(before) or (octets[0] < 10 and _PERHAPS.search(before))):
        return False
    # A port or a prefix length stands only behind an address.
    located = re.match(r":\d{2,5}\b|/\d{1,2}(?!\d|/)", text[end : end + 7]) is not None
    return named or located or max(octets) > 9 or found[0] in _KNOWN


def _is_v6(candidate: str) -> bool:
    address = candidate.partition("%")[0]
    if len(address) < 5:
        return False
    try:
        value = ipaddress.IPv6Address(address)
    except ValueError:
        return False
    first = int(value) >> 112
    mapped = value.ipv4_mapped
    routed = 0x2000 <= first <= 0x3FFF or first >= 0xFC00 or address.lower().startswith("64:ff9b:")
    return (routed and len(address.split(":")[0]) >= 2) or (mapped is not None and not mapped.is_loopback)
