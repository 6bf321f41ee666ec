"""The step `record`: one record in the worker's ring and one stroke in its counters, for every request."""

from fastpath import Counters, Excerpts, Ring

class Recorder:
    """Writes the records and counters of one worker; exchanges reach it in C."""

    def __init__(self, ring: Ring, excerpts: Excerpts, counters: Counters) -> None:
        """All are this worker's own: it is their only writer. Of an upload the first four user IDs are excerpts."""

    def gauges(self, connections: int, parked: int, held: int) -> None:
        """Publish how many connections are open, how many requests wait, how many connections the tarpit holds."""
