"""Every claim of speed and memory, as a command: `python -m bench`."""
