"""How many tests ran against a real broker. In CI a whole run in which fewer did than least-tests.txt says has failed.

A test that is skipped, or that lost its marker, looks like success: this is what notices.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kafka.fixtures import BROKERS

LEAST = Path(__file__).with_name("least-tests.txt")
MARK = "ran against a broker"

_ran = pytest.StashKey[int]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if set(BROKERS) & set(getattr(item, "fixturenames", ())):
            item.add_marker("kafka")
        if item.get_closest_marker("kafka"):
            # It travels with the report from a worker to the controller, as markers do not.
            item.user_properties.append((MARK, True))


class Counter:
    """Counts in the process that hears every report: the controller, or the only one there is."""

    def __init__(self, config: pytest.Config) -> None:
        self.ran = 0
        self.least = int(LEAST.read_text())
        whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not (
            config.option.keyword or config.option.markexpr or config.option.collectonly
        )
        self.counts = whole and bool(os.environ.get("CI"))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed and (MARK, True) in map(tuple, report.user_properties):
            self.ran += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.counts and self.ran < self.least and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.counts:
            few = f": too few, {LEAST.name} says {self.least}" if self.ran < self.least else ""
            terminalreporter.write_line(f"{self.ran} tests ran against a real Kafka broker{few}", red=bool(few))


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Counter(config))
