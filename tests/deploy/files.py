"""What the container's files say, read as far as tests need it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy" / "compose"


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions with their arguments, in order."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word]


def arguments(word: str) -> list[str]:
    return [rest for found, rest in instructions() if found == word]


def command(word: str) -> list[str]:
    """The last ENTRYPOINT or CMD, which must be in exec form."""
    words: list[str] = json.loads(arguments(word)[-1])
    return words


def environment() -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", arguments("ENV")[-1]))


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load((COMPOSE / "compose.yaml").read_text())
    return loaded


def pins(lock: Path) -> set[str]:
    """The `name==version` of a lock."""
    return set(re.findall(r"^([a-z0-9-]+==\S+)", lock.read_text(), re.MULTILINE))
