"""Every embedder against the contract."""
