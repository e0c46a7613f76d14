"""A service of embeddings that behaves as badly as it is told to: what drills, benchmarks and users rehearse with."""
