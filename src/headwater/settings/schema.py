"""What `headwater.yaml` may say. The descriptions here are the reference: `reference.py` prints them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from headwater.documents.kinds import ENDINGS
from headwater.recipe.options import REDACTABLE, Chunking, Redactable
from headwater.settings.accounts import AccountSettings, CacheSettings
from headwater.settings.addresses import KAFKA, brokers
from headwater.settings.embed import EmbedSettings
from headwater.settings.failures import Unfit
from headwater.settings.kafka import KAFKA_URL, KafkaLog
from headwater.settings.schema_words import apart, or_text, together
from headwater.settings.stores import EXPECTED as STORE
from headwater.settings.stores import Store, store
from headwater.settings.topic import TopicSettings, unordered, with_schemas
from headwater.settings.values import (
    SQLITE_URL,
    AccountName,
    BodyPath,
    Duration,
    FieldName,
    FileName,
    Folder,
    Glob,
    Location,
    Pattern,
    Place,
    Section,
    StreamName,
    Text,
    Truth,
    Whole,
    Written,
    agree,
    expression,
    folder_of,
    text_of,
    unfit,
)

if TYPE_CHECKING:
    from headwater.sources.selecting import Choice

DEFAULT_LOG = "sqlite:///headwater.db"

_LOG = f"{STORE} or {KAFKA}"
_ONLY_URL = "a log in SQLite has `url` alone and keeps its whole history; the other keys are for a Kafka"


def _log(value: object, info: ValidationInfo) -> Store | KafkaLog:
    """Read a URL, or a mapping with one. Only that of a Kafka has more keys than `url`."""
    if isinstance(value, dict):
        return _detailed(value, info)
    url = text_of(value, _LOG)
    try:
        if _is_sqlite(url):
            return store(url, folder_of(info))
        brokers(url)
    except Unfit as error:
        expected = error.expected if url.startswith(("sqlite:", "kafka:")) else _LOG
        raise unfit(Unfit(expected, error.hint)) from None
    return KafkaLog.model_validate({"url": url}, context=info.context)


def _detailed(value: Mapping[str, Any], info: ValidationInfo) -> Store | KafkaLog:
    url = value.get("url")
    if not isinstance(url, str) or not _is_sqlite(url):
        return KafkaLog.model_validate(value, context=info.context)
    errors: list[tuple[Location, Unfit]] = [
        ((key,), Unfit("this key left out", _ONLY_URL)) for key in value if key != "url"
    ]
    try:
        place = store(url, folder_of(info))
    except Unfit as error:
        errors.append((("url",), error))
    agree(errors)
    return place


class SqliteLog(Section):
    """A log in SQLite as a mapping."""

    url: Place = Field(description=f"`{STORE}`.")


_LOG_AS_WRITTEN = SQLITE_URL | KAFKA_URL | SqliteLog | KafkaLog


def _is_sqlite(url: str) -> bool:
    """Tell whether a URL is SQLite's business; a path alone is what people write who mean it."""
    return url.startswith("sqlite:") or ("://" not in url and not url.startswith(("kafka:", "redpanda:")))


class SourceSettings(Section):
    """Where changes come from by themselves."""

    folder: Folder = Field(description="The folder whose files are the documents; relative to this file.")
    include: Annotated[
        tuple[Glob, ...], Field(min_length=1), Written(default="text, Markdown, HTML, PDF, EPUB, Office, by the ending")
    ] = Field(
        default=tuple(f"**/*.{ending}" for it in ENDINGS for ending in (it, it.upper())),
        description="Which files of it, as patterns; `**` spans folders.",
    )
    exclude: tuple[Pattern, ...] = Field(
        default=(),
        description="Which of those not, as lines of a `.gitignore`: `drafts/`, `*.draft.md`, `/README.md`. They "
        "decide before all ignore files.",
    )
    ignore_files: tuple[FileName, ...] = Field(
        default=(".headwaterignore",),
        description="Names of files that, in any folder, hold more such lines. With `.gitignore` among them, what Git "
        "ignores is left out too.",
    )
    watch: Truth = Field(
        default=True,
        description="Whether the kernel is asked to tell of changes, so that they are found within a second. Those on "
        "a network file system, by another machine, it does not tell of: `rescan` finds them.",
    )
    rescan_s: Duration = Field(
        default=10.0, alias="rescan", description="How often the folder is looked through, told of changes or not."
    )

    @property
    def choice(self) -> Choice:
        """Which of the folder's files are wanted."""
        from headwater.sources.selecting import Choice  # noqa: PLC0415 (every command starts here, few look at files)

        return Choice(self.include, self.exclude, self.ignore_files)


