"""The corpus, as the acceptance tests have it."""

from __future__ import annotations

from tests.acceptance.conftest import corpus

__all__ = ["corpus"]
