"""How many connections a client, or its network, holds at this moment, over all workers (how: `crowd.pyx`)."""

def crowd_bytes(workers: int) -> int:
    """Return the size of the memory, bytes: 262_144 for each worker; ValueError unless `workers` is in 1..256."""

class Crowd:
    """Connection counts; each worker writes its own cells only, so a killed worker's are zeroed by its successor."""

    def __init__(self, memory: memoryview, workers: int, worker: int, secret: bytes) -> None:
        """Take `crowd_bytes(workers)` of memory, the number of workers, one's own index and the region's secret.

        Raises:
            ValueError: The size or alignment of the memory, an index, or the length of the secret is wrong.

        """

    def start(self) -> None:
        """Begin a worker's life: it holds no connections, whatever its predecessor held."""

    def enter(self, key: int) -> None:
        """Count one more connection of a client or network: any key, 0..2**64-1."""

    def leave(self, key: int) -> None:
        """Count one less; what was not entered before would be taken from others that share a bucket."""

    def count(self, key: int) -> int:
        """Return how many connections all workers hold for a key; never too low, hardly ever too high.

        A worker counts up to 65_535 for a key; beyond that its count is too low.
        """
