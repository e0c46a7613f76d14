"""`headwater doctor`: looks at all that stands between a configuration and a search, and says what to do."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from headwater.cli.failures import Exit, Failure
from headwater.cli.lint import warnings_of
from headwater.cli.options import Config, Json, config_of, perform, site_of
from headwater.cli.output import say, tell, write_json
from headwater.cli.places import located
from headwater.cli.topics import connected, kafka_of
from headwater.journal import topics_of
from headwater.observability.findings import Finding, Severity, counted, sound

if TYPE_CHECKING:
    from collections.abc import Callable

    from headwater.doctor.examination import Examination, Ways
    from headwater.doctor.kafka import Examination as KafkaExamination
    from headwater.log.codecs.schemas import SchemaRegistry
    from headwater.settings.kafka import RegistrySettings
    from headwater.wiring import Site

_MARKS = {Severity.OK: "\N{CHECK MARK}", Severity.WARNING: "!", Severity.ERROR: "\N{BALLOT X}"}
_PLAIN = {Severity.OK: "ok", Severity.WARNING: "!", Severity.ERROR: "x"}


def doctor(
    context: typer.Context,
    json: Json = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="FILE",
            help="Also write a zip archive for a bug report: findings, configuration without secrets, versions.",
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Look at all that stands between the configuration and a search: say what is wrong, why it matters, what to do.

    Looks at the machine, the configuration, the source folders, the files, the log, the models, the indexes and the
    streams. Writes no record and changes nothing; on a Kafka it begins a transaction with an id of its own, to see that
    it may. Models are asked for the vectors of fixed texts, never of a document's.

    Exit 1 with errors, 3 when the configuration cannot be used, 4 when the log cannot be reached. --json writes {"ok",
    "findings": [{"check", "subject", "severity", "what", "why", "next"}]}; severity is ok, warning or error. What
    stands in the way of the rest comes first.
    """
    perform(_doctor(config_of(context, config), json, bundle))


async def _doctor(config: Path, json: bool, bundle: Path | None) -> int:
    from headwater.doctor.examination import examine

    found = await examine(config, ways())
    if json:
        write_json({"ok": sound(found.findings), "findings": msgspec.to_builtins(found.findings)})
    else:
        _show(found)
    if bundle is not None:
        _write(bundle, found, config)
    if not found.loaded:
        return Exit.CONFIGURATION
    if not found.reached:
        return Exit.DEPENDENCY
    return Exit.OK if sound(found.findings) else Exit.FAILED


def ways() -> Ways:
    """Return how the doctor comes to what it looks at."""
    from headwater.doctor.examination import Ways

    return Ways(site_of, warnings_of, located, _kafka)


async def _kafka(site: Site) -> KafkaExamination:
    _ = site.journal  # says so when Kafka's client is not installed
    from headwater.doctor.kafka import KafkaSubject, examine
    from headwater.settings.topic import with_schemas

    log = kafka_of(site.settings)
    policy, streams = topics_of(site.settings, log)
    claims = None if log.oversized == "reject" else log.oversized.claim_check
    needed = any(it.topic and with_schemas(it.topic) for it in site.settings.streams.values())
    schemas = _schemas_of(log.registry) if log.registry and needed else None
    subject = KafkaSubject(
        policy, streams, log.receipts == "transactional", log.rebalance == "consumer", claims, schemas
    )
    async with connected(site) as admin:
        return await examine(admin, subject, site.clock)


def _schemas_of(registry: RegistrySettings) -> Callable[[], SchemaRegistry]:
    def reached() -> SchemaRegistry:
        from headwater.log.schema_registry import HttpSchemaRegistry

        return HttpSchemaRegistry(registry.url, registry.login, registry.ca)

    return reached


def _write(bundle: Path, found: Examination, config: Path) -> None:
    from headwater.doctor.bundle import write_bundle

    try:
        names = write_bundle(bundle, found.findings, config)
    except FileExistsError:
        raise Failure(f"{bundle} exists already: nothing was changed. Name another file") from None
    except OSError as error:
        raise Failure(f"{bundle}: {error.strerror or error}. Check the path and its permissions") from error
    tell(f"wrote {bundle}: {', '.join(names)}. Look through it before you send it: paths and names are in it")


def _show(found: Examination) -> None:
    marks = _marks()
    for group, findings in found.groups.items():
        say(group.value)
        for finding in findings:
            _show_one(finding, marks[finding.severity])
    _sum_up(found.findings)


def _show_one(finding: Finding, mark: str) -> None:
    say(f"  {mark} {finding.check}: {finding.subject}: {finding.what}")
    if finding.why:
        say(f"      why: {finding.why}")
    if finding.next:
        say(f"      next: {finding.next}")


def _sum_up(findings: Iterable[Finding]) -> None:
    count = Counter(finding.severity for finding in findings)
    tell(f"{counted(count[Severity.ERROR], 'error')}, {counted(count[Severity.WARNING], 'warning')}")


def _marks() -> dict[Severity, str]:
    """Return the marks that the terminal can show."""
    try:
        "".join(_MARKS.values()).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return _PLAIN
    return _MARKS
