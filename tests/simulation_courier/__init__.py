"""Seeded histories of the shipped courier and gateway, in simulated time, against a model whose faults a seed draws."""
