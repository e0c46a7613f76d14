"""The log that a configuration names, whichever kind it is: one factory for SQLite and for Kafka."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol

from headwater.clock import Clock, Ids
from headwater.errors import Unreachable
from headwater.log.codecs.records import TRACE_HEADER
from headwater.log.labels import LabellingWriter

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from headwater.embedding.sharing.port import Shares
    from headwater.engine.ordering import Waiting
    from headwater.log.claims import ClaimFolder, Claims
    from headwater.log.codecs.layout import Layout
    from headwater.log.codecs.schemas import SchemaBook
    from headwater.log.kafka import KafkaLog
    from headwater.log.learning import Learning
    from headwater.log.port import Ledger, LogHistory, LogReader, LogWriter, Registry
    from headwater.log.schema_registry import HttpSchemaRegistry
    from headwater.log.sqlite import SqliteLog
    from headwater.log.sqlite_lock import Owner
    from headwater.log.topics import Policy, StreamLog
    from headwater.model.change import Record
    from headwater.model.registry import Epoch
    from headwater.observability.signals import Emit
    from headwater.recipe.redact.redactor import Redactor
    from headwater.settings.kafka import KafkaLog as KafkaSettings
    from headwater.settings.schema import Settings, StreamSettings

    Decode = Callable[[Record, tuple[Epoch, ...]], Waiting]

#: The one index generation of a stream in this version.
GENERATION = 1


class Journal(Protocol):
    """Makes what works with the log. With `create` false nothing is made that is not there: Unreachable says so.

    `offsets_apart`: the group's committed offsets are kept apart from the log, and stay when that is rewound.
    """

    offsets_apart: bool

    def reader(self, stream: str, emit: Emit) -> LogReader: ...

    def writer(self, stream: str, trace: str) -> LogWriter:
        """Return a writer whose records carry the trace (W3C `traceparent`) that they belong to, if any."""
        ...

    def history(self, stream: str, *, create: bool) -> LogHistory: ...

    def ledger(self, stream: str, *, create: bool) -> Ledger: ...

    def registry(self, *, create: bool) -> Registry: ...

    def shares(self) -> Shares | None:
        """Return how its workers divide the accounts that they use; None where there is only one worker."""
        ...

    def decode(self, stream: str) -> Decode:
        """Return what reads a stream's records."""
        ...

    def uncompacted(self, stream: str) -> str:
        """Say why a stream's log must not be compacted; empty where it may be."""
        ...

    async def prepare(self) -> None:
        """Make what a worker or a publisher needs and nobody has made yet, as far as the log lets it."""
        ...

    def lock(self) -> AbstractContextManager[object]:
        """Return the right to work on the log, not yet taken."""
        ...

    def worker(self) -> Owner | None:
        """Tell who alone works on the log at the moment, where only one may and that can be told."""
        ...

    async def close(self) -> None:
        """Let go of what is shared. Idempotent."""
        ...


def journal_of(settings: Settings, clock: Clock, ids: Ids) -> Journal:
    """Return the log that the settings name."""
    from headwater.settings.stores import Store

    if isinstance(settings.log, Store):
        return SqliteJournal(settings, clock, ids)
    return KafkaJournal(settings, settings.log, clock, ids)


class SqliteJournal:
    """One file on this machine, with one worker at a time."""

    offsets_apart = False

    def __init__(self, settings: Settings, clock: Clock, ids: Ids) -> None:
        from headwater.settings.stores import Store

        assert isinstance(settings.log, Store)
        self._path = settings.log.path
        self._streams = settings.streams
        self._clock = clock
        self._ids = ids

    def _log(self, *, create: bool) -> SqliteLog:
        from headwater.log.sqlite import SqliteLog

        return SqliteLog(self._path, self._clock, self._ids, create=create)

    def reader(self, stream: str, emit: Emit) -> LogReader:  # noqa: ARG002 (a file has nothing to tell of itself)
        partitions = self._streams[stream].partitions
        return self._log(create=True).reader(stream, _group(stream), GENERATION, partitions)

    def writer(self, stream: str, trace: str) -> LogWriter:
        writer = self._log(create=True).writer(stream, self._streams[stream].partitions)
        labelled = LabellingWriter(writer, [(TRACE_HEADER, trace.encode())]) if trace else writer
        return _capturing(self._streams[stream], labelled)

    def history(self, stream: str, *, create: bool) -> LogHistory:
        return self._log(create=create).history(stream, _group(stream), self._streams[stream].partitions)

    def ledger(self, stream: str, *, create: bool) -> Ledger:
        return self._log(create=create).ledger(stream, GENERATION)

    def registry(self, *, create: bool) -> Registry:
        return self._log(create=create).registry()

    def shares(self) -> None:
        return None

    def decode(self, stream: str) -> Decode:
        from headwater.log.codecs.json import decode

        return _reading(self._streams[stream], decode)

    def uncompacted(self, stream: str) -> str:  # noqa: ARG002 (whatever the stream: nothing compacts this log)
        return ""

    async def prepare(self) -> None:
        return  # the file and its streams are made on first use

    def lock(self) -> AbstractContextManager[object]:
        from headwater.log.sqlite_lock import WorkerLock

        return WorkerLock(self._path, self._clock)

    def worker(self) -> Owner | None:
        from headwater.log.sqlite_lock import holder

        return holder(self._path)

    async def close(self) -> None:
        return  # each thing that was made is closed by itself


