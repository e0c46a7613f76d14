"""PURE: personal data and credentials in a text are found by their form, and give way to a word for their kind."""
