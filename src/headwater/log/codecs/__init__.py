"""PURE: how records are read, one format a file."""
