"""`load`: from a file to frozen settings, or to all of its errors at once."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping as Environment
from pathlib import Path

from pydantic import ValidationError

from headwater.errors import Misconfigured
from headwater.settings.explaining import Explanation, path_of
from headwater.settings.failures import ConfigurationErrors, Unfit
from headwater.settings.interpolation import FromEnvironment, interpolated
from headwater.settings.nodes import ROOT, Location, Mapping, Node, Parsing, Scalar, Sequence
from headwater.settings.schema import Settings

FILE_BYTES_MAX = 1 << 20

# YAML 1.2's core schema, but true, false and null in lower case only, and numbers without 0x and 0o.
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def load(path: Path, environment: Environment[str, str]) -> Settings:
    """Read and check a configuration file. Raise ConfigurationErrors with every error that it has."""
    return read(path, environment)[0]


def read(path: Path, environment: Environment[str, str]) -> tuple[Settings, Node]:
    """Load a configuration file; return what stands in it, with places, as well."""
    file = str(path)
    try:
        text = _text(path)
        parsing = Parsing(file, path_of)
        root = parsing.read(text)
        if root is None:
            raise _without_place(file, "a configuration", "an empty file", "`headwater init` writes one to begin with")
    except Misconfigured as error:
        raise ConfigurationErrors([error]) from None
    return _settings(path, root, parsing.errors, environment), root


def _settings(path: Path, root: Node, errors: list[Misconfigured], environment: Environment[str, str]) -> Settings:
    """Check a tree against the schema. A tree with errors of its own is checked too, for all there is to say."""
    values = _Values(str(path), environment)
    data = values.of(root, ())
    errors = [*errors, *values.errors]
    settings = None
    try:
        settings = Settings.model_validate(data, context={"folder": path.absolute().parent})
    except ValidationError as error:
        errors += Explanation(str(path), root, data, values.settled).errors(error)
    if errors or settings is None:
        raise ConfigurationErrors(errors)
    return settings


class _Values:
    """Nodes to plain values: references filled in, numbers and truths told from texts. Collects errors as it goes."""

    def __init__(self, file: str, environment: Environment[str, str]) -> None:
        self._file = file
        self._environment = environment
        self.errors: list[Misconfigured] = []
        self.settled: set[Location] = set()

    def of(self, node: Node, location: Location) -> object:
        """Return the value of a node; where it has an error, something that `settled` marks as not worth checking."""
        if isinstance(node, Mapping):
            return {key: self.of(value, (*location, key)) for key, (_, value) in node.entries.items()}
        if isinstance(node, Sequence):
            return tuple(self.of(item, (*location, index)) for index, item in enumerate(node.items))
        try:
            return scalar(node, self._environment)
        except Unfit as error:
            self._note(node, location, error)
            return None

    def _note(self, node: Scalar, location: Location, error: Unfit) -> None:
        self.settled.add(location)
        place = node.place
        self.errors.append(
            Misconfigured(
                path_of(location),
                error.expected,
                error.got,
                self._file,
                place.line,
                place.column,
                error.hint,
                code=error.code,
            )
        )


def scalar(node: Scalar, environment: Environment[str, str]) -> object:
    """Fill in and resolve one scalar. What the environment gives stays text: the schema knows what it should be."""
    text = interpolated(node.text, environment)
    if isinstance(text, FromEnvironment) or not node.plain:
        return _unicode(text)
    return meant(_unicode(text))


def _unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unfit("Unicode text", got="a lone surrogate") from None
    return text


def meant(text: str) -> object:
    """Tell what a scalar without quotes means."""
    if text in {"", "~", "null"}:
        raise Unfit("a value", "leave the key out to have its default", got="nothing")
    if text in {"true", "false"}:
        return text == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text


def _text(path: Path) -> str:
    """Read the file as UTF-8, at most 1 MiB of it."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise _without_place(file, "a configuration file", "no such file", "`headwater init` writes one") from None
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise _without_place(file, "a configuration file", cause, "check the path and its permissions") from None
    if len(content) > FILE_BYTES_MAX:
        raise _without_place(file, "at most 1 MiB", "a larger file", "is it the right one?")
    return _decoded(content.removeprefix(codecs.BOM_UTF8), file)


def _decoded(content: bytes, file: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        got = f"the byte 0x{content[error.start]:02x}"
        raise Misconfigured(ROOT, "UTF-8", got, file, line, column, "save it as UTF-8", code="not-yaml") from None


def _without_place(file: str, expected: str, got: str, hint: str) -> Misconfigured:
    return Misconfigured(ROOT, expected, got, file, hint=hint)