class ChunkSettings(Section):
    """How a document is cut, in characters."""

    size: Whole = Field(
        default=800,
        description="The length that chunks aim at, in characters.",
        json_schema_extra={"minimum": 16},  # `Chunking` checks it, with all that the sizes have to do with each other
    )
    minimum: Whole | None = Field(default=None, description="The least length; a quarter of `size` if left out.")
    maximum: Whole | None = Field(default=None, description="The greatest length; 1.5 times `size` if left out.")
    overlap: Whole = Field(
        default=0,
        description="How much of the text before a chunk the model is shown with it, at most, from the beginning of a "
        "sentence on. Hits show a chunk without it.",
    )

    @model_validator(mode="after")
    def _agree(self) -> ChunkSettings:
        try:
            Chunking(self.size, self.minimum, self.maximum, self.overlap)
        except ValueError as error:
            raise unfit(Unfit("sizes that fit together", str(error))) from None
        return self


class PayloadSettings(Section):
    """One field that travels with every chunk."""

    from_: BodyPath = Field(alias="from", description="Where the value stands in the body: a dotted path.")
    required: Truth = Field(default=False, description="Whether a change without the value is rejected.")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return or_text(handler(schema), "from")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        """`title: title` is short for `title: {from: title}`."""
        return {"from": value} if isinstance(value, str) else value


def _no_payload() -> Mapping[str, PayloadSettings]:
    return MappingProxyType({})


def _no_accounts() -> Mapping[str, AccountSettings]:
    return MappingProxyType({})


def _redactable(value: object) -> object:
    """`all` is short for every kind, and one kind for a list of it."""
    if value == "all":
        return REDACTABLE
    kinds = [value] if isinstance(value, str) else value
    if not isinstance(kinds, list | tuple) or not set(map(str, kinds)) <= set(REDACTABLE):
        raise unfit(Unfit(f"`all`, or some of {', '.join(REDACTABLE)}"))
    return tuple(kind for kind in REDACTABLE if kind in kinds)


class RecipeSettings(Section):
    """How a document becomes chunks, vectors and payload."""

    filter: Annotated[Text, expression("body", "id")] | None = Field(
        default=None,
        description="Which documents are indexed, as a CEL expression over `body` and `id`; all if left out. A "
        "document that no longer passes leaves the index.",
    )
    redact: Annotated[
        tuple[Redactable, ...],
        BeforeValidator(_redactable, Literal["all"] | Redactable | tuple[Redactable, ...]),
        Written("`all`, or a list", "nothing"),
    ] = Field(
        default=(),
        description="What gives way to a placeholder such as `[email]` before log, index or model see it: "
        f"{', '.join(f'`{kind}`' for kind in REDACTABLE)}.",
    )
    chunk: ChunkSettings = Field(default_factory=ChunkSettings, description="How a document is cut.")
    embed: EmbedSettings = Field(default_factory=EmbedSettings, description="Which model makes the vectors.")
    payload: Annotated[Mapping[FieldName, PayloadSettings], AfterValidator(MappingProxyType)] = Field(
        default_factory=_no_payload, description="Fields that travel with every chunk: `NAME: PATH`, or as a mapping."
    )
    format: Annotated[Literal["markdown", "text"] | None, Written(default="by the ending of the id")] = Field(
        default=None, description="How the text is written; by the ending of the document's id if left out."
    )


class StreamSettings(Section):
    """A family of documents with its contract."""

    model_config = ConfigDict(
        json_schema_extra={**together(version=["topic"]), **apart(topic=["source", "partitions"])}
    )

    source: SourceSettings | None = Field(
        default=None,
        description="Where changes come from; without it and without `topic` they come by `headwater publish`.",
    )
    topic: Annotated[TopicSettings | None, Written("text or mapping")] = Field(
        default=None,
        description="Another system's topic as the source of changes: its name, or a mapping. Needs a Kafka as `log`.",
    )
    version: BodyPath | None = Field(
        default=None,
        description="Where the source's own order of changes stands in the topic's values: the dotted path of a whole "
        "number, such as `source.lsn`. Needed where a document's records may lie in two partitions.",
    )
    freshness_s: Duration = Field(
        default=60.0, alias="freshness", description="99 % of changes are searchable within this time."
    )
    replay_s: Duration = Field(
        default=7200.0, alias="replay", description="A full re-embedding takes at most this long."
    )
    partitions: Whole = Field(
        default=8,
        ge=1,
        le=1024,
        description="How many parts of the stream may be worked on at once; with `topic` as many as that has.",
    )
    recipe: RecipeSettings = Field(
        default_factory=RecipeSettings, description="How a document becomes chunks, vectors and payload."
    )
    index: Annotated[Place, Written("URL", "see the text")] = Field(
        description="Where the vectors go. If left out, the file of `log`; with a Kafka as `log`, "
        "`sqlite:///headwater.db`. Streams may share a file."
    )

    @model_validator(mode="after")
    def _agree(self) -> StreamSettings:
        agree(_stream(self))
        return self


