"""The replies that the workers of a node keep for a moment, and the flights that fetch them: one for each key.

Times are ns of CLOCK_MONOTONIC, given by the caller, 0..2**61. Every method may be called in any process that
maps the memory, at any time.
"""

from typing import Final, final

LARGEST_REPLY: Final[int]
"""Most bytes of a reply that is kept, 1 MiB, where there is room for four of them (`largest_reply`)."""
LEAST_DATA_BYTES: Final[int]
"""Least bytes for replies: 1 MiB."""
MOST_DATA_BYTES: Final[int]
"""Most bytes for replies: 64 GiB."""
FLIGHT_NS: Final[int]
"""How long a flight keeps others from asking, at least, 60 s; it is over at most 1.3 s later."""
LAYOUT: Final[dict[str, int]]
"""Sizes of the parts, bytes, and the number of ways; for tests that write into the memory."""

def cache_bytes(data_bytes: int) -> int:
    """Return the size of the memory for so many bytes of replies (64 more for each, rounded up to 64), bytes.

    Raises:
        ValueError: data_bytes is not in LEAST_DATA_BYTES..MOST_DATA_BYTES.

    """

def largest_reply(data_bytes: int) -> int:
    """Return the most bytes of a reply that is kept in so many: LARGEST_REPLY, or a quarter of them."""

def used_bytes(memory: memoryview, data_bytes: int) -> int:
    """Return how many bytes replies have taken so far; once the log has gone round it is all of them.

    Raises:
        ValueError: The memory is smaller than `cache_bytes(data_bytes)`, or not aligned.

    """

@final
class Hit:
    """A reply that was kept; made by `look_up`."""

    @property
    def data(self) -> bytes:
        """What was put."""
    @property
    def age_ns(self) -> int:
        """Time since it was put, ns; never below 0."""
    @property
    def stored_ns(self) -> int:
        """When it was put."""
    @property
    def expires_ns(self) -> int:
        """When it ends."""
    @property
    def note(self) -> int:
        """The word that was put with it."""

@final
class Ticket:
    """The right, and the duty, to ask the upstream; made by `look_up`.

    It ends with `put` or `give_up`, or when nobody holds it any more (the same as `give_up`).
    """

    @property
    def tracked(self) -> bool:
        """Whether others may be waiting: false once it has ended, and if there was no room for the flight.

        Without room the caller asks for itself, others with the same key do too, and `put` keeps nothing. It
        takes 8 living flights in one set (of 512 at least), or 65,536 flights of this worker within a second.
        """

class ReplyCache:
    """The cache of one worker, in memory shared by all of them; all zero is an empty cache.

    Two keys of a reply: both are 64-bit hashes of the same canonical request. `key` finds it, `check` guards
    against another request with the same `key`.
    """

    def __init__(
        self, memory: memoryview, data_bytes: int, generations: memoryview, worker: int, secret: bytes
    ) -> None:
        """Take `cache_bytes(data_bytes)` of memory, the workers' generations ('Q'), one's own index and the secret.

        The generation of the worker is read here, once: the flights of a worker that has been replaced are void.
        A worker has one object of this class; two with one generation might take their flights for each other's.

        Raises:
            ValueError: A size, the alignment, or the worker is out of range.

        """

    @property
    def largest(self) -> int:
        """Most bytes of a reply that is kept here."""

    def look_up(self, key: int, check: int, now_ns: int) -> Hit | Ticket | int:
        """Return the reply, or who fetches it: the caller, or somebody else.

        Returns:
            Hit: The reply, not expired.
            Ticket: The caller is to ask the upstream, and all others wait.
            int: In flight; come back. The number is the flight's own: if it changes, or a Ticket comes, the
                flight that the caller waited for has ended and nothing of it was kept.

            A flight ends by `put` or `give_up` or `invalidate`, with its worker's generation, or after FLIGHT_NS.

        """

    def put(self, ticket: Ticket, data: bytes, expires_ns: int, now_ns: int, note: int = 0, /) -> bool:
        """Keep the reply that was fetched, as it is, and end the flight.

        Args:
            ticket: From `look_up` of this object; it ends here, whatever is returned.
            data: At most `largest` bytes.
            expires_ns: It is served while now_ns < expires_ns.
            now_ns: Now; its age counts from here.
            note: A word of the caller's own, 0..2**64-1, that comes back with the reply.

        Returns:
            False: nothing was kept. It is too large or has expired, the flight was invalidated or its time is
            over, the worker was replaced and its flight has a new leader, or the ticket had ended.

        Raises:
            TypeError: The ticket is none of this object's, or data is not bytes.

        """

    def give_up(self, ticket: Ticket) -> None:
        """End the flight with nothing to keep: the next look-up is the new leader. Nothing happens if it has ended.

        Raises:
            TypeError: The ticket is none of this object's.

        """

    def invalidate(self, key: int) -> None:
        """Serve what is kept of a key no more, and do not keep what is in flight: its `put` will return False.

        To be called when the answer to an upload has come, or can come no more. Before it is answered a look-up
        may still fetch, and put, what the upload is about to change.
        """

    def place(self, key: int) -> tuple[int, int]:
        """Return the first cell of the set of a key, and its tag as it stands in a word; for tests."""
