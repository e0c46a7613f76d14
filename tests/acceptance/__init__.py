"""Acceptance: the promises in figures, on a real package's documentation as it changed over seven releases."""
