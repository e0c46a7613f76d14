"""Folders to call the command line in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.cli.process import CONFIG, WITHOUT_SOURCE, Cli


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    with closing(Cli(tmp_path)) as made:
        yield made


@pytest.fixture
def articles(cli: Cli) -> Cli:
    """A stream with a folder of two documents, all settled."""
    cli.write("headwater.yaml", CONFIG)
    cli.write("docs/fish.md", "# Fish\n\nTrout and salmon swim upstream in clear water.\n")
    cli.write("docs/stars.md", "# Stars\n\nA telescope shows the rings of Saturn.\n")
    cli("run", "--once")
    return cli


@pytest.fixture
def notes(cli: Cli) -> Cli:
    """A stream that is fed by `publish`."""
    cli.write("headwater.yaml", WITHOUT_SOURCE)
    return cli
