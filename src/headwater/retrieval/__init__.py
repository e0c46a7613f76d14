"""The query path, and what an index generation holds for everybody to read."""
