"""The step `record`: one record and one stroke in the counters for every request, and every connection not taken on."""

from fastpath import Counters, Excerpts, Ring

class Recorder:
    """Writes the records and counters of one worker; exchanges reach it in C."""

    def __init__(self, ring: Ring, knocks: Ring, excerpts: Excerpts, counters: Counters) -> None:
        """All are this worker's own: it is their only writer.

        Args:
            ring: For requests.
            knocks: For connections that are not taken on.
            excerpts: Of uploads, of each the first four user IDs.
            counters: For both.

        """

    def gauges(self, connections: int, parked: int, held: int) -> None:
        """Publish how many connections are open, how many requests wait, how many connections the tarpit holds."""
