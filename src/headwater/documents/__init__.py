"""Documents of all kinds become text: parsed in a process of their own, within limits."""
