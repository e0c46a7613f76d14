"""The models themselves, one technology a file: `static` is built in, `hash` is for tests and for measuring."""
