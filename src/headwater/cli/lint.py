"""`headwater lint`: every error of the configuration, each with its place."""

from __future__ import annotations

from typing import Any

import typer

from headwater.cli.failures import Exit
from headwater.cli.options import Config, Json, config_of, site_of
from headwater.cli.output import tell, write_json
from headwater.cli.places import located
from headwater.errors import Misconfigured
from headwater.settings.failures import ConfigurationErrors
from headwater.wiring import Site


def lint(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Check the configuration; name every error with its place.

    Exit 3 when there is one. A source folder or a certificate that is not there is a warning: it may be mounted later.
    An order of changes (`version`) by which some may be lost is a warning too.
    --json writes {"ok", "errors", "warnings"}, each with file, line, column, path, expected, got, hint and code.
    """
    path = config_of(context, config)
    try:
        site = site_of(path)
    except ConfigurationErrors as failed:
        if not json:
            raise
        write_json({"ok": False, "errors": list(map(_shape, failed.errors)), "warnings": []})
        raise typer.Exit(Exit.CONFIGURATION) from None
    warnings = warnings_of(site)
    if json:
        write_json({"ok": True, "errors": [], "warnings": list(map(_shape, warnings))})
        return
    for warning in warnings:
        tell(f"{warning.place}: warning: {warning.path}: {warning.got} ({warning.hint})")
    tell(f"{path}: no errors")


def warnings_of(site: Site) -> list[Misconfigured]:
    """Return what a run would stumble over or quietly do otherwise, and what may yet be put right outside the file."""
    return [*_absent(site), *_orders(site)]


def _orders(site: Site) -> list[Misconfigured]:
    """Return the streams of Debezium that are ordered by where the database wrote a change.

    A transaction that is open while a snapshot begins writes before the snapshot's place and commits after it: by that
    order its changes are older than the rows that they change.
    """
    from headwater.settings.topic import unordered

    return [
        located(
            Misconfigured(
                f"streams.{name}.version",
                "this key left out",
                f"`{it.version}` is where a change was written, not when it was committed, so a change that commits "
                "while a snapshot begins may be taken for an older one and lost",
                hint="leave it out: all changes of a row have one key, and the topic has them in the right order",
            ),
            site.path,
        )
        for name, it in site.settings.streams.items()
        if it.topic
        and it.topic.envelope == "debezium"
        and (it.version or "").startswith(("source.", "__source_"))
        and not any(unordered(it.topic))
    ]


def _absent(site: Site) -> list[Misconfigured]:
    from headwater.settings.kafka import KafkaLog

    streams = site.settings.streams.items()
    folders = {f"streams.{name}.source.folder": it.source.folder for name, it in streams if it.source}
    files = site.settings.log.files if isinstance(site.settings.log, KafkaLog) else {}
    kinds = {**dict.fromkeys(folders, "folder"), **dict.fromkeys(files, "file")}
    return [
        located(
            Misconfigured(
                place,
                f"a {kinds[place]}",
                f"there is no {kinds[place]} {path}",
                hint="put it there before the first run, which fails without it",
            ),
            site.path,
        )
        for place, path in {**files, **folders}.items()
        if not path.exists()
    ]


def _shape(error: Misconfigured) -> dict[str, Any]:
    return {
        "file": error.file,
        "line": error.line,
        "column": error.column,
        "path": error.path,
        "expected": error.expected,
        "got": error.got,
        "hint": error.hint,
        "code": error.code,
    }
