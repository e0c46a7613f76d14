"""What all sections are made of: durations, sizes, paths, names, secrets, and errors at their own places."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretStr,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from headwater.errors import Reject
from headwater.recipe.condition import Condition
from headwater.settings.addresses import web_address
from headwater.settings.failures import Unfit, listed
from headwater.settings.interpolation import FromEnvironment
from headwater.settings.nodes import STREAM_NAME
from headwater.settings.schema_words import wrote
from headwater.settings.stores import EXPECTED as STORE
from headwater.settings.stores import Store, resolved, store
from headwater.settings.units import DURATION, SIZE, duration_s, size_bytes

_DAY_S = 86400.0

Location = tuple[str | int, ...]


class Section(BaseModel):
    """Strict, closed and frozen: nothing is guessed, nothing is ignored, nothing changes later."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True)
class Written:
    """How the reference calls a type that the settings hold in another form, and its default."""

    type: str | None = None
    default: str | None = None


def unfit(error: Unfit) -> PydanticCustomError:
    """Carry an error of ours through pydantic."""
    return PydanticCustomError("unfit", "unfit", {"expected": error.expected, "hint": error.hint})


def agree(errors: Iterable[tuple[Location, Unfit]]) -> None:
    """Raise all errors at their own places, seen from the section that is checked."""
    details = [InitErrorDetails(type=unfit(error), loc=location, input=None) for location, error in errors]
    if details:
        raise ValidationError.from_exception_data("settings", details, hide_input=True)


def text_of(value: object, expected: str) -> str:
    """Return a text, or say that it is none."""
    if not isinstance(value, str):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        hint = "the unit is missing" if is_number and expected in {DURATION, SIZE} else None
        raise unfit(Unfit(expected, hint))
    return value


def folder_of(info: ValidationInfo) -> Path:
    """Return the folder of the configuration file, which `load` puts into the context."""
    folder = (info.context or {}).get("folder")
    assert isinstance(folder, Path), "settings come from `load`"
    return folder


def _seconds(value: object, least_s: float, most_s: float, expected: str) -> float:
    try:
        seconds = duration_s(text_of(value, DURATION))
    except Unfit as error:
        raise unfit(error) from None
    if not least_s <= seconds <= most_s:
        raise unfit(Unfit(expected))
    return seconds


def _duration(value: object) -> object:
    return _seconds(value, 0.001, 366 * _DAY_S, "a duration between 1ms and 366d")


def _session(value: object) -> object:
    return _seconds(value, 1.0, 1800.0, "a duration between 1s and 30m")


def _keep(value: object) -> object:
    """`all` is no limit. The least is far above what a broker may be late with, the most below its largest number."""
    if value == "all":
        return None
    try:
        return _seconds(value, 60.0, 36500 * _DAY_S, "a duration between 1m and 36500d")
    except PydanticCustomError as error:
        context = error.context or {}
        raise unfit(Unfit(f"all, or {context['expected']}", context["hint"])) from None


def _size(least: int, most: int, expected: str) -> BeforeValidator:
    def check(value: object) -> object:
        try:
            size = size_bytes(text_of(value, SIZE))
        except Unfit as error:
            raise unfit(error) from None
        if not least <= size <= most:
            raise unfit(Unfit(expected))
        return size

    return BeforeValidator(check, _BYTES)


def _store(value: object, info: ValidationInfo) -> object:
    try:
        return store(text_of(value, STORE), folder_of(info))
    except Unfit as error:
        raise unfit(error) from None


def _path(expected: str) -> BeforeValidator:
    def check(value: object, info: ValidationInfo) -> object:
        text = text_of(value, expected)
        if not text or "\0" in text:
            raise unfit(Unfit(expected))
        return resolved(text, folder_of(info))

    return BeforeValidator(check, _NOT_EMPTY)


def _glob(value: str) -> str:
    """Refuse what could reach out of the folder."""
    if not value or "\0" in value or value.startswith("/") or ".." in value.split("/"):
        raise unfit(Unfit("a pattern inside the folder such as **/*.md"))
    return value


def _pattern(value: str) -> str:
    """Refuse what no line of an ignore file can be, and what would be none of its patterns."""
    if not value.strip() or "\0" in value or "\n" in value or value.startswith("#"):
        raise unfit(Unfit("one pattern as in a .gitignore, such as drafts/"))
    return value


def _file_name(value: str) -> str:
    if value in ("", ".", "..") or "/" in value or "\0" in value:
        raise unfit(Unfit("the name of a file, without a folder"))
    return value


def _whole(value: object) -> object:
    """Let the environment give numbers: there everything is text."""
    if isinstance(value, FromEnvironment) and re.fullmatch(r"[0-9]{1,18}", value):
        return int(value)
    return value


def _number(value: object) -> object:
    if isinstance(value, FromEnvironment) and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", value):
        return float(value)
    return value


def _truth(value: object) -> object:
    if isinstance(value, FromEnvironment):
        return {"true": True, "false": False}.get(str(value), value)
    return value


