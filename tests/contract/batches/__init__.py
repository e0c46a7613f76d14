"""Every batch interface against the contract of its port."""
