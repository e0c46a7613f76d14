"""Headwater's topics: their names, what each is set to and why, and what it takes to get there."""

from __future__ import annotations


def changes_topic(prefix: str, stream: str) -> str:
    """Return the topic of a stream's changes, where it does not read another system's."""
    return f"{prefix}.{stream}.changes"


def receipts_topic(prefix: str, stream: str) -> str:
    """Return the topic of a stream's receipts. It has as many partitions as the stream's changes."""
    return f"{prefix}.{stream}.receipts"


def dead_topic(prefix: str, stream: str) -> str:
    """Return the topic of the events about a stream's dead letters: one partition, read as a whole."""
    return f"{prefix}.{stream}.dead"


def positions_topic(prefix: str, stream: str) -> str:
    """Return the topic where a stream's sources keep their positions: one partition."""
    return f"{prefix}.{stream}.positions"


def control_topic(prefix: str) -> str:
    """Return the topic of the registry, for all streams: one partition, where the first record that fits wins."""
    return f"{prefix}.control"


def consumer_group(prefix: str, stream: str) -> str:
    """Return the consumer group of a stream's workers."""
    return f"{prefix}.{stream}"


def transactional_prefix(prefix: str, stream: str) -> str:
    """Return what each transactional id of a stream begins with, and no other stream's does."""
    return f"{prefix}.{stream}."
