"""Bodies of requests: read whole, and found good, before the upstream hears of them.

So a slow upload holds memory of ours and nothing of the keyserver's, and a bad one never reaches it. The memory is
bounded for each worker, and so is the part of one client. Where it is used up, the body that has taken longest makes
room: an honest upload is here in a moment.
"""

from collections.abc import Callable
from typing import Final

from proxy.hkp.bodies import BadBody, BodyReader
from proxy.http.body import decoder_for
from proxy.settings.checks import BODY_PARTS

SMALL_BYTES: Final = 4096  # a piece


class NoRoom(BadBody):
    """There is no memory for it, whatever is in it."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(429, "The server is busy with other uploads.")


class BodyStore:
    """The memory for the bodies that one worker reads at a time."""

    def __init__(self, most_bytes: int) -> None:
        """Keep up to `most_bytes`."""
        self.most_bytes = most_bytes
        self.used_bytes = 0
        self._by_client: dict[int, int] = {}
        self._reading: dict[Intake, Callable[[], None]] = {}  # in the order of their beginning

    def admit(self, intake: "Intake", make_room: Callable[[], None]) -> None:
        """Begin with a body; `make_room` is called if it is to be given up for others."""
        self._reading[intake] = make_room

    def take(self, intake: "Intake", size: int) -> None:
        """Make room for `size` more bytes of a body; NoRoom if its client has its part already."""
        if self._by_client.get(intake.client, 0) + size > self.most_bytes // BODY_PARTS:
            raise NoRoom
        while self.used_bytes + size > self.most_bytes:
            oldest = next((each for each in self._reading if each is not intake), None)
            if oldest is None:
                raise NoRoom
            self._reading.pop(oldest)()
        self._by_client[intake.client] = self._by_client.get(intake.client, 0) + size  # may have made room itself
        self.used_bytes += size

    def complete(self, intake: "Intake") -> None:
        """Take note that all of a body came: from now on it makes room for nobody."""
        self._reading.pop(intake, None)

    def release(self, intake: "Intake") -> None:
        """Give back what a body took."""
        self._reading.pop(intake, None)
        self.used_bytes -= intake.size
        left = self._by_client.pop(intake.client, 0) - intake.size
        if left > 0:
            self._by_client[intake.client] = left


class Intake:
    """One body.

    Attributes:
        client: Key of the client, from `client_key`.
        size: Bytes that are kept.
        done: Whether all of it is here.
        pieces: What came so far, in order; none is empty.
        found: What the reader found in it; None before the end, without a reader, and if it objected.
        objection: What it objected to, if that is only to be told.

    """

    def __init__(self, length: int, client: int, store: BodyStore, *, most_bytes: int) -> None:
        """`length`: bytes, or CHUNKED."""
        self.client = client
        self.size = 0
        self.done = False
        self.found: object = None
        self.objection: BadBody | None = None
        self._decoder = decoder_for(length)
        self._most_bytes = most_bytes
        self._store = store
        self._reader: BodyReader | None = None
        self._tolerant = False
        self.pieces: list[bytes] = []

    def begin(self, reader: BodyReader | None, make_room: Callable[[], None], *, tolerant: bool = False) -> None:
        """Expect the body; `reader` looks at it meanwhile, and objects in vain if we are `tolerant`."""
        self._reader = reader
        self._tolerant = tolerant
        self._store.admit(self, make_room)

    def feed(self, data: bytes) -> bytes:
        """Take a piece; return what comes after the end of the body.

        Raises:
            ChunkError: its framing is broken.
            BadBody: it is too large, there is no room for it, or its reader objects.

        """
        payload = self._decoder.feed(data)
        if self.size + len(payload) > self._most_bytes:
            raise BadBody(413, "This is more than the server takes in one request.")
        self._store.take(self, len(payload))
        self.size += len(payload)
        self._keep(payload)
        self.done = self._decoder.done
        try:
            self._look_at(payload)
        except BadBody as objection:
            if not self._tolerant:
                raise
            # Without its traceback, which knows us: a cycle is left to the collector, who stops everybody.
            self.objection, self._reader = objection.with_traceback(None), None
        if self.done:
            self._store.complete(self)
        return self.rest

    @property
    def rest(self) -> bytes:
        """What came after the end of the body, also if its reader objected; nothing before."""
        return self._decoder.rest if self.done else b""

    def _keep(self, payload: bytes) -> None:
        """Keep a piece; small ones are put together, since each would take 41 bytes more than it has."""
        if self.pieces and len(self.pieces[-1]) < SMALL_BYTES:
            self.pieces[-1] += payload
        elif payload:
            self.pieces.append(payload)

    def _look_at(self, payload: bytes) -> None:
        if self._reader is not None and payload:
            self._reader.feed(payload)
        if self._reader is not None and self.done:
            self.found = self._reader.finish()

    def release(self) -> None:
        """Let go of it."""
        self._store.release(self)
        self.size = 0
        self.pieces = []
