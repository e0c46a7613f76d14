"""What every folder of tests may use."""

from __future__ import annotations

pytest_plugins = ["tests.kafka.fixtures", "tests.kafka.counting", "tests.provider.fixtures"]
