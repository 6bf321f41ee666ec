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


class TurnedAway(IntEnum):
    """Why a connection was not taken on; the numbers are those of the counters."""

    FULL = 0  # as many as the operator allows
    BANNED = 1
    CROWDED = 2  # as many of this client, or of its network, as the operator allows
    UNTRUSTED = 3  # only trusted proxies may connect there
    UNTOLD = 4  # no PROXY header, or no first byte, in time
    HANDSHAKE = 5  # of TLS: more at once than the operator allows, or it failed


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
    TRAP = 14  # a path that no client of a keyserver asks for
    CANARY = 15  # a subject that the operator has set as a trap
    BANNED = 16  # the client, or a network around it
    UNWANTED = 17  # a body that holds what may not be
    BUDGET = 18  # used up by others too: by the network, or for what was asked for
    VERDICT = 19  # what the client has done before, taken together
    ORIGIN = 20  # where it comes from: a rule of the operator, or a list
