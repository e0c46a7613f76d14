"""The command line's folder, for what the compose file starts."""

from __future__ import annotations

from tests.integration.cli.conftest import cli

__all__ = ["cli"]
