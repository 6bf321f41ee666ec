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
    SWITCHED_OFF = 6  # the operator does not offer it
    TOO_SHORT = 7  # word search
    PEERS_ONLY = 8
    MALFORMED = 9
    TOO_LARGE = 10
    TIMEOUT = 11  # the client was too slow
    UPSTREAM = 12  # none could answer
    GONE = 13  # the client left before it had its answer
    CROWDED = 14  # more parked requests or connections than the operator allows
