"""PURE: how a document becomes chunks and payload. One verb a file; `standard` puts them together."""
