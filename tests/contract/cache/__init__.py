"""Every embedding cache against the contract of its port."""
