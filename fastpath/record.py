"""One request as the workers tell it to the analyst: the layout of a record of the ring, in one place.

A connection that was not taken on (a knock) has the same layout, in a ring of its own. It has a time, a client, an
address and where that came from, a reason (of `TurnedAway`), an action (held or dropped), flags, and no upstream; all
else is 0.
"""

import struct
from operator import attrgetter
from typing import Final, NamedTuple

RECORD_FORMAT: Final = "<qQQQ5IH7B3x16s64s16s"
_STRUCT: Final = struct.Struct(RECORD_FORMAT)
_TIME: Final = attrgetter("time_ns")
RECORD_BYTES: Final = _STRUCT.size
SUBJECT_BYTES: Final = 64
FINGERPRINT_BYTES: Final = 16
NO_UPSTREAM: Final = 255
FLAG_CACHED: Final = 2  # answered by what the keyserver had said to another request
FIRST_ERROR: Final = 400


class Record(NamedTuple):
    """One request, or one knock. `received` and `sent` are bytes; they and the times in µs stop at 2**32-1."""

    time_ns: int  # CLOCK_MONOTONIC at its end
    client: int  # from client_key
    request_id: int
    subject_hash: int
    upstream_us: int
    wait_us: int
    total_us: int
    received: int
    sent: int
    status: int
    operation: int
    action: int
    reason: int
    source: int  # where the client's address came from
    method: int
    flags: int
    upstream: int  # index; NO_UPSTREAM: none was asked
    address: bytes  # 16 bytes, IPv4 as mapped
    subject: bytes  # cut at 64 bytes, maybe within a character
    fingerprint: bytes = bytes(FINGERPRINT_BYTES)  # of the client's program (TLS); all 0: none

    @property
    def refused(self) -> bool:
        """Whether the guard itself answered with an error."""
        return self.upstream == NO_UPSTREAM and self.status >= FIRST_ERROR and not self.flags & FLAG_CACHED


def records(raw: bytes) -> list[Record]:
    """Return the records in bytes that `Ring.take` gave, of one ring or of several, in the order of time."""
    taken = [Record._make((*fields[:-2], fields[-2].rstrip(b"\0"), fields[-1])) for fields in _STRUCT.iter_unpack(raw)]
    taken.sort(key=_TIME)
    return taken
