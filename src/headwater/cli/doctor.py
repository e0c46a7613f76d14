"""`headwater doctor`: looks at what the streams stand on, and says what to do."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from headwater.cli.failures import Exit
from headwater.cli.options import Config, Json, config_of, opened, perform
from headwater.cli.output import counted, say, tell, write_json
from headwater.cli.topics import connected, kafka_of
from headwater.journal import topics_of
from headwater.observability.findings import Finding, Severity, sound

if TYPE_CHECKING:
    from collections.abc import Callable

    from headwater.doctor.kafka import Examination
    from headwater.log.codecs.schemas import SchemaRegistry
    from headwater.settings.kafka import RegistrySettings
    from headwater.settings.stores import Store
    from headwater.wiring import Site


def doctor(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Look at the log that the streams stand on, and say what is wrong, why it matters, and what to do.

    Writes no record; on a Kafka it begins a transaction with an id of its own, to see that it may.

    Exit 1 with errors, 4 when the log cannot be reached. --json writes {"ok", "findings": [{"check", "subject",
    "severity", "what", "why", "next"}]}; severity is ok, warning or error.
    """
    perform(_doctor(config_of(context, config), json))


async def _doctor(config: Path, json: bool) -> int:
    from headwater.settings.kafka import KafkaLog

    async with opened(config) as site:
        log = site.settings.log
        if isinstance(log, KafkaLog):
            examination = await _kafka(site)
            findings, reached = examination.findings, examination.reached
        else:
            findings, reached = _sqlite(site, log), True
    if json:
        write_json({"ok": sound(findings), "findings": msgspec.to_builtins(findings)})
    else:
        for finding in findings:
            _show(finding)
        count = Counter(finding.severity for finding in findings)
        tell(f"{counted(count[Severity.ERROR], 'error')}, {counted(count[Severity.WARNING], 'warning')}")
    if not reached:
        return Exit.DEPENDENCY
    return Exit.OK if sound(findings) else Exit.FAILED


async def _kafka(site: Site) -> Examination:
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


def _sqlite(site: Site, log: Store) -> list[Finding]:
    from headwater.doctor.sqlite import FoundFile, judge_file

    owner = site.journal.worker()
    folder = log.path.parent
    found = FoundFile(
        path=str(log.path),
        size=log.path.stat().st_size if log.path.exists() else None,
        free=shutil.disk_usage(folder).free if folder.is_dir() else None,
        worker=owner.pid if owner else None,
    )
    return judge_file(found)


def _show(finding: Finding) -> None:
    say(f"{finding.severity.value:<9}{finding.check}: {finding.subject}: {finding.what}")
    if finding.why:
        say(f"{'':<9}  why: {finding.why}")
    if finding.next:
        say(f"{'':<9}  next: {finding.next}")
