"""Judges what a configuration that loads says, PURE."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from msgspec.structs import replace
from pydantic import TypeAdapter, ValidationError

from headwater.doctor.faults import fault
from headwater.doctor.sources import Reading
from headwater.errors import Misconfigured
from headwater.observability.findings import Finding, in_order
from headwater.settings.addresses import is_loopback
from headwater.settings.embed import BUILT_IN, EmbedSettings
from headwater.settings.failures import Unfit
from headwater.settings.loading import scalar
from headwater.settings.nodes import Mapping as Tree
from headwater.settings.nodes import Node, Scalar, Sequence
from headwater.settings.outline import Key, keys, keys_at
from headwater.settings.schema import Settings
from headwater.settings.values import Section

_Context = Mapping[str, object]

_OTHERS = 0o044
_NOT_SHOWN = "(not shown)"
_GOT = re.compile(", got .*", re.DOTALL)
#: What sets off a password in a URL, or a value in a text that is not one of ours.
_MARKS = re.compile(r"[@?#=]")
_REFERENCE = re.compile(r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}")


def readings(settings: Settings) -> list[Reading]:
    """Return what the streams read from."""
    return [
        Reading(
            name,
            str(it.source.folder),
            it.source.choice,
            it.recipe.redact,
        )
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
        if settings.accounts and embed.account is None and embed.model not in BUILT_IN and not _is_here(embed):
            yield fault("account-none").found(name, known=next(iter(settings.accounts)))
        source = stream.source  # a network disk, which the kernel tells nothing of, has a fault of its own
        if source is not None and not source.watch and stream.freshness_s < source.rescan_s:
            freshness, rescan = f"{stream.freshness_s:g} s", f"{source.rescan_s:g} s"
            yield fault("freshness-rescan").found(name, freshness=freshness, rescan=rescan)


def judge_secrets(
    settings: Settings, paths: Iterable[str], file: str, mode: int, *, exposed: bool
) -> Iterator[Finding]:
    """Judge the secrets that stand in a file with this mode; `exposed`: others may come as far as to it."""
    check = "secret-open" if exposed and mode & _OTHERS else "secret-in-file"
    # What a model on this machine is given for a key opens nothing elsewhere.
    here = {f"streams.{name}.recipe.embed.key" for name, it in settings.streams.items() if _is_here(it.recipe.embed)}
    for path in paths:
        if path not in here:
            yield fault(check).found(path, path=path, file=file, mode=f"{mode:03o}")


def judge_own_file(taken: Iterable[Reading]) -> Iterator[Finding]:
    """Judge the sources that take the configuration for a document."""
    for reading in taken:
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
            if key is not None and key.secret and "${env:" not in value.text:
                yield ".".join(place)
        else:
            yield from literal_secrets(value, place)


def without_secrets(section: type[Section], node: Node, context: _Context) -> object:
    """Return what a section of a file that cannot be used says, as plain values. `context` is the schema's.

    What is shown is only what is valid by itself under a key that holds no secret, without the marks that set off
    passwords in a URL: a secret in a wrong place is not known as one.
    """
    if not isinstance(node, Tree):
        return _NOT_SHOWN
    known = keys(section)
    return {
        name: _shown(known[name], value, context) if name in known else "(an unknown key: not shown)"
        for name, (_, value) in node.entries.items()
    }


def _shown(key: Key, node: Node, context: _Context) -> object:
    if key.secret:
        return "(a secret: not shown)"
    if key.section is not None and isinstance(node, Tree):
        if not key.named:
            return without_secrets(key.section, node, context)
        inner = key.section
        return {
            name: without_secrets(inner, it, context) if isinstance(it, Tree) else _plain(inner, it, context)
            for name, (_, it) in node.entries.items()
        }
    kind, rules = key.info.annotation, key.info.metadata
    return _plain(Annotated[kind, *rules] if rules else kind, node, context)


def _plain(kind: Any, node: Node, context: _Context) -> object:
    """Return a scalar, or a list of some, that is valid as it stands."""
    scalars = node.items if isinstance(node, Sequence) else [node]
    texts = [it.text for it in scalars if isinstance(it, Scalar)]
    if len(texts) < len(scalars) or any(map(_MARKS.search, texts)):
        return _NOT_SHOWN
    if isinstance(node, Scalar) and _REFERENCE.fullmatch(node.text):
        return node.text
    try:
        values = [scalar(it, {}) for it in scalars if isinstance(it, Scalar)]
        value = tuple(values) if isinstance(node, Sequence) else values[0]
        TypeAdapter(kind).validate_python(value, strict=True, context=context)
    except (Unfit, ValidationError):
        return _NOT_SHOWN
    return value


def without_values(finding: Finding) -> Finding:
    """Leave out of what is wrong with the configuration the value that was found: a secret in a wrong place is one."""
    if finding.check != "configuration":
        return finding
    return replace(finding, what=_GOT.sub(f", got {_NOT_SHOWN}", finding.what))


def _is_here(embed: EmbedSettings) -> bool:
    """Tell whether a model answers on this machine; that of Ollama does unless something else is said."""
    return is_loopback(embed.url) if embed.url else embed.model.startswith("ollama/")


def _cure(error: Misconfigured) -> str:
    hint = error.hint or f"Write {error.expected}"
    return hint[:1].upper() + hint[1:]
