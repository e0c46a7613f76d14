"""One fault at one call: the Nth call of one method of one port fails, before or after it was carried out."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from headwater.errors import Retry

#: Every method that may raise Retry and that a worker calls.
BOUNDARIES = (
    "LogReader.poll",
    "LogReader.settle",
    "LogWriter.append",
    "LogWriter.position",
    "LogHistory.watermarks",
    "LogHistory.identity",
    "LogHistory.read",
    "Registry.read",
    "Registry.advance",
    "Ledger.dead",
    "IndexCatalogue.generations",
    "IndexCatalogue.create",
    "IndexCatalogue.adopt",
    "IndexCatalogue.keep_probes",
    "IndexWriter.manifests",
    "IndexWriter.vectors",
    "IndexWriter.apply",
    "Embedder.embed",
    "Source.synchronise",
)
#: A read that times out has only read; of these it matters that they were carried out.
WRITES = frozenset(
    {
        "LogReader.settle",
        "LogWriter.append",
        "Registry.advance",
        "IndexCatalogue.create",
        "IndexCatalogue.adopt",
        "IndexCatalogue.keep_probes",
        "IndexWriter.apply",
        "Embedder.embed",
        "Source.synchronise",
    }
)


class Fault:
    """Strikes at the `nth` call of `boundary` and never again. `late`: after the call was carried out."""

    def __init__(self, boundary: str = "", nth: int = 0, *, late: bool = False) -> None:
        self._boundary = boundary
        self._left = nth
        self._late = late

    def __repr__(self) -> str:
        return f"Fault({self._boundary}, {self._left} calls away{', late' if self._late else ''})"

    @property
    def struck(self) -> bool:
        """Whether the call was made."""
        return self._left <= 0

    def due(self, boundary: str) -> bool:
        """Count a call; tell whether it fails."""
        if boundary != self._boundary:
            return False
        self._left -= 1
        return self._left == 0

    async def around(self, boundary: str, call: Callable[[], Awaitable[Any]]) -> Any:
        due = self.due(boundary)
        if due and not self._late:
            raise Retry(boundary, "connection refused")
        result = await call()
        if due:
            raise Retry(boundary, "timed out")
        return result


class Failing:
    """Any port, with the fault in front of it. An iterator's every step is a call."""

    def __init__(self, inner: Any, port: str, fault: Fault) -> None:
        self._inner = inner
        self._port = port
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        boundary = f"{self._port}.{name}"
        if boundary not in BOUNDARIES:
            return method
        if inspect.isasyncgenfunction(method):
            return lambda *arguments: self._steps(boundary, method(*arguments))

        async def call(*arguments: Any) -> Any:
            return await self._fault.around(boundary, lambda: method(*arguments))

        return call

    async def _steps(self, boundary: str, inner: AsyncIterator[Any]) -> AsyncIterator[Any]:
        while True:
            if self._fault.due(boundary):
                raise Retry(boundary, "connection reset")
            try:
                item = await anext(inner)
            except StopAsyncIteration:
                return
            yield item
