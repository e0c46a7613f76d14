"""Shipped for adapter authors: a simulated clock and loop, faults wrapped around ports, and a contract suite for each
port.
"""
