"""`headwater topics`: the topics that Headwater needs on a Kafka, and who may use them."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.failures import Exit
from headwater.cli.options import Config, Json, config_of, opened, perform
from headwater.cli.output import say, tell, write_json
from headwater.errors import Misconfigured
from headwater.journal import topics_of
from headwater.log.acls import ROLES, Grant, Role, grants
from headwater.log.topic_plan import Action, Consent, Step
from headwater.log.topics import topic_specs
from headwater.observability.findings import counted

if TYPE_CHECKING:
    from headwater.log.kafka_admin import KafkaAdmin
    from headwater.settings.kafka import KafkaLog
    from headwater.settings.schema import Settings
    from headwater.wiring import Site

topics = typer.Typer(
    name="topics",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Plan and make the topics on a Kafka, and print the rights that they need.",
)

Adopt = Annotated[bool, typer.Option("--adopt", help="Take topics as Headwater's own that it did not make.")]
Grow = Annotated[bool, typer.Option("--grow", help="Add partitions. A new log epoch begins.")]
Trim = Annotated[bool, typer.Option("--trim", help="Let settings go by which records go that are kept today.")]


@topics.command()
def plan(
    context: typer.Context,
    adopt: Adopt = False,
    grow: Grow = False,
    trim: Trim = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Show what `apply` would do, each setting with its reason. Changes nothing.

    Exit 1 when a step is refused. --json writes {"steps", "absent"}; `absent` are other systems' topics that cannot be
    seen.
    """
    perform(_plan(config_of(context, config), Consent(adopt, grow, trim), json))


@topics.command()
def apply(
    context: typer.Context,
    adopt: Adopt = False,
    grow: Grow = False,
    trim: Trim = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Make the topics that are missing, and set what is not as it shall be.

    It may be repeated. Exit 1 when a step is refused: the others are taken. --json writes {"done", "left", "absent"}.
    """
    perform(_apply(config_of(context, config), Consent(adopt, grow, trim), json))


@topics.command()
def acl(
    context: typer.Context,
    principal: Annotated[
        str, typer.Option("--principal", metavar="PRINCIPAL", help="Who gets the rights.")
    ] = "User:headwater",
    role: Annotated[Role | None, typer.Option("--role", help="One role; else all, each under its name.")] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Print the rights that each role needs, and no more, as calls of kafka-acls.sh. Asks no broker.

    --json writes {"principal", "roles": {ROLE: [{"resource", "name", "pattern", "operations", "arguments"}]}}.
    """
    perform(_acl(config_of(context, config), principal, role, json))


async def _plan(config: Path, consent: Consent, json: bool) -> int:
    from headwater.log.kafka_admin import look, measured

    async with opened(config) as site, connected(site) as admin:
        policy, wanted = topics_of(site.settings, kafka_of(site.settings))
        streams, absent = await measured(admin, wanted)
        steps = await look(admin, topic_specs(policy, streams), consent)
    if json:
        write_json({"steps": list(map(_shape, steps)), "absent": absent})
    else:
        _show(steps)
    return _end(steps, absent, json)


async def _apply(config: Path, consent: Consent, json: bool) -> int:
    from headwater.log.kafka_admin import bring, measured

    done: list[Step] = []

    def took(step: Step) -> None:
        done.append(step)
        if not json:
            say(f"{_DONE[step.action]} {step.spec.name}: {step.detail}")

    async with opened(config) as site, connected(site) as admin:
        policy, wanted = topics_of(site.settings, kafka_of(site.settings))
        streams, absent = await measured(admin, wanted)
        left = await bring(admin, topic_specs(policy, streams), consent, took)
    if json:
        write_json({"done": list(map(_shape, done)), "left": list(map(_shape, left)), "absent": absent})
    else:
        _show(left)
        if not done and not left:
            tell("all topics are as they shall be")
    return _end(left, absent, json)


async def _acl(config: Path, principal: str, role: Role | None, json: bool) -> None:
    async with opened(config) as site:
        log = kafka_of(site.settings)
        _, streams = topics_of(site.settings, log)
    needed = {it: grants(it, log.prefix, streams) for it in ([role] if role else Role)}
    if json:
        roles = {it.value: [_grant(grant, principal) for grant in those] for it, those in needed.items()}
        write_json({"principal": principal, "roles": roles})
        return
    for it, those in needed.items():
        say(f"# {it.value}: {ROLES[it]}")
        for grant in those:
            call = ["kafka-acls.sh", "--bootstrap-server", ",".join(log.brokers), *grant.arguments(principal)]
            say(shlex.join(call))


# --- from the settings


def kafka_of(settings: Settings) -> KafkaLog:
    """Return the Kafka that is the log. Raise Misconfigured when it is another kind of log."""
    from headwater.settings.kafka import KafkaLog

    log = settings.log
    if not isinstance(log, KafkaLog):
        raise Misconfigured("log", "kafka://HOST:PORT", str(log), hint="a log in SQLite has no topics: nothing to do")
    return log


@asynccontextmanager
async def connected(site: Site) -> AsyncIterator[KafkaAdmin]:
    """Connect to the Kafka, and let go of it."""
    log = kafka_of(site.settings)
    _ = site.journal  # says so when Kafka's client is not installed
    from headwater.log.kafka_admin import KafkaAdmin

    admin = KafkaAdmin(log.client(), site.clock)
    try:
        yield admin
    finally:
        await admin.close()


# --- output

_DONE = {
    Action.CREATE: "made",
    Action.DECLARE: "declared",
    Action.ALTER: "altered",
    Action.GROW: "grew",
}


def _end(steps: Sequence[Step], absent: Sequence[str], json: bool) -> int:
    refused = [step for step in steps if step.action is Action.REFUSED]
    for topic in absent:
        tell(f"{topic}: cannot be seen. The system that writes it makes it: check `topic:` and the rights on it")
    if refused and json:
        tell(f"{counted(len(refused), 'step')} refused")
    return Exit.FAILED if refused or absent else Exit.OK


def _show(steps: Sequence[Step]) -> None:
    told: dict[tuple[tuple[str, str], ...], str] = {}
    for step in steps:
        say(f"{step.action.value:<9}{step.spec.name}: {step.detail}")
        if step.action is Action.CREATE:
            first = told.setdefault(tuple(step.spec.config.items()), step.spec.name)
            if first != step.spec.name:
                _more(f"set as {first}")
            for setting, value in step.spec.config.items() if first == step.spec.name else ():
                _more(f"{setting} {value}: {step.spec.reasons[setting]}")
        if step.cure:
            _more(step.cure)


def _more(line: str) -> None:
    say(f"{'':<11}{line}")


def _shape(step: Step) -> dict[str, Any]:
    return {
        "action": step.action.value,
        "topic": step.spec.name,
        "purpose": step.spec.purpose,
        "partitions": step.spec.partitions,
        "replication": step.spec.replication,
        "settings": {
            name: {"value": value, "reason": step.spec.reasons[name]} for name, value in step.spec.config.items()
        },
        "alterations": [
            {"setting": it.setting, "found": it.found, "wanted": it.wanted, "reason": it.reason}
            for it in step.alterations
        ],
        "detail": step.detail,
        "cure": step.cure or None,
    }


def _grant(grant: Grant, principal: str) -> dict[str, Any]:
    return {
        "resource": grant.resource.value,
        "name": grant.name,
        "pattern": "prefixed" if grant.prefixed else "literal",
        "operations": sorted(grant.operations),
        "arguments": grant.arguments(principal),
    }
