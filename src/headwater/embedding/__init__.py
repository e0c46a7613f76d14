"""From texts to vectors: the port, the gateway in front of it, and the providers behind it."""