class KafkaJournal:
    """A Kafka, with any number of workers: its consumer groups share the partitions out."""

    offsets_apart = True

    def __init__(self, settings: Settings, kafka: KafkaSettings, clock: Clock, ids: Ids) -> None:
        self._settings = settings
        self._kafka = kafka
        self._clock = clock
        self._ids = ids
        self._learning: dict[str, tuple[SchemaBook, Learning]] = {}
        self._schemas: HttpSchemaRegistry | None = None
        try:
            import confluent_kafka  # noqa: F401 (only whether it is there)
        except ImportError as error:
            raise Unreachable(
                "kafka", "its client is not installed", "pip install 'headwater[kafka]'", code="not-installed"
            ) from error

    def _log(self) -> KafkaLog:
        from headwater.log.kafka import KafkaLog
        from headwater.log.kafka_reader import Membership

        kafka = self._kafka
        membership = Membership(kafka.rebalance, kafka.instance, kafka.session_timeout_s, kafka.receipts)
        topics = {name: it.topic.name for name, it in self._settings.streams.items() if it.topic}
        return KafkaLog(kafka.client(), kafka.prefix, self._clock, self._ids, membership=membership, topics=topics)

    def _group(self, stream: str) -> str:
        from headwater.log.topics import consumer_group

        return consumer_group(self._kafka.prefix, stream)

    def reader(self, stream: str, emit: Emit) -> LogReader:
        reader = self._log().reader(stream, self._group(stream), GENERATION, emit)
        from headwater.log.learning import LearningReader

        if self._registered(stream):
            return LearningReader(reader, self._learned(stream)[1])
        claims = self._claims(stream)
        return LearningReader(reader, claims.fetch, claims.whole) if claims else reader

    def writer(self, stream: str, trace: str) -> LogWriter:
        # Others read these topics too, and look at the headers to know what is in a record and who put it there.
        origin = f"headwater/{self._kafka.prefix}".encode()
        headers = [("content-type", b"application/json"), ("headwater-origin", origin)]
        from headwater.log.claims import LimitedWriter

        writer = LimitedWriter(self._log().writer(stream), self._kafka.largest_bytes, self._claim_folder())
        labelled = LabellingWriter(writer, [*headers, *([(TRACE_HEADER, trace.encode())] if trace else [])])
        return _capturing(self._settings.streams[stream], labelled)

    def history(self, stream: str, *, create: bool) -> LogHistory:  # noqa: ARG002 (looking makes nothing on Kafka)
        history = self._log().history(stream, self._group(stream))
        from headwater.log.learning import LearningHistory

        if self._registered(stream):
            return LearningHistory(history, self._learned(stream)[1])
        claims = self._claims(stream)
        return LearningHistory(history, claims.fetch, claims.whole) if claims else history

    def ledger(self, stream: str, *, create: bool) -> Ledger:  # noqa: ARG002 (looking makes nothing on Kafka)
        return self._log().ledger(stream, GENERATION)

    def registry(self, *, create: bool) -> Registry:  # noqa: ARG002 (looking makes nothing on Kafka)
        return self._log().registry()

    # --- records that are not in the log whole

    def _claim_folder(self) -> ClaimFolder | None:
        from headwater.log.claims import ClaimFolder

        oversized = self._kafka.oversized
        return None if oversized == "reject" else ClaimFolder(oversized.claim_check, self._ids)

    def _claims(self, stream: str) -> Claims | None:
        """Return what fetches the bytes that are not in the log; None: nothing was taken out of this one's records."""
        from headwater.log.claims import Claims

        folder = self._claim_folder()
        return Claims(folder) if folder and self._layout(stream) is None else None

    # --- other systems' records

    def shares(self) -> Shares:
        return self._log().shares()

    def decode(self, stream: str) -> Decode:
        from headwater.log.codecs.decoder import decoder
        from headwater.log.codecs.json import decode
        from headwater.log.codecs.oversized import decoding

        layout = self._layout(stream)
        if layout is None:
            made = decoding(decode)
        else:
            made = decoder(layout, self._learned(stream)[0] if self._registered(stream) else None)
        return _reading(self._settings.streams[stream], made)

    def _layout(self, stream: str) -> Layout | None:
        """Return how another system writes its records; None: it is Headwater's own topic."""
        settings = self._settings.streams[stream]
        return settings.topic.layout(settings.version) if settings.topic else None

    def uncompacted(self, stream: str) -> str:
        return _uncompacted(self._layout(stream))

    def _registered(self, stream: str) -> bool:
        layout = self._layout(stream)
        return layout is not None and (layout.key_registered or layout.value_registered)

    def _learned(self, stream: str) -> tuple[SchemaBook, Learning]:
        """Return what knows the schemas of a stream's records: one for all that read it."""
        if stream not in self._learning:
            from headwater.log.codecs.schemas import Part, SchemaBook
            from headwater.log.learning import Learning

            layout = self._layout(stream)
            assert layout is not None
            parts = [
                it
                for it, is_wanted in ((Part.KEY, layout.key_registered), (Part.VALUE, layout.value_registered))
                if is_wanted
            ]
            book = SchemaBook(parts)
            self._learning[stream] = book, Learning(book, self._schema_registry(), self._clock)
        return self._learning[stream]

    def _schema_registry(self) -> HttpSchemaRegistry:
        if self._schemas is None:
            from headwater.log.schema_registry import HttpSchemaRegistry

            registry = self._kafka.registry
            assert registry is not None, "the settings see to it"
            self._schemas = HttpSchemaRegistry(registry.url, registry.login, registry.ca)
        return self._schemas

    # --- topics

    async def prepare(self) -> None:
        from headwater.log.kafka_admin import KafkaAdmin, look, measured
        from headwater.log.topic_plan import Action
        from headwater.log.topics import topic_specs

        policy, streams = topics_of(self._settings, self._kafka)
        admin = KafkaAdmin(self._kafka.client(), self._clock)
        try:
            # A stream whose topic another system has not made yet halts by itself: the others go on.
            known, _ = await measured(admin, streams)
            specs = topic_specs(policy, known)
            missing = {spec.name for spec in specs} - set(await admin.topics(spec.name for spec in specs))
            # Only what is not there: how existing topics are set is for `headwater topics apply`, and a person.
            for step in await look(admin, specs) if missing else ():
                if step.action in (Action.CREATE, Action.DECLARE) and step.spec.name in missing:
                    await admin.take(step, specs[0].name)
        finally:
            await admin.close()

    def lock(self) -> AbstractContextManager[object]:
        return nullcontext()  # the group gives each partition to one worker, and the fence stands behind it

    def worker(self) -> Owner | None:
        return None

    async def close(self) -> None:
        if self._schemas is not None:
            await self._schemas.close()


