"""Numbers that stand for words in records, in one place for their writer and their reader."""

from enum import IntEnum

METHODS = ("OTHER", "GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH")
FLAG_HTTP_1_0 = 1
FLAG_TLS = 4  # of a connection that was not taken on: it came to speak TLS, if that was known
SHADOW = 6  # added to an action that a limit in shadow mode would have taken


class CacheUse(IntEnum):
    """What the cache was to a request; also the index of its counter."""

    NONE = 0  # it had no business there
    HIT = 1
    JOINED = 2  # it waited for the answer to another request that was on its way
    MISS = 3
