"""The in-memory index keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from headwater.errors import Retry
from headwater.indexes.memory import CAPABILITIES, MemoryCatalogue, MemoryIndexReader, MemoryIndexWriter, MemoryTables
from headwater.indexes.memory_tables import Key, Swapped
from headwater.model.manifest import Mark, Write
from headwater.testing.index_contract import IndexContract
from headwater.testing.index_scenario import Harness


class FailingTables(MemoryTables):
    """Tables whose commit point fails while they are told to."""

    failing = False

    async def swap_manifest(self, key: Key, write: Write | Mark, since: int) -> Swapped:
        if self.failing:
            raise Retry("the index", "told to fail")
        return await super().swap_manifest(key, write, since)


class MemoryHarness:
    capabilities = CAPABILITIES

    def __init__(self) -> None:
        self.tables = FailingTables()

    def catalogue(self) -> MemoryCatalogue:
        return MemoryCatalogue(self.tables)

    def writer(self, stream: str, number: int) -> MemoryIndexWriter:
        return MemoryIndexWriter(self.tables, stream, number)

    def reader(self, stream: str, number: int) -> MemoryIndexReader:
        return MemoryIndexReader(self.tables, stream, number)

    def restart(self) -> None:
        self.tables = FailingTables()

    @contextmanager
    def broken(self) -> Iterator[None]:
        self.tables.failing = True
        yield
        self.tables.failing = False


class TestMemory(IndexContract):
    @pytest.fixture
    def harness(self) -> Harness:
        return MemoryHarness()
