"""Reading a configuration in tests: settings, or the errors with their places.

Every file that a test reads is held against the JSON Schema too: what loads fits it, and what is refused does not, as
far as a schema can say why.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, SecretStr
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from headwater.errors import Misconfigured
from headwater.settings.failures import ConfigurationErrors
from headwater.settings.json_schema import json_schema
from headwater.settings.kafka import KafkaLog
from headwater.settings.loading import read as load_with_places
from headwater.settings.origins import HIDDEN, Value, values
from headwater.settings.origins import lines as shown
from headwater.settings.schema import Settings

FILE = "headwater.yaml"
SCHEMA = Draft202012Validator(json_schema())

#: What an error expects that a JSON Schema cannot say: it counts, compares or looks things up.
BEYOND = re.compile(
    "|".join(
        [
            "UTF-8|Unicode text|at most 1 MiB|at most .* (levels|aliases|values)",  # the text itself
            "one document|each key once",
            "without a tag|a key$|YAML|an anchor",
            "the environment variable|the same|env:NAME",  # what a variable holds
            "a duration between|a size between|a whole number of a sensible size|sizes that fit together",
            "a CEL expression",
            "HOST",  # which texts are an address
            "one of [a-z-]+(, [a-z-]+)*$|`accounts` with one of this name|a file of its own",  # other places
            "no more than `hard`|`reserve` and `minimum`",
            "a Kafka as `log`|json or text|or `version` beside `topic`",
            r"topic\.id: key|\.version: this key left out|registry\.ca: this key",  # by what other keys say
            "https://|sasl_ssl",  # which hosts are this machine
            "true or false|a text$|a whole number$",  # where YAML's own rules differ, such as True and 0x10
            "a valid value",  # not-a-number
        ]
    )
)


def read(folder: Path, text: str, **environment: str) -> Settings:
    """Load a text as a configuration file of this folder."""
    path = folder / FILE
    path.write_text(text)
    settings, root = load_with_places(path, environment)
    fits(text)
    again(path, settings, values(settings, root, environment))
    return settings


def kafka(folder: Path, text: str, **environment: str) -> KafkaLog:
    """Load what stands under `log`."""
    log = read(folder, f"log: {text}\nstreams: {{a: {{}}}}", **environment).log
    assert isinstance(log, KafkaLog)
    return log


def told(folder: Path, text: str, **environment: str) -> list[tuple[str, Misconfigured]]:
    """Return the errors of a file, each as it is shown (without the file's name) and as it is."""
    with pytest.raises(ConfigurationErrors) as caught:
        read(folder, text, **environment)
    refuses(text, caught.value)
    return [(str(error).removeprefix(str(folder) + os.sep), error) for error in caught.value.errors]


def lines(folder: Path, text: str, **environment: str) -> list[str]:
    """Return the errors of a file as lines."""
    return [line for line, _ in told(folder, text, **environment)]


def fits(text: str) -> None:
    """What loads has no error in an editor."""
    error = next(SCHEMA.iter_errors(YAML(typ="safe").load(text)), None)
    assert error is None, f"it loads, and the schema refuses it: {error.json_path}: {error.message}"


def again(path: Path, settings: Settings, found: list[Value]) -> None:
    """What `config show` prints loads as the same settings, but for secrets: those it does not hold."""
    texts = [str(it.value) for it in found]
    for secret in secrets(settings):
        # One as short as `p` is a part of many words.
        assert not any(secret in (text if len(secret) > 3 else [text]) for text in texts), "a secret is shown"
    if all(it.value != HIDDEN for it in found):
        path.write_text("\n".join(line for line, _ in shown(found)))
        assert load_with_places(path, {})[0] == settings


def secrets(held: object) -> Iterator[str]:
    if isinstance(held, SecretStr):
        yield held.get_secret_value()
    elif isinstance(held, BaseModel):
        for name in type(held).model_fields:
            yield from secrets(getattr(held, name))
    elif isinstance(held, Mapping):
        for inner in held.values():
            yield from secrets(inner)


def refuses(text: str, failed: ConfigurationErrors) -> None:
    """What is refused has an error in an editor, unless a schema cannot say why."""
    try:
        data = YAML(typ="safe").load(text)
    except (YAMLError, ValueError, RecursionError):
        return  # no editor takes it for YAML either
    if all(BEYOND.search(f"{error.path}: {error.expected}") for error in failed.errors):
        return
    assert not SCHEMA.is_valid(data), f"the schema takes it: {failed}"