def _secret(value: object) -> object:
    if isinstance(value, str) and value and "\0" not in value:
        return SecretStr(str(value))
    hint = None if isinstance(value, str) else "put it in quotes"
    raise unfit(Unfit("a text that is not empty", hint))


def _several(value: object) -> object:
    """One text is short for a list of one."""
    return (str(value),) if isinstance(value, str) else value


@dataclass(frozen=True)
class Named:
    """A name that the user chooses: all of it fits the pattern."""

    pattern: str
    expected: str

    def check(self, value: str) -> str:
        """Return the name, or say what is expected of one."""
        if not re.fullmatch(self.pattern, value):
            raise unfit(Unfit(self.expected))
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}


def named(pattern: str, expected: str) -> Named:
    """Check a name that the user chooses."""
    return Named(pattern, expected)


def checked(check: Callable[[str], str]) -> AfterValidator:
    """Put a text through a function that raises Unfit."""

    def call(value: str) -> str:
        try:
            return check(value)
        except Unfit as error:
            raise unfit(error) from None

    return AfterValidator(call)


def expression(*variables: str) -> AfterValidator:
    """Check a CEL expression over these variables."""
    expected = f"a CEL expression over {listed([f'`{name}`' for name in variables], 'and')}"

    def check(value: str) -> str:
        try:
            return Condition.parse(value, variables).text
        except Reject as error:
            raise unfit(Unfit(expected, error.reason)) from None

    return AfterValidator(check)


_LENGTH = r"(?!0+(\.0+)?[a-z])[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d)"
#: No size in the settings is less than 1 KiB.
_BYTES = wrote(
    r"^([0-9]{4,9}(\.0{1,9})?B|(?!0+(\.0+)?[kKMGT])[0-9]{1,9}(\.[0-9]{1,9})?([kMGT]B|[KMGT]iB))$", "64KiB", "10MB"
)
_LASTS = wrote(f"^{_LENGTH}$", "250ms", "30s", "5m", "2h", "1d")
_LASTS_OR_ALL = wrote(f"^(all|{_LENGTH})$", "all", "30d")
SQLITE_URL = wrote(r"^sqlite:///[^?#]*[^/?#]$", "sqlite:///headwater.db")
_NOT_EMPTY = wrote(r"^[^\x00]+$", "./docs")
_SECRET = wrote(r"^[^\x00]+$", "${env:NAME}")

Duration = Annotated[float, BeforeValidator(_duration, _LASTS), Written("duration")]
Session = Annotated[float, BeforeValidator(_session, _LASTS), Written("duration")]
Keep = Annotated[float | None, BeforeValidator(_keep, _LASTS_OR_ALL), Written("duration, or `all`", "`all`")]
Size = Annotated[int, _size(1 << 10, 512 << 20, "a size between 1KiB and 512MiB"), Written("size")]
DiskSize = Annotated[int, _size(16 << 20, 1 << 40, "a size between 16MiB and 1TiB"), Written("size")]
Place = Annotated[Store, BeforeValidator(_store, SQLITE_URL), Written("URL")]
Folder = Annotated[Path, _path("the path of a folder"), Written("path")]
File = Annotated[Path, _path("the path of a file"), Written("path")]
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number), Written("number")]
Truth = Annotated[bool, BeforeValidator(_truth)]
Secret = Annotated[SecretStr, BeforeValidator(_secret, _SECRET), Written("secret text")]
Text = Annotated[str, Field(min_length=1, max_length=1024)]
Url = Annotated[
    Text, checked(web_address), Written("URL"), WithJsonSchema({"type": "string", "pattern": "^https?://[^@?#]+$"})
]
Glob = Annotated[
    str,
    AfterValidator(_glob),
    Written("list of patterns"),
    WithJsonSchema({"type": "string", "pattern": r"^(?!/)(?!(.*/)?\.\.(/|$)).+$", "examples": ["**/*.md"]}),
]
FileName = Annotated[
    str,
    AfterValidator(_file_name),
    Written("list of names"),
    WithJsonSchema({"type": "string", "pattern": r"^(?!\.{1,2}$)[^/]+$"}),
]
Pattern = Annotated[
    str,
    AfterValidator(_pattern),
    Written("list of patterns"),
    WithJsonSchema({"type": "string", "pattern": r"^(?!#).*\S", "examples": ["drafts/"]}),
]
BodyPath = Annotated[str, Field(min_length=1, max_length=1024)]
Fields = Annotated[tuple[BodyPath, ...], Field(min_length=1), Written("list of texts")]
BodyPaths = Annotated[
    tuple[BodyPath, ...], BeforeValidator(_several, BodyPath | Fields), Field(min_length=1), Written("path or list")
]
StreamName = Annotated[str, named(STREAM_NAME, "a name of a-z, 0-9, _ and -, beginning with a letter, at most 63 long")]
AccountName = StreamName
FieldName = Annotated[
    str,
    named(
        "[A-Za-z_][A-Za-z0-9_-]{0,62}", "a name of letters, digits, _ and -, beginning with a letter, at most 63 long"
    ),
]
