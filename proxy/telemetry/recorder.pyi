"""The step `record`: one record in the worker's ring and one stroke in its counters, for every request."""

from fastpath import Counters, Ring

class Recorder:
    """Writes the records and counters of one worker; exchanges reach it in C."""

    def __init__(self, ring: Ring, counters: Counters) -> None:
        """Both are this worker's own: it is their only writer."""

    def gauges(self, connections: int, parked: int, held: int) -> None:
        """Publish how many connections are open, how many requests wait, how many connections the tarpit holds."""
