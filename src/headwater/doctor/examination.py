"""Examines all that stands between a configuration and a search: looks, and has what is found judged.

Looks run beside each other, each within its time; one that fails is a finding, and never ends the others. Nothing is
changed. A model is asked for the vectors of fixed texts, and never for a document's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from headwater.doctor.faults import FAULTS, Group, fault
from headwater.doctor.files import FoundFile, Shape, judge_file, sound_file
from headwater.doctor.files_look import look_at_file, named_files
from headwater.doctor.machine import judge_machine
from headwater.doctor.machine_look import look_at_machine
from headwater.doctor.models import judge_drift, judge_model
from headwater.doctor.models_look import ask_model, asked_of
from headwater.doctor.settings import (
    judge_errors,
    judge_own_file,
    judge_secrets,
    judge_settings,
    judge_warnings,
    literal_secrets,
    readings,
)
from headwater.doctor.settings_look import look_at_text
from headwater.doctor.sources import FoundFolder, Reading, around, judge_folder, judge_places
from headwater.doctor.sources_look import look_at_folder, takes
from headwater.doctor.streams import judge_stream
from headwater.doctor.streams_look import look_at_stream
from headwater.doctor.threads import Unawaited
from headwater.embedding.cache_sqlite import SCHEMA as CACHE
from headwater.embedding.witness import likeness
from headwater.errors import HeadwaterError, Misconfigured, Retry, Unreachable
from headwater.indexes.sqlite_schema import SCHEMA as INDEX
from headwater.log.sqlite_schema import VERSION as LOG_VERSION
from headwater.observability.findings import Finding, Severity, failure, in_order, sound, warning
from headwater.settings.failures import ConfigurationErrors
from headwater.settings.stores import Store
from headwater.wiring import Site, recipe_of

if TYPE_CHECKING:
    from headwater.doctor import kafka
    from headwater.doctor.models import AskedModel, Outcome
    from headwater.settings.embed import EmbedSettings

T = TypeVar("T")

#: Whatever a look waits for, it ends after so long.
_LOOK_S = 20.0

_KNOWN = {"log": LOG_VERSION, INDEX.part: INDEX.version, CACHE.part: CACHE.version}
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.OK: 2}


@dataclass
class Examination:
    """What was found, by groups. `loaded`: the configuration could be used; `reached`: so could the log."""

    found: dict[Group, list[Finding]] = field(default_factory=lambda: {group: [] for group in Group})
    loaded: bool = True
    reached: bool = True

    def note(self, group: Group, findings: Iterable[Finding]) -> None:
        """Add findings: each to the group of its fault, and what is no fault to `group`."""
        for finding in findings:
            known = FAULTS.get(finding.check)
            self.found[known.group if known and finding.severity is not Severity.OK else group].append(finding)

    @property
    def groups(self) -> dict[Group, list[Finding]]:
        """The findings by groups, in the order in which they stand in the way; errors first."""
        return {group: sorted(some, key=lambda it: _ORDER[it.severity]) for group, some in self.found.items() if some}

    @property
    def findings(self) -> list[Finding]:
        """All findings, in that order."""
        return [finding for some in self.groups.values() for finding in some]


@dataclass(frozen=True)
class Ways:
    """How the command line opens a configuration, what `lint` warns of, where an error stands, and how a Kafka is
    examined.
    """

    open: Callable[[Path], Site]
    warnings: Callable[[Site], list[Misconfigured]]
    located: Callable[[Misconfigured, Path], Misconfigured]
    kafka: Callable[[Site], Awaitable[kafka.Examination]]


async def examine(config: Path, ways: Ways) -> Examination:
    """Examine what a configuration file names. Raises nothing for what it finds.

    What runs in threads is not waited for when the running loop ends.
    """
    asyncio.get_running_loop().set_default_executor(Unawaited())
    examination = Examination()
    try:
        site = ways.open(config)
    except ConfigurationErrors as failed:
        examination.loaded = False
        examination.note(Group.CONFIGURATION, judge_errors(failed.errors))
        examination.note(Group.MACHINE, judge_machine(look_at_machine(), streams=1, folders=0))
        return examination
    try:
        await _Examiner(site, config, ways, examination).run()
    finally:
        await site.close()
    return examination


class _Examiner:
    """One examination of one site."""

    def __init__(self, site: Site, config: Path, ways: Ways, examination: Examination) -> None:
        self._site = site
        self._config = config.absolute()
        self._ways = ways
        self._out = examination
        self._reads = readings(site.settings)

    async def run(self) -> None:
        """Look at what is independent of each other, then at what lies behind it."""
        _, folders, found, outcomes, _ = await asyncio.gather(
            self._guarded(Group.CONFIGURATION, "configuration", self._settings),
            self._folders(),
            self._files(),
            self._models(),
            self._guarded(Group.LOG, self._log_name, self._log),
        )
        await self._guarded(Group.MACHINE, "machine", partial(self._machine, folders))
        self._judge_sources(folders)
        self._judge_files(found, {it.reading.stream for it in folders if it.private})
        files = {it.named.path: it for it in found}
        await asyncio.gather(
            *(
                self._guarded(Group.STREAMS, name, partial(self._stream, name, outcomes.get(name), files))
                for name in self._site.streams
            )
        )

    # --- looks that stand alone

    async def _settings(self) -> None:
        site, config = self._site, self._config
        self._out.note(Group.CONFIGURATION, judge_settings(site.settings, str(config)))
        # A source folder that is not there is found with the sources.
        warnings = await asyncio.to_thread(self._ways.warnings, site)
        warned = [it for it in warnings if not it.path.endswith(".source.folder")]
        self._out.note(Group.CONFIGURATION, judge_warnings(warned))
        text = await asyncio.to_thread(look_at_text, config)
        secrets = list(literal_secrets(text.root)) if text.root else []
        judged = judge_secrets(site.settings, secrets, str(config), text.mode, exposed=text.exposed)
        self._out.note(Group.CONFIGURATION, judged)
        self._out.note(Group.CONFIGURATION, judge_own_file(await asyncio.to_thread(self._taking, config)))

    def _taking(self, config: Path) -> list[Reading]:
        return [it for it in self._reads if takes(it, config)]

    async def _machine(self, folders: list[FoundFolder]) -> None:
        found = await asyncio.to_thread(look_at_machine)
        number = sum(it.folders for it in folders)
        self._out.note(Group.MACHINE, judge_machine(found, streams=len(self._site.streams), folders=number))

    async def _folders(self) -> list[FoundFolder]:
        looks = (
            self._guarded(
                Group.SOURCES,
                it.folder,
                partial(asyncio.to_thread, look_at_folder, it, self._site.clock, around(it, self._reads)),
            )
            for it in self._reads
        )
        return [it for it in await asyncio.gather(*looks) if it]

    async def _files(self) -> list[FoundFile]:
        looks = (
            self._guarded(Group.FILES, it.path, partial(asyncio.to_thread, look_at_file, it, self._site.clock))
            for it in named_files(self._site.settings)
        )
        return [it for it in await asyncio.gather(*looks) if it]

    @property
    def _log_name(self) -> str:
        log = self._site.settings.log
        return str(log.path) if isinstance(log, Store) else "kafka"

    async def _log(self) -> None:
        if isinstance(self._site.settings.log, Store):
            owner = await asyncio.to_thread(self._site.journal.worker)
            running = f"process {owner.pid} works on it" if owner else "none runs: `headwater run` starts one"
            self._out.note(Group.LOG, [in_order("worker", self._log_name, running)])
            return
        self._out.reached = False  # unless it says otherwise
        examined = await self._ways.kafka(self._site)
        self._out.reached = examined.reached
        self._out.note(Group.LOG, examined.findings)

    # --- models

    async def _models(self) -> dict[str, Outcome]:
        """Ask each model once, however many streams share it; return what came of it by stream."""
        asked = self._asked()
        outcomes = await asyncio.gather(
            *(self._guarded(Group.MODELS, one.model, partial(ask_model, self._site, one)) for one, _ in asked)
        )
        by_stream: dict[str, Outcome] = {}
        for (one, streams), outcome in zip(asked, outcomes, strict=True):
            if outcome is not None:
                self._out.note(Group.MODELS, judge_model(one, self._placed(outcome)))
                by_stream |= dict.fromkeys(streams, outcome)
        return by_stream

    def _placed(self, outcome: Outcome) -> Outcome:
        """Add the place in the file to what a provider has against the settings."""
        if not isinstance(outcome.error, Misconfigured):
            return outcome
        return replace(outcome, error=self._ways.located(outcome.error, self._config))

    def _asked(self) -> list[tuple[AskedModel, list[str]]]:
        groups: list[tuple[EmbedSettings, list[str]]] = []
        streams = self._site.settings.streams
        for name, stream in streams.items():
            same = next((names for embed, names in groups if embed == stream.recipe.embed), None)
            if same is None:
                groups.append((stream.recipe.embed, [name]))
            else:
                same.append(name)
        found = []
        for embed, names in groups:
            longest, named = max((recipe_of(streams[name], 0, "").longest, name) for name in names)
            found.append((asked_of(named, embed, longest, streams[named].recipe.chunk.overlap), names))
        return found

    # --- judging what was found together

    def _judge_sources(self, folders: list[FoundFolder]) -> None:
        for it in folders:
            self._out.note(Group.SOURCES, judge_folder(it))
        self._out.note(Group.SOURCES, judge_places(self._reads, named_files(self._site.settings)))

    def _judge_files(self, found: list[FoundFile], private: set[str]) -> None:
        streams = self._site.settings.streams
        for it in found:
            concerned = [
                name
                for name in private
                if "index" not in it.named.roles or str(streams[name].index.path) == it.named.path
            ]
            self._out.note(Group.FILES, judge_file(it, _KNOWN, min(concerned, default="")))

    # --- what lies behind log, index and model

    async def _stream(self, name: str, outcome: Outcome | None, found: Mapping[str, FoundFile]) -> None:
        site, log = self._site, self._site.settings.log
        index = found.get(str(site.settings.streams[name].index.path))
        if index is None or not (sound_file(index, _KNOWN) or index.shape is Shape.NOTHING):
            return  # what is wrong with it was said
        if isinstance(log, Store):
            file = found.get(str(log.path))
            if file is not None and file.shape is Shape.NOTHING and await site.generations(name):
                self._out.note(Group.FILES, [fault("log-missing").found(str(log.path), index=index.named.path)])
            if file is None or not sound_file(file, _KNOWN):
                return
        elif not self._out.reached or not sound(self._out.found[Group.LOG]):
            return  # what is wrong with it stands in the way
        answers = outcome is not None and outcome.error is None
        self._out.note(Group.STREAMS, judge_stream(await look_at_stream(site, name, model_answers=answers)))
        if outcome is not None and outcome.probes and (kept := await site.probes(name)):
            self._out.note(Group.INDEXES, judge_drift(name, likeness(kept, outcome.probes)))

    async def _guarded(self, group: Group, subject: str, look: Callable[[], Awaitable[T]]) -> T | None:
        """Look within its time. What fails becomes a finding."""
        why = "what lies behind it was not looked at"
        try:
            async with asyncio.timeout(_LOOK_S):
                return await look()
        except (Retry, Unreachable) as error:
            cure = error.cure if isinstance(error, Unreachable) else "Try again when it is back"
            # A stream may well go on where whoever asks has fewer rights than its worker.
            judge = warning if group is Group.STREAMS else failure
            self._out.note(group, [judge("look", subject, error.cause, why, cure or "See to it, and ask again")])
        except HeadwaterError as error:
            self._out.note(group, [failure("look", subject, str(error), why, "Mend this first, and ask again")])
        except TimeoutError:
            what = f"it could not be looked at within {_LOOK_S:g} s"
            self._out.note(group, [warning("look", subject, what, why, "Try again when the machine has less to do")])
        except Exception as error:  # noqa: BLE001 (a defect of one look must not hide what the others found)
            what = f"it could not be looked at: {type(error).__name__}"
            self._out.note(group, [warning("look", subject, what, why, "Report it as a defect of Headwater")])
        return None
