"""Wiring: from settings to running objects. The only importer of adapters.

Adapters and everything heavy are imported where they are needed, so that `headwater --help` imports none of them and
extras stay optional.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from headwater.clock import SystemClock, SystemDice, SystemIds
from headwater.journal import GENERATION
from headwater.observability.signals import Event, unheard

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from headwater.embedding.cache_sqlite import SqliteCache
    from headwater.embedding.courier import Courier
    from headwater.embedding.gateway import WhenTooLong
    from headwater.embedding.port import Compute, Embedder
    from headwater.embedding.sharing.borrower import Borrower
    from headwater.embedding.spending_watch import SpendingWatch
    from headwater.engine.prefetch import Prefetcher
    from headwater.engine.repair import Tools
    from headwater.engine.stream import StreamPorts
    from headwater.engine.supervisor import Machine, StreamWorker
    from headwater.engine.verification import Subject
    from headwater.errors import HeadwaterError
    from headwater.indexes.port import IndexCatalogue, IndexReader, IndexWriter
    from headwater.journal import Journal
    from headwater.log.port import Ledger, LogHistory, LogWriter, Registry
    from headwater.model.change import Change
    from headwater.model.document import Recipe
    from headwater.model.generation import Generation
    from headwater.observability.signals import Emit
    from headwater.patience import Outage, Patience
    from headwater.retrieval.search import Retriever
    from headwater.settings.embed import EmbedSettings
    from headwater.settings.schema import Settings, StreamSettings
    from headwater.sources.port import Source

T = TypeVar("T")


class _Closable(Protocol):
    async def close(self) -> None: ...


_Open = TypeVar("_Open", bound=_Closable)


class Site:
    """All that one configuration file names. What was made here is closed by `close`, the newest first.

    What only reads (`ledger`, `registry`, `history`, `index`, `retriever`) makes no file: it raises Unreachable when
    there is none. `publish`'s `writer` and the worker make what is missing.
    """

    def __init__(self, settings: Settings, path: Path) -> None:
        from headwater.accounts import Accounts

        self.path = path
        self.settings = settings
        self.clock = SystemClock()
        self._dice = SystemDice()
        self._ids = SystemIds()
        self._open: list[_Closable] = []
        self._journal: Journal | None = None
        self._embedders: list[tuple[EmbedSettings, Embedder]] = []
        self._couriers: dict[Embedder, Courier] = {}
        self._accounts = Accounts(settings)
        self._catalogues: dict[str, IndexCatalogue] = {}
        self._cached: SqliteCache | None = None
        self._told: Emit = unheard
        # What computes in Python takes turns on one thread: two would only fight over the interpreter.
        self._computing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")

    def __repr__(self) -> str:
        return f"Site({str(self.path)!r}, streams {', '.join(self.streams)})"

    @property
    def streams(self) -> tuple[str, ...]:
        """The names of the streams, as the file orders them."""
        return tuple(self.settings.streams)

    async def close(self) -> None:
        """Close all that was made. Idempotent."""
        made, self._open = self._open[::-1], []
        # At once: with a log that is away each takes its time.
        ended = await asyncio.gather(*(it.close() for it in made), return_exceptions=True)
        self._computing.shutdown(wait=False, cancel_futures=True)
        for failure in filter(None, ended):
            raise failure

    # --- the log

    def writer(self, stream: str, trace: str = "") -> LogWriter:
        """Return a writer; the log is made when it is not there. `trace` is what its changes belong to."""
        return self._kept(self.journal.writer(stream, trace))

    def history(self, stream: str) -> LogHistory:
        """Return the stream's history, with the committed offsets of its worker."""
        return self._kept(self.journal.history(stream, create=False))

    def ledger(self, stream: str) -> Ledger:
        """Return what was settled."""
        return self._kept(self.journal.ledger(stream, create=False))

    def registry(self) -> Registry:
        """Return what all workers agree on."""
        return self._kept(self.journal.registry(create=False))

    @property
    def journal(self) -> Journal:
        """The log."""
        if self._journal is None:
            from headwater.journal import journal_of

            self._journal = self._kept(journal_of(self.settings, self.clock, self._ids))
        return self._journal

    # --- the index

    def index(self, stream: str) -> IndexReader:
        """Return a reader of the serving index generation."""
        from headwater.indexes.sqlite import SqliteIndexReader

        return self._kept(SqliteIndexReader(self._stream(stream).index.path, stream, GENERATION))

    async def generations(self, stream: str) -> list[Generation]:
        """Return the stream's index generations; none when there is no index yet."""
        if not self._stream(stream).index.path.exists():
            return []
        return await self._catalogue(stream).generations(stream)

    async def probes(self, stream: str) -> bytes:
        """Return what the stream's index keeps of its model's probes; empty where it keeps none."""
        if not self._stream(stream).index.path.exists():
            return b""
        return await self._catalogue(stream).probes(stream, GENERATION)

    def retriever(self, stream: str) -> Retriever:
        """Return what answers queries."""
        from headwater.retrieval.search import Retriever

        return Retriever(self.index(stream), self.embedder(stream))

    # --- the work

    def subject(self, stream: str) -> Subject:
        """Return what is verified."""
        from headwater.engine.verification import Subject

        return Subject(
            stream=stream,
            history=self.history(stream),
            ledger=self.ledger(stream),
            registry=self.registry(),
            reader=self.index(stream),
            recipe=lambda number: self.recipe(stream, number),
            decode=self.journal.decode(stream),
        )

    def tools(self, stream: str) -> Tools:
        """Return what repairing takes. Whoever repairs holds the lock."""
        from headwater.engine.repair import Tools
        from headwater.engine.watch import ModelWitness, WatchedGateway

        ports = self.ports(stream)
        patience = self.patience(lambda _outage, _dependency: None)
        return Tools(ports.writer, WatchedGateway(ports, patience, ModelWitness(ports, patience)), self.clock)

    def embedder(self, stream: str) -> Embedder:
        """Return the stream's model, which is to be opened. Streams share what is the same."""
        wanted = self._stream(stream).recipe.embed
        made = next((it for settings, it in self._embedders if settings == wanted), None)
        if made is None:
            made = self._kept(_embedder(stream, wanted, self._compute))
            self._embedders.append((wanted, made))
        return made

    def courier(self, stream: str) -> Courier:
        """Return what carries the stream's texts to its model. Streams share it with the model."""
        from headwater.embedding.courier import Courier
        from headwater.embedding.lanes import Policy

        embedder = self.embedder(stream)
        if embedder not in self._couriers:
            account = self._accounts.settings(stream)
            policy = Policy(account.reserve, account.minimum)
            made = Courier(
                embedder,
                self.clock,
                self._dice,
                budget=self._accounts.budget(stream),
                policy=policy,
                spending=self._accounts.spending(stream),
                emit=self._tell,
            )
            self._couriers[embedder] = self._kept(made)
        return self._couriers[embedder]

    def cache(self) -> SqliteCache | None:
        """Return what keeps vectors that were paid for, if the configuration names a place."""
        settings = self.settings.cache
        if settings is not None and self._cached is None:
            from headwater.embedding.cache_sqlite import SqliteCache

            def say(error: HeadwaterError) -> None:
                self._tell(Event.CACHE_AWAY, {"cause": str(error)})

            self._cached = self._kept(SqliteCache(settings.url.path, settings.size_bytes, say))
        return self._cached

    def recipe(self, stream: str, number: int) -> Recipe:
        """Return the stream's recipe with a number."""
        return recipe_of(self._stream(stream), number, self.embedder(stream).describe().fingerprint)

    def source(self, stream: str, emit: Emit) -> Source | None:
        """Return what appends to the stream what its source holds, if it has one."""
        from headwater.documents.reader import SandboxedReader
        from headwater.journal import redactor_of
        from headwater.sources.folder import FolderSource
        from headwater.sources.watching import FolderWatch

        folder, redactor = self._stream(stream).source, redactor_of(self._stream(stream))
        if folder is None:
            return None

        def say(cause: str) -> None:
            emit(Event.SOURCE_UNWATCHED, {"cause": cause, "then": "changes are found by the next `rescan`"})

        watch = FolderWatch(folder.folder, self.clock, say) if folder.watch else None
        writer, reader = self.writer(stream), SandboxedReader()
        return self._kept(FolderSource(folder.folder, folder.choice, writer, self.clock, reader, watch, redactor))

    def patience(self, notice: Callable[[Outage | None, str], None]) -> Patience:
        """Return what waits out outages, and tells `notice` of them."""
        from headwater.patience import Patience

        return Patience(self.clock, self._dice, notice)

    def prefetching(self, stream: str) -> AbstractContextManager[object]:
        """Return the right to prefetch for the stream, not yet taken. Raise Misconfigured where nothing is cached."""
        from headwater.errors import Misconfigured
        from headwater.log.sqlite_lock import WorkerLock

        if self.settings.cache is None:
            hint = "what is bought ahead is held there, as in `cache: {url: 'sqlite:///cache.db'}`"
            raise Misconfigured("cache", "a place for vectors", "none", hint=hint)
        cache = self.settings.cache.url.path
        return WorkerLock(cache.with_name(f"{cache.name}.{stream}.prefetch"), self.clock)

    async def prefetcher(self, stream: str) -> Prefetcher:
        """Return what buys vectors for the stream ahead; its model is asked, and what its account spent is looked at.

        Raise Unreachable when the service has no batch interface.
        """
        from headwater.embedding.cache import Space
        from headwater.engine.needs import Stock
        from headwater.engine.opening import same_recipe
        from headwater.engine.prefetch import Prefetcher
        from headwater.errors import Unreachable
        from headwater.model.registry import ANY_EPOCH

        embedder, cache = self.embedder(stream), self.cache()
        assert cache is not None
        assert self.settings.cache is not None
        await embedder.open()
        model = embedder.describe()
        batches = getattr(embedder, "batches", lambda: None)()
        if batches is None:
            raise Unreachable(
                model.name, "it has no batch interface", "`headwater run` embeds without one", code="no-batches"
            )
        spending = self._accounts.spending(stream)
        watches = self.spending_watches()
        registered = await self.registry().read(stream)
        recipe = self.recipe(stream, registered.recipe)
        made = next((it for it in await self.generations(stream) if it.number == GENERATION), None)
        same_recipe(stream, made, recipe.fingerprints)
        stock = Stock(
            stream=stream,
            history=self.history(stream),
            ledger=self.ledger(stream),
            epochs=registered.epochs or ANY_EPOCH,
            decode=self.journal.decode(stream),
            recipe=recipe,
            index=self._index_writer(stream) if made else None,
            cache=cache,
            space=Space(self.settings.cache.tenant, model.fingerprint, model.dimensions),
        )
        # What others buy, hold and spend is asked for only where that is limited.
        limited = spending is not None and spending.limits["hard"] is not None
        paying = [stream, *(self._accounts.sharing(stream) if limited else ())]

        async def affords(tokens: int) -> bool:
            if spending is None or not limited:
                return True
            for watch in watches:
                await watch.look()
            held = await cache.held_tokens(paying)
            return spending.affords_batch(held + tokens, self.clock.now_us())

        log = await stock.history.identity()
        label, *others = (self._label(log, it) for it in paying)
        return Prefetcher(stock, embedder, batches, label=label, others=others, affords=affords)

    def _label(self, log: str, stream: str) -> str:
        """Name a stream's jobs: in another log, for another tenant or of another model they are somebody else's."""
        assert self.settings.cache is not None
        embed = self._stream(stream).recipe.embed
        what = embed.model, embed.url, embed.revision, embed.dimensions, embed.document_prefix
        return hashlib.sha256(repr((log, self.settings.cache.tenant, stream, *what)).encode()).hexdigest()[:32]

    def ports(self, stream: str, emit: Emit = unheard) -> StreamPorts:
        """Return all that a stream's worker works with. Files that are missing are made when they are first used."""
        from headwater.engine.stream import StreamPorts

        settings = self._stream(stream)
        return StreamPorts(
            name=stream,
            open_reader=lambda: self.journal.reader(stream, emit),
            history=self._kept(self.journal.history(stream, create=True)),
            ledger=self._kept(self.journal.ledger(stream, create=True)),
            registry=self._kept(self.journal.registry(create=True)),
            catalogue=self._catalogue(stream),
            writer=self._index_writer(stream),
            courier=self.courier(stream),
            recipe=lambda number: self.recipe(stream, number),
            decode=self.journal.decode(stream),
            source=self.source(stream, emit),
            when_too_long=self._when_too_long(stream),
            cache=self.cache(),
            tenant=self.settings.cache.tenant if self.settings.cache else "",
            rescan_s=settings.source.rescan_s if settings.source else 10.0,
            generation=GENERATION,
            offsets_apart=self.journal.offsets_apart,
            uncompacted=self.journal.uncompacted(stream),
        )

    def batch_costs(self, stream: str, tokens: int, ahead: int) -> dict[str, float | None]:
        """Return what tokens cost through the batch interface, and those still to come; None without a price."""
        spending = self._accounts.spending(stream)
        cost = spending.batch_cost_usd if spending else lambda _tokens: None
        return {"usd": cost(tokens), "ahead_usd": cost(ahead)}

    def spending_watches(self) -> list[SpendingWatch]:
        """Return what tells the accounts with a budget what all workers spent. To look before anything is embedded, and
        to be run beside the workers.
        """

        def ledger(stream: str) -> Ledger:
            return self._kept(self.journal.ledger(stream, create=True))

        return self._accounts.watches(ledger, self.clock, self._tell)

    def borrowers(self) -> list[Borrower]:
        """Return what keeps the accounts of the streams at this worker's shares. To be run beside the workers.

        None where nobody else works on the log; else nothing is sent to a service before they run.
        """
        shares = self.journal.shares()
        if shares is None:
            return []
        return self._accounts.borrowers(self._kept(shares), self._ids.identity(), self.clock)

    def machine(self, emit: Emit) -> Machine:
        """Return the machine that this process runs on."""
        from headwater.engine.supervisor import Machine

        return Machine(self.clock, self._dice, self._ids, self._compute, emit)

    def worker(self, stream: str, emit: Emit) -> StreamWorker:
        """Return the stream's worker. Whoever runs it holds the lock.

        Every event that it emits names the stream; what streams share tells the `emit` of the last one.
        """
        from headwater.engine.supervisor import StreamWorker

        spending = self._accounts.spending(stream)

        def named(event: Event, fields: dict[str, Any]) -> None:
            if spending is not None and event is Event.CHANGES_SETTLED:
                spending.settled(stream, fields["tokens"] - fields["batch_tokens"])
            elif spending is not None and event in (Event.STREAM_STARTED, Event.STREAM_STOPPED):
                spending.ended(stream)  # what was paid before and not settled never will be
            emit(event, {"stream": stream, **fields})

        self._told = emit
        return StreamWorker(self.ports(stream, named), self.machine(named))

    # --- parts

    def _tell(self, event: Event, fields: dict[str, Any]) -> None:
        self._told(event, fields)

    def _when_too_long(self, stream: str) -> WhenTooLong:
        from headwater.embedding.gateway import WhenTooLong

        return WhenTooLong(self._stream(stream).recipe.embed.too_long)

    def _compute(self, work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._computing, work)

    def _stream(self, stream: str) -> StreamSettings:
        return self.settings.streams[stream]

    def _catalogue(self, stream: str) -> IndexCatalogue:
        from headwater.indexes.sqlite import SqliteCatalogue

        if stream not in self._catalogues:
            self._catalogues[stream] = self._kept(SqliteCatalogue(self._stream(stream).index.path))
        return self._catalogues[stream]

    def _index_writer(self, stream: str) -> IndexWriter:
        from headwater.indexes.sqlite import SqliteIndexWriter

        return self._kept(SqliteIndexWriter(self._stream(stream).index.path, stream, GENERATION))

    def _kept(self, made: _Open) -> _Open:
        self._open.append(made)
        return made


