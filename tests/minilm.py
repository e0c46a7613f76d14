"""The weights of onnx/all-MiniLM-L6-v2, from `make install`. Without them a test is skipped, in CI it fails."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from headwater.embedding.providers.onnx import ModelFiles


def weights() -> Path:
    """Return the archive with the weights; skip the test that lacks it, in CI fail it."""
    if importlib.util.find_spec(ModelFiles.package) is None:
        lacking = f"{ModelFiles.distribution} is not installed: run `make install`"
        if os.environ.get("CI"):
            pytest.fail(lacking)
        pytest.skip(lacking)
    return ModelFiles().path()
