"""`headwater search`: asks the serving index generation."""

from __future__ import annotations

import json as standard_json
import shutil
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.failures import Mistake
from headwater.cli.options import Config, Json, Stream, config_of, opened, perform
from headwater.cli.output import say, tell, write_json
from headwater.journal import GENERATION
from headwater.settings.failures import listed

_INDENT = " " * 3
_SNIPPET_LINES = 2
_NARROWEST = 20


def search(
    context: typer.Context,
    stream: Stream,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, metavar="N", help="How many hits at most.")] = 10,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="KEY=VALUE", help="Only with this in the payload; VALUE is JSON, else a text."),
    ] = None,
    groups: Annotated[
        str | None, typer.Option("--as", metavar="GROUP,...", help="For streams that declare access.")
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Search a stream: the best chunks with their documents.

    --json writes {"stream", "generation", "hits": [{"id", "chunk", "text", "score", "version", "payload"}]}.
    """
    if groups is not None:
        raise Mistake(f"stream {stream!r} declares no access, so there is nothing to search `--as`: leave it out")
    if not query.strip():
        raise Mistake("the query is empty: say what to look for")
    wanted = dict(map(_condition, where or []))
    perform(_search(config_of(context, config), stream, query, k, wanted, json))


def _condition(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise Mistake(f"--where takes KEY=VALUE, not {text!r}")
    try:
        wanted = standard_json.loads(value)
    except ValueError:
        return key, value
    try:
        standard_json.dumps(wanted, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Mistake(f"--where {text!r} holds a lone surrogate") from None
    return key, wanted


async def _search(config: Path, stream: str, query: str, k: int, where: dict[str, Any], json: bool) -> None:
    from headwater.retrieval.search import hit_shape

    async with opened(config, stream) as site:
        _check_fields(stream, site.settings.streams[stream].recipe.payload, where)
        hits = await site.retriever(stream).search(query, k, where)
    if json:
        write_json({"stream": stream, "generation": GENERATION, "hits": list(map(hit_shape, hits))})
        return
    for rank, hit in enumerate(hits, 1):
        title = hit.manifest.payload.get("title")
        say(f"{rank}. {hit.score:.3f}  {hit.manifest.id}" + (f"  {title}" if isinstance(title, str) else ""))
        for line in _snippet(hit.text, shutil.get_terminal_size().columns):
            say(line)
    if not hits:
        tell("nothing was found")


def _check_fields(stream: str, fields: Iterable[str], where: Iterable[str]) -> None:
    """Refuse a field that no document can have: it would find nothing, and look like an answer."""
    names = list(fields)
    for unknown in (key for key in where if key not in names):
        has = f"its fields are {listed(names, 'and')}" if names else "its recipe maps no fields"
        raise Mistake(f"--where: the payload of stream {stream!r} has no field {unknown!r}; {has}")


def _snippet(text: str, columns: int) -> list[str]:
    """Return the beginning of a chunk as it fits below its title."""
    return textwrap.wrap(
        " ".join(text.split()),
        max(columns, _NARROWEST),
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        max_lines=_SNIPPET_LINES,
        placeholder=" …",
    )
