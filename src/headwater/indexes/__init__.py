"""Indexes: their ports, their adapters, and the rules that all of them share."""
