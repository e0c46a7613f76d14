"""The engine: one loop a stream, and the decisions that it carries out. Begin with loop.py."""
