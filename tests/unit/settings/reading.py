"""Reading a configuration in tests: settings, or the errors with their places."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headwater.errors import Misconfigured
from headwater.settings.failures import ConfigurationErrors
from headwater.settings.kafka import KafkaLog
from headwater.settings.loading import load
from headwater.settings.schema import Settings

FILE = "headwater.yaml"


def read(folder: Path, text: str, **environment: str) -> Settings:
    """Load a text as a configuration file of this folder."""
    path = folder / FILE
    path.write_text(text)
    return load(path, environment)


def kafka(folder: Path, text: str, **environment: str) -> KafkaLog:
    """Load what stands under `log`."""
    log = read(folder, f"log: {text}\nstreams: {{a: {{}}}}", **environment).log
    assert isinstance(log, KafkaLog)
    return log


def told(folder: Path, text: str, **environment: str) -> list[tuple[str, Misconfigured]]:
    """Return the errors of a file, each as it is shown (without the file's name) and as it is."""
    with pytest.raises(ConfigurationErrors) as caught:
        read(folder, text, **environment)
    return [(str(error).removeprefix(str(folder) + os.sep), error) for error in caught.value.errors]


def lines(folder: Path, text: str, **environment: str) -> list[str]:
    """Return the errors of a file as lines."""
    return [line for line, _ in told(folder, text, **environment)]
