"""What `headwater.yaml` may say. The descriptions here are the reference: `reference.py` prints them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from headwater.recipe.options import Chunking
from headwater.settings.failures import Unfit
from headwater.settings.interpolation import FromEnvironment
from headwater.settings.stores import EXPECTED as STORE
from headwater.settings.stores import Store, resolved, store
from headwater.settings.units import DURATION, duration_s

DEFAULT_LOG = "sqlite:///headwater.db"
_YEAR_S = 366 * 86400.0


def unfit(error: Unfit) -> PydanticCustomError:
    """Carry an error of ours through pydantic."""
    return PydanticCustomError("unfit", "unfit", {"expected": error.expected, "hint": error.hint})


def _text(value: object, expected: str) -> str:
    if not isinstance(value, str):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        raise unfit(Unfit(expected, "the unit is missing" if is_number and expected == DURATION else None))
    return value


def _duration(value: object) -> object:
    try:
        seconds = duration_s(_text(value, DURATION))
    except Unfit as error:
        raise unfit(error) from None
    if not 0 < seconds <= _YEAR_S:
        raise unfit(Unfit("a duration between 1ms and 366d"))
    return seconds


def _folder(info: ValidationInfo) -> Path:
    """The folder of the configuration file, which `load` puts into the context."""
    folder = (info.context or {}).get("folder")
    assert isinstance(folder, Path), "settings come from `load`"
    return folder


def _store(value: object, info: ValidationInfo) -> object:
    try:
        return store(_text(value, STORE), _folder(info))
    except Unfit as error:
        raise unfit(error) from None


def _path(value: object, info: ValidationInfo) -> object:
    text = _text(value, "the path of a folder")
    if not text or "\0" in text:
        raise unfit(Unfit("the path of a folder"))
    return resolved(text, _folder(info))


def _glob(value: str) -> str:
    """Refuse what could reach out of the folder."""
    if not value or "\0" in value or value.startswith("/") or ".." in value.split("/"):
        raise unfit(Unfit("a pattern inside the folder such as **/*.md"))
    return value


def _whole(value: object) -> object:
    """Let the environment give numbers: there everything is text."""
    if isinstance(value, FromEnvironment) and re.fullmatch(r"[0-9]{1,18}", value):
        return int(value)
    return value


def _truth(value: object) -> object:
    if isinstance(value, FromEnvironment):
        return {"true": True, "false": False}.get(str(value), value)
    return value


def _name(pattern: str, expected: str) -> AfterValidator:
    """Check a name that the user chooses."""
    known = re.compile(pattern)

    def check(value: str) -> str:
        if not known.fullmatch(value):
            raise unfit(Unfit(expected))
        return value

    return AfterValidator(check)


Duration = Annotated[float, BeforeValidator(_duration)]
Place = Annotated[Store, BeforeValidator(_store)]
Folder = Annotated[Path, BeforeValidator(_path)]
Whole = Annotated[int, BeforeValidator(_whole)]
Truth = Annotated[bool, BeforeValidator(_truth)]
Glob = Annotated[str, AfterValidator(_glob)]
StreamName = Annotated[
    str, _name("[a-z][a-z0-9_-]{0,62}", "a name of a-z, 0-9, _ and -, beginning with a letter, at most 63 long")
]
FieldName = Annotated[
    str,
    _name(
        "[A-Za-z_][A-Za-z0-9_-]{0,62}", "a name of letters, digits, _ and -, beginning with a letter, at most 63 long"
    ),
]
BodyPath = Annotated[str, Field(min_length=1, max_length=1024)]


class Section(BaseModel):
    """Strict, closed and frozen: nothing is guessed, nothing is ignored, nothing changes later."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, validate_by_name=True
    )


class SourceSettings(Section):
    """Where changes come from by themselves."""

    folder: Folder = Field(description="The folder whose files are the documents; relative to this file.")
    include: Annotated[tuple[Glob, ...], Field(min_length=1)] = Field(
        default=("**/*.md", "**/*.txt"), description="Which files of it, as patterns; `**` spans folders."
    )
    rescan_s: Duration = Field(default=10.0, alias="rescan", description="How often the folder is looked through.")


class ChunkSettings(Section):
    """How a document is cut, in characters."""

    size: Whole = Field(default=800, description="The length that chunks aim at, in characters.")
    minimum: Whole | None = Field(default=None, description="The least length; a quarter of `size` if left out.")
    maximum: Whole | None = Field(default=None, description="The greatest length; 1.5 times `size` if left out.")

    @model_validator(mode="after")
    def _agree(self) -> ChunkSettings:
        try:
            Chunking(self.size, self.minimum, self.maximum)
        except ValueError as error:
            raise unfit(Unfit("sizes that fit together", str(error))) from None
        return self


class EmbedSettings(Section):
    """Which model makes the vectors."""

    model: Literal["static", "hash"] = Field(
        default="static", description="`static` is built in; `hash` is for tests and measuring and knows no meaning."
    )


class PayloadSettings(Section):
    """One field that travels with every chunk."""

    from_: BodyPath = Field(alias="from", description="Where the value stands in the body: a dotted path.")
    required: Truth = Field(default=False, description="Whether a change without the value is rejected.")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        """`title: title` is short for `title: {from: title}`."""
        return {"from": value} if isinstance(value, str) else value


def _no_payload() -> Mapping[str, PayloadSettings]:
    return MappingProxyType({})


class RecipeSettings(Section):
    """How a document becomes chunks, vectors and payload."""

    chunk: ChunkSettings = Field(default_factory=ChunkSettings, description="How a document is cut.")
    embed: EmbedSettings = Field(default_factory=EmbedSettings, description="Which model makes the vectors.")
    payload: Annotated[Mapping[FieldName, PayloadSettings], AfterValidator(MappingProxyType)] = Field(
        default_factory=_no_payload, description="Fields that travel with every chunk: `NAME: PATH`, or as a mapping."
    )
    format: Literal["markdown", "text"] | None = Field(
        default=None, description="How the text is written; by the ending of the document's id if left out."
    )


class StreamSettings(Section):
    """A family of documents with its contract."""

    source: SourceSettings | None = Field(
        default=None, description="Where changes come from; without it they come by `headwater publish`."
    )
    freshness_s: Duration = Field(
        default=60.0, alias="freshness", description="99 % of changes are searchable within this time."
    )
    replay_s: Duration = Field(
        default=7200.0, alias="replay", description="A full re-embedding takes at most this long."
    )
    partitions: Whole = Field(
        default=8, ge=1, le=1024, description="How many parts of the stream may be worked on at once."
    )
    recipe: RecipeSettings = Field(
        default_factory=RecipeSettings, description="How a document becomes chunks, vectors and payload."
    )
    index: Place = Field(description="Where the vectors go. The same file as `log` if left out.")


class Settings(Section):
    """The whole file."""

    log: Place = Field(description="Where the durable log is; a path after three slashes is relative to this file.")
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
        try:
            store(log, _folder(info))
            index = log
        except (Unfit, AttributeError):  # the log's own error is reported once, at its own place
            index = DEFAULT_LOG
        streams = value.get("streams")
        if isinstance(streams, dict):
            streams = {
                name: {"index": index, **stream} if isinstance(stream, dict) else stream
                for name, stream in streams.items()
            }
            return {**value, "log": log, "streams": streams}
        return {**value, "log": log}
