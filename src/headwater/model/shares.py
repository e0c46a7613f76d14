"""PURE: how one account at a provider is divided between the workers that use it."""

from __future__ import annotations

from hashlib import sha256

import msgspec


class Member(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One worker's row: `share` is its part of the account, which nobody else changes while it is a member.

    `use` and `wish` are what it holds of the account and what it would use, as parts of the limit. `beat` counts its
    writes. `asked`: somebody wants a sign of life, which is the next write of its own.
    """

    share: float = 0.0
    use: float = 0.0
    wish: float = 0.0
    beat: int = 0
    asked: bool = False


class Division(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How an account is divided: the shares of its members come to 1 at most. `serial` counts its writes; an advance
    names the one that it builds on.

    `requests` and `tokens` are the account's limits in a window, as far as any member has learnt them.
    """

    serial: int = 0
    members: dict[str, Member] = {}
    requests: float | None = None
    tokens: float | None = None


def account_id(provider: str, host: str, key: str) -> str:
    """Return the name of an account in the log, 16 hexadecimal digits, by which nobody learns its key.

    All that send with one key to one host share one account, whatever model they ask for.
    """
    return sha256("\0".join((provider, host, key)).encode()).hexdigest()[:16]
