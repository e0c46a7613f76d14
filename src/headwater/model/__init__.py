"""PURE nouns: what the rooms talk about. Nothing here reads, writes, waits or asks for the time."""
