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
    from headwater.doctor.kafka import Examination
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
    from contextlib import AsyncExitStack

    from headwater.doctor.kafka import KafkaSubject, examine

    log = kafka_of(site.settings)
    policy, streams = topics_of(site.settings, log)
    claims = None if log.oversized == "reject" else log.oversized.claim_check
    async with connected(site) as admin, AsyncExitStack() as opened:
        schemas = None
        if log.registry:
            from headwater.log.schema_registry import HttpSchemaRegistry

            schemas = HttpSchemaRegistry(log.registry.url, log.registry.login, log.registry.ca)
            opened.push_async_callback(schemas.close)
        subject = KafkaSubject(
            policy, streams, log.receipts == "transactional", log.rebalance == "consumer", claims, schemas
        )
        return await examine(admin, subject, site.clock)


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
