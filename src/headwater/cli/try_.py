"""`headwater try`: what the recipe makes of a file, without running or writing anything."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.failures import Exit, Mistake
from headwater.cli.options import Config, Json, config_of, opened, perform
from headwater.cli.output import write_json
from headwater.errors import HeadwaterError, Reject, Unreachable
from headwater.settings.failures import listed

if TYPE_CHECKING:
    from headwater.documents.port import Extracted
    from headwater.embedding.port import Description
    from headwater.model.document import Fingerprints
    from headwater.recipe.trial import Trial
    from headwater.settings.schema import RecipeSettings
    from headwater.wiring import Site

_STDIN = Path("-")
#: A document is read within two attempts, the longer one of two minutes.
_READING_S = 200.0


def try_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A document; - is stdin.")],
    stream: Annotated[
        str | None,
        typer.Option("--stream", metavar="NAME", help="Whose recipe; that of the file's folder if left out."),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Show what a stream's recipe makes of a file. Nothing is run or written, and no service is asked.

    What was redacted is shown by kind and place, never itself. Exit 1 when the file would be rejected, and when the
    stream's folder, in which it is, leaves it out.
    --json writes {"stream", "id", "type", "format", "characters", "text",
    "redacted": [{"kind", "start", "end", "line", "column"}], "rejected", "filtered",
    "chunks": [{"text", "context", "overlap", "start", "end", "tokens", "too_long"}], "payload",
    "fingerprints": {"text", "chunk", "model", "payload"}, each {"digest", "covers"}}. Places of what was redacted are
    those in the text as it was read, those of chunks in "text", which is what is left. "tokens" is null where the
    tokenizer is not known here, "type" and "format" are where the file cannot be read.
    """
    perform(_try(config_of(context, config), file, stream, json))


async def _try(config: Path, file: Path, stream: str | None, json: bool) -> int:
    async with opened(config, stream) as site:
        name = stream or _stream_of(site, file)
        recipe, redactor, model, count = _parts(site, name)
        settings = site.settings.streams[name].recipe
        trial = _attempt(site, name, file, recipe, redactor, count)
        shape = _shape(name, trial, model, recipe.fingerprints, settings)
    if json:
        write_json(shape)
    else:
        from headwater.cli.trial_view import show

        show(shape)
    return Exit.FAILED if trial.rejected else Exit.OK


def _attempt(site: Site, stream: str, file: Path, recipe: Any, redactor: Any, count: Any) -> Trial:
    from headwater.recipe.extract import format_of
    from headwater.recipe.trial import Trial, attempt

    below = _below(site, stream, file)
    document = below or ("stdin" if file == _STDIN else file.name)
    try:
        data = _bytes(file)
        if below:
            _check_wanted(site, stream, below)
        extracted = _read(document, data)
    except Reject as error:
        name, reason = (redactor.text(it) if redactor else it for it in (document, error.reason))
        return Trial(id=name, rejected=reason)
    body = extracted.body(document)
    form = format_of(document, body, site.settings.streams[stream].recipe.format)
    return attempt(document, body, form, recipe, redactor, count)


def _check_wanted(site: Site, stream: str, below: str) -> None:
    """Raise Reject when the stream's folder leaves out a file that is in it."""
    from headwater.sources.selecting import Selection

    source = site.settings.streams[stream].source
    assert source is not None, "a file is below it"
    if reason := Selection(source.folder, source.choice).why_left_out(below):
        raise Reject(f"the folder leaves it out: {reason}")


def _read(name: str, data: bytes) -> Extracted:
    """Make text of a file's bytes, as the folder source does. Raise Reject with what is wrong with them."""
    from headwater.documents.plain import plain
    from headwater.documents.reader import SandboxedReader

    text = plain(name, data)
    if text is not None:
        return text
    reader = SandboxedReader()
    try:
        reader.ask(name, None, lambda: data)
        answers = reader.answers(_READING_S)
    finally:
        reader.close()
    outcome = answers[0].outcome if answers else None
    if isinstance(outcome, HeadwaterError):
        raise outcome
    assert outcome is not None, "the reader's limits end before this does"
    return outcome


def _bytes(file: Path) -> bytes:
    """Read a file. Raise Reject when it is larger than a document may be."""
    from headwater.sources.scan import MAX_FILE_BYTES, TOO_LARGE

    try:
        if file == _STDIN:
            data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        elif not stat.S_ISREG(file.stat().st_mode):
            raise Mistake(f"{file} is no regular file: pipe its content to `headwater try -`")
        else:
            with file.open("rb") as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Mistake(f"{file}: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise Reject(TOO_LARGE)
    return data


def _stream_of(site: Site, file: Path) -> str:
    """Return the stream whose folder the file is in, or the only one."""
    inside = [name for name in site.streams if _below(site, name, file)]
    if inside or len(site.streams) == 1:
        return inside[0] if inside else site.streams[0]
    raise Mistake(f"say whose recipe is meant: --stream with one of {listed(list(site.streams))}")


def _below(site: Site, stream: str, file: Path) -> str | None:
    """Return the file's path below the stream's folder, if it is there."""
    source = site.settings.streams[stream].source
    if source is None or file == _STDIN:
        return None
    # As it is written first: where a link in the folder leads says nothing of the folder.
    for path, root in ((_plain(file), _plain(source.folder)), (file.resolve(), source.folder.resolve())):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return None


def _plain(path: Path) -> Path:
    """Return an absolute path, links not followed."""
    return Path(os.path.normpath(path.absolute()))


def _parts(site: Site, stream: str) -> tuple[Any, Any, Description | None, Any]:
    """Return the recipe, the redactor, and of the model what can be told without asking anybody."""
    from headwater.journal import redactor_of
    from headwater.wiring import recipe_of

    settings = site.settings.streams[stream]
    embedder = site.embedder(stream)
    try:
        model = embedder.describe()
    except RuntimeError:  # it describes itself after its service was asked
        model = None
    count = getattr(embedder, "count", None)
    try:
        if count is not None:
            count("")
    except Unreachable:  # its files are not here
        count = None
    return recipe_of(settings, 1, model.fingerprint if model else ""), redactor_of(settings), model, count


def _shape(
    stream: str, trial: Trial, model: Description | None, prints: Fingerprints, settings: RecipeSettings
) -> dict[str, Any]:
    limit = model.max_text_tokens if model else None
    chunk = settings.chunk
    embed = settings.embed
    covers = {
        "text": {"filter": settings.filter, "redact": list(settings.redact), "rules": trial.rules},
        "chunk": {
            **{name: getattr(chunk, name) for name in ("size", "minimum", "maximum", "overlap")},
            "format": settings.format,
            "title": settings.payload["title"].from_ if "title" in settings.payload else None,
        },
        "model": {"model": embed.model, "revision": embed.revision, "dimensions": embed.dimensions},
        "payload": {name: it.from_ for name, it in settings.payload.items()},
    }
    return {
        "stream": stream,
        "id": trial.id,
        "type": trial.type,
        "format": trial.format,
        "characters": len(trial.text),
        "text": trial.text,
        "redacted": [it._asdict() for it in trial.redacted],
        "rejected": trial.rejected,
        "filtered": trial.filtered,
        "chunks": [
            {**it._asdict(), "too_long": limit is not None and it.tokens is not None and it.tokens > limit}
            for it in trial.chunks
        ],
        "payload": trial.payload,
        "fingerprints": {part: {"digest": (getattr(prints, part) or None), "covers": covers[part]} for part in covers},
    }
