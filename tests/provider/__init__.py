"""Faulty providers for tests: `provider(**plan)` starts one, in a process of its own."""
