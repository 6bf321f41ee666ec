"""The words and numbers of decisions; the numbers are those of the record ring and of the counters."""

from enum import IntEnum


class Action(IntEnum):
    """What is done with a request."""

    ALLOW = 0
    DELAY = 1
    LIMIT = 2
    DENY = 3
    TARPIT = 4
    DROP = 5


class Reason(IntEnum):
    """Why; for the operator only, never told to a client."""

    NONE = 0
    LIMIT = 1  # a bucket is empty, or the wait for it too long
    BUSY = 2  # no place became free among those that the class may hold at once
    ALLOWED_NETWORK = 3
    UNKNOWN = 4  # no operation of a keyserver
    METHOD = 5
    NOT_OFFERED = 6  # an unknown `op`, word search that is off, or words that are too short
    PEERS_ONLY = 7
    MALFORMED = 8
    TOO_LARGE = 9
    TIMEOUT = 10  # the client was too slow
    UPSTREAM = 11  # none could answer
    GONE = 12  # the client left before it had its answer
    CROWDED = 13  # more parked requests or connections than the operator allows
