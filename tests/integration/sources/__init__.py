"""The folder source against real folders: its truth, through whatever happens to them, and as a process."""
