"""A writer that says of every record what it holds, where it comes from, and which trace it belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.log.port import LogWriter, SourcePosition
from headwater.model.change import Outgoing


class LabellingWriter:
    """A LogWriter that adds headers to each change. Those that a change has already come first."""

    def __init__(self, inner: LogWriter, headers: Sequence[tuple[str, bytes]]) -> None:
        self._inner = inner
        self._headers = tuple(headers)

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        labelled = [change._replace(headers=change.headers + self._headers) for change in changes]
        await self._inner.append(labelled, position)

    async def position(self, source: str) -> tuple[int, dict[bytes, bytes]]:
        return await self._inner.position(source)

    async def close(self) -> None:
        await self._inner.close()
