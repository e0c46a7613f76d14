"""Where changes come from: the port, and its adapters for folders and JSON lines."""
