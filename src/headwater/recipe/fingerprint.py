"""Fingerprint: digests of all that decides what a recipe makes of a document. Equal fingerprints, equal results."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from headwater.model.change import digest_value
from headwater.model.document import Fingerprints
from headwater.recipe import chunk, enrich, extract, overlap, payload, sections, sentences, units
from headwater.recipe.options import Chunking, Format, PayloadField

SPLITTER = "semantic-text-splitter"


def fingerprints(
    chunking: Chunking,
    fields: Mapping[str, PayloadField],
    form: Format | None,
    model: str,
    filtered: str,
    redacted: str,
) -> Fingerprints:
    """Digest the settings with the revisions of the algorithms. `filtered` and `redacted` identify the filter and the
    redactor, empty without one.
    """
    rooms = (sections.REVISION, sentences.REVISION, units.REVISION, chunk.REVISION, enrich.REVISION)
    cutting = [*rooms, extract.FORMAT_REVISION]
    # The context before each piece begins with the title, so its source counts here as well.
    title = fields.get(payload.TITLE)
    return Fingerprints(
        text=_hexadecimal(["text", extract.REVISION, filtered, *([redacted] if redacted else [])]),
        chunk=_hexadecimal(
            [
                "chunk",
                cutting,
                [SPLITTER, version(SPLITTER)],
                [chunking.least, chunking.size, chunking.most],
                form,
                title.path if title else None,
                *([overlap.REVISION, chunking.overlap] if chunking.overlap else []),
            ]
        ),
        model=model,
        payload=_hexadecimal(
            ["payload", payload.REVISION, {name: [field.path, field.required] for name, field in fields.items()}]
        ),
    )


def _hexadecimal(parts: list[object]) -> str:
    """Digest a JSON-like value."""
    return digest_value(parts).hex()
