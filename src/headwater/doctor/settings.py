"""Judges what a configuration that loads says, PURE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import SecretStr

from headwater.doctor.faults import fault
from headwater.doctor.sources import Reading, inside
from headwater.errors import Misconfigured
from headwater.observability.findings import Finding, in_order
from headwater.settings.embed import BUILT_IN
from headwater.settings.nodes import Mapping as Tree
from headwater.settings.nodes import Node, Scalar
from headwater.settings.outline import Key, arguments, keys_at
from headwater.settings.schema import Settings
from headwater.sources.selecting import Choice

_OTHERS = 0o044


def readings(settings: Settings) -> list[Reading]:
    """Return what the streams read from."""
    return [
        Reading(name, str(it.source.folder), Choice(it.source.include, it.source.exclude, it.source.ignore_files))
        for name, it in settings.streams.items()
        if it.source
    ]


def judge_errors(errors: Iterable[Misconfigured]) -> Iterator[Finding]:
    """Make findings of what keeps a configuration from being used."""
    for error in errors:
        problem = f"{error.path}: expected {error.expected}, got {error.got}".removeprefix(": ")
        yield fault("configuration").found(error.place, problem=problem, cure=_cure(error))


def judge_warnings(errors: Iterable[Misconfigured]) -> Iterator[Finding]:
    """Make findings of what `headwater lint` warns of."""
    for error in errors:
        yield fault("lint").found(error.place, problem=f"{error.path}: {error.got}", cure=_cure(error))


def judge_settings(settings: Settings, file: str) -> Iterator[Finding]:
    """Judge the settings of one file, given its absolute path."""
    yield in_order("configuration", file, f"it loads: streams {', '.join(settings.streams)}")
    used = {it.recipe.embed.account for it in settings.streams.values()}
    for name in settings.accounts:
        if name not in used:
            yield fault("account-unused").found(name)
    for name, stream in settings.streams.items():
        embed = stream.recipe.embed
        if settings.accounts and embed.account is None and embed.model not in BUILT_IN:
            yield fault("account-none").found(name, known=next(iter(settings.accounts)))
        if stream.source is not None and stream.freshness_s < stream.source.rescan_s:
            freshness, rescan = f"{stream.freshness_s:g} s", f"{stream.source.rescan_s:g} s"
            yield fault("freshness-rescan").found(name, freshness=freshness, rescan=rescan)


def judge_secrets(paths: Sequence[str], file: str, mode: int, *, exposed: bool) -> Iterator[Finding]:
    """Judge the secrets that stand in a file with this mode; `exposed`: others may come as far as to it."""
    check = "secret-open" if exposed and mode & _OTHERS else "secret-in-file"
    for path in paths:
        yield fault(check).found(path, path=path, file=file, mode=f"{mode:03o}")


def judge_own_file(file: str, reads: Iterable[Reading], matches: Iterable[bool]) -> Iterator[Finding]:
    """Judge whether the configuration becomes a document; `matches` tells of each source whether it means the file."""
    for reading, matched in zip(reads, matches, strict=True):
        if matched and inside(file, reading.folder):
            yield fault("configuration-indexed").found(f"{reading.key}.include")


def literal_secrets(node: Node, location: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the paths of secrets that stand in the file as they are."""
    if not isinstance(node, Tree):
        return
    known = keys_at(location)
    for name, (_, value) in node.entries.items():
        place = (*location, name)
        key = known.get(name)
        if isinstance(value, Scalar):
            if key is not None and _is_secret(key) and "${env:" not in value.text:
                yield ".".join(place)
        else:
            yield from literal_secrets(value, place)


def without_secrets(node: Node, location: tuple[str, ...] = ()) -> object:
    """Return what a configuration says, as plain values, without what is a secret or may be one."""
    if isinstance(node, Scalar):
        return "(a text with @: not shown)" if "@" in node.text else node.text
    if isinstance(node, Tree):
        known = keys_at(location)
        return {
            name: _hidden(known, name) or without_secrets(value, (*location, name))
            for name, (_, value) in node.entries.items()
        }
    return [without_secrets(item, location) for item in node.items]


def _hidden(known: Mapping[str, Key], name: str) -> str:
    """Say why a value is not shown; empty when it may be. A key that the schema does not know may hold anything."""
    if known and name not in known:
        return "(an unknown key: not shown)"
    return "(a secret: not shown)" if known and _is_secret(known[name]) else ""


def _is_secret(key: Key) -> bool:
    return SecretStr in (key.info.annotation, *arguments(key.info.annotation))


def _cure(error: Misconfigured) -> str:
    hint = error.hint or f"Write {error.expected}"
    return hint[:1].upper() + hint[1:]
