"""Headwater keeps embeddings true to their source. The command line is the door; `headwater.testing` is for adapter
authors.
"""

__version__ = "0.1.0"