def topics_of(settings: Settings, kafka: KafkaSettings) -> tuple[Policy, list[StreamLog]]:
    """Return what the configuration says about all topics, and what each stream asks of its log.

    The partitions of another system's topic are not known here.
    """
    from headwater.log.topics import Policy, StreamLog

    policy = Policy(kafka.prefix, kafka.replication, kafka.cleanup, kafka.keep_s, kafka.largest_bytes)
    streams = [
        StreamLog(name, it.partitions, it.replay_s, it.topic.name, _uncompacted(it.topic.layout(it.version)))
        if it.topic
        else StreamLog(name, it.partitions, it.replay_s)
        for name, it in settings.streams.items()
    ]
    return policy, streams


def _uncompacted(layout: Layout | None) -> str:
    from headwater.log.codecs.layout import compaction_problem_of

    return compaction_problem_of(layout) if layout else ""


def _capturing(settings: StreamSettings, writer: LogWriter) -> LogWriter:
    """Return a writer from which the log gets nothing that the recipe takes out."""
    redactor = redactor_of(settings)
    if redactor is None:
        return writer
    from headwater.log.redaction import RedactingWriter

    return RedactingWriter(writer, redactor)


def _reading(settings: StreamSettings, decode: Decode) -> Decode:
    """Return what reads records, so that nothing behind it sees what the recipe takes out."""
    redactor = redactor_of(settings)
    if redactor is None:
        return decode
    from headwater.log.redaction import redacting

    return redacting(decode, redactor)


def redactor_of(settings: StreamSettings) -> Redactor | None:
    """Return what takes out what a stream's recipe names, if it names anything."""
    if not settings.recipe.redact:
        return None
    from headwater.recipe.redact.redactor import Redactor

    return Redactor(settings.recipe.redact)


def _group(stream: str) -> str:
    return f"headwater.{stream}"