def _stream(it: StreamSettings) -> Iterator[tuple[Location, Unfit]]:
    """Check that a topic stands alone, and that its records are in order."""
    topic = it.topic
    if topic is None:
        if it.version is not None:
            yield ("version",), Unfit("`topic` beside it", "only a topic's records may need the source's own order")
        return
    if it.source is not None:
        yield ("source",), Unfit("`source` or `topic`, not both", "two streams may have one each")
    if "partitions" in it.model_fields_set:
        yield ("partitions",), Unfit("this key left out", "`topic` has its own partitions")
    if it.version is None:
        yield from ((("topic", *location), error) for location, error in unordered(topic))
    elif topic.format == "text" and topic.envelope == "none":
        yield ("version",), Unfit("this key left out", "with `format: text` the value has no fields")


class Settings(Section):
    """The whole file."""

    log: Annotated[
        Store | KafkaLog, PlainValidator(_log, _LOG_AS_WRITTEN), Written("URL or mapping", f"`{DEFAULT_LOG}`")
    ] = Field(
        description="Where the durable log is: `sqlite:///PATH`, `kafka://HOST:PORT[,HOST:PORT...]`, or a mapping with "
        "that as `url`. A path after three slashes is relative to this file."
    )
    accounts: Annotated[Mapping[AccountName, AccountSettings], AfterValidator(MappingProxyType)] = Field(
        default_factory=_no_accounts, description="Accounts at embedding services, which a recipe's `embed` names."
    )
    cache: CacheSettings | None = Field(
        default=None, description="Vectors that were paid for, kept beyond the index; none if left out."
    )
    streams: Annotated[
        Mapping[StreamName, StreamSettings],
        AfterValidator(MappingProxyType),
        Field(min_length=1),
    ] = Field(description="The streams by name: a-z, 0-9, `_` and `-`.")

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, value: object, info: ValidationInfo) -> object:
        """Fill in the log, and the log's file as the index of each stream that names none."""
        if not isinstance(value, dict):
            return value
        log = value.get("log", DEFAULT_LOG)
        index = log.get("url") if isinstance(log, dict) else log
        try:
            store(str(index), folder_of(info))
        except Unfit:  # no file: a Kafka, or an error that is reported once, at its own place
            index = DEFAULT_LOG
        streams = value.get("streams")
        if isinstance(streams, dict):
            streams = {
                name: {"index": index, **stream} if isinstance(stream, dict) else stream
                for name, stream in streams.items()
            }
            return {**value, "log": log, "streams": streams}
        return {**value, "log": log}

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        agree([*_topics(self), *_accounts(self)])
        return self


def _accounts(it: Settings) -> Iterator[tuple[Location, Unfit]]:
    """Check that the accounts that recipes name are there, and that the cache has a file of its own."""
    for name, stream in it.streams.items():
        account = stream.recipe.embed.account
        if account is not None and account not in it.accounts:
            known = f"one of {', '.join(sorted(it.accounts))}" if it.accounts else "`accounts` with one of this name"
            yield ("streams", name, "recipe", "embed", "account"), Unfit(known)
        if it.cache is not None and it.cache.url == stream.index:
            yield ("cache", "url"), Unfit("a file of its own", "the index lies in this one")
    if it.cache is not None and it.cache.url == it.log:
        yield ("cache", "url"), Unfit("a file of its own", "the log lies in this one")


def _topics(it: Settings) -> Iterator[tuple[Location, Unfit]]:
    """Check that topics have the Kafka and the registry that they need."""
    registry = it.log.registry if isinstance(it.log, KafkaLog) else None
    for name, stream in it.streams.items():
        if stream.topic is None:
            continue
        if not isinstance(it.log, KafkaLog):
            yield ("streams", name, "topic"), Unfit("a Kafka as `log`", "write `log: kafka://HOST:PORT`")
        elif registry is None and (key := with_schemas(stream.topic)):
            yield ("streams", name, "topic", key), Unfit("json or text", "schemas need `log.registry`")