def open_site(path: Path, environment: Mapping[str, str]) -> Site:
    """Read a configuration file. Raise ConfigurationErrors with every error that it has."""
    from headwater.settings.loading import load

    return Site(load(path, environment), path)


def recipe_of(settings: StreamSettings, number: int, model_fingerprint: str) -> Recipe:
    """Return the recipe that a stream's settings name, for a model with this fingerprint."""
    from headwater.journal import redactor_of
    from headwater.recipe.options import Chunking, PayloadField
    from headwater.recipe.standard import StandardRecipe

    told = settings.recipe
    chunk = told.chunk
    fields = {name: PayloadField(field.from_, field.required) for name, field in told.payload.items()}
    predicate, name = _predicate(told.filter) if told.filter else (None, "")
    redactor = redactor_of(settings)
    return StandardRecipe(
        number,
        Chunking(chunk.size, chunk.minimum, chunk.maximum, chunk.overlap),
        fields,
        told.format,
        model_fingerprint,
        predicate=predicate,
        predicate_name=name,
        redactor_name=redactor.name if redactor else "",
    )


def _predicate(text: str) -> tuple[Callable[[Change], bool], str]:
    """Return the filter of a configuration, and the name of what it does."""
    from headwater.recipe.condition import Condition

    condition = Condition.parse(text, ("body", "id"))

    def passes(change: Change) -> bool:
        return change.body is None or condition.holds({"body": change.body, "id": change.id})

    return passes, condition.name


def _embedder(stream: str, settings: EmbedSettings, compute: Compute) -> Embedder:
    """Make the model that a stream names. Raise Misconfigured when its provider cannot be told so."""
    from headwater.embedding.providers.options import ProviderOptions
    from headwater.embedding.providers.registry import embedder
    from headwater.errors import Misconfigured

    options = ProviderOptions(
        model="",
        url=settings.url,
        key=settings.key.get_secret_value() if settings.key else None,
        revision=settings.revision or "",
        dimensions=settings.dimensions,
        query_prefix=settings.query_prefix or "",
        document_prefix=settings.document_prefix or "",
        ca=settings.ca,
        timeout_s=settings.timeout_s,
        compute=compute,
    )
    try:
        return embedder(settings.model, options)
    except Misconfigured as error:
        error.path = f"streams.{stream}.recipe.embed.{error.path}"
        raise
