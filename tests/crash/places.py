"""Where things lie in a campaign's folder, and its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

STREAM = "articles"

_CONFIG = """\
log: sqlite:///log.db
streams:
  articles:
    source: {{folder: ./docs, rescan: 100ms}}
    partitions: 3
    recipe:
      embed: {{model: hash}}
      payload: {{title: title}}
    index: sqlite:///{index}
"""


class Places(NamedTuple):
    """One campaign's folder."""

    folder: Path
    index_name: str

    @classmethod
    def make(cls, folder: Path, *, one_file: bool) -> Places:
        places = cls(folder, "log.db" if one_file else "index.db")
        places.docs.mkdir(parents=True)
        places.config.write_text(_CONFIG.format(index=places.index_name))
        return places

    @property
    def config(self) -> Path:
        return self.folder / "headwater.yaml"

    @property
    def docs(self) -> Path:
        return self.folder / "docs"

    @property
    def log(self) -> Path:
        return self.folder / "log.db"

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.log, self.folder / self.index_name)
