"""The log: its ports, its adapters, and what reads its records."""
