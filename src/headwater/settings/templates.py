"""The configurations that `headwater init` writes: commented files to begin with, one for each way to use it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

_FOLDER = Path(__file__).parent / "templates"


class Template(StrEnum):
    """What a configuration is to begin with. The value is the file's name, too."""

    FOLDER = "folder"
    REDACTION = "redaction"
    SERVICE = "service"
    KAFKA_TOPIC = "kafka-topic"
    DEBEZIUM = "debezium"


def template(which: Template = Template.FOLDER) -> str:
    """Return the commented configuration."""
    return (_FOLDER / f"{which.value}.yaml").read_text(encoding="utf-8")
