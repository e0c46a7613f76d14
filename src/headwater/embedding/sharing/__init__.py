"""Workers of one log share the accounts that they use: shares that they publish, and lend each other."""
