"""The classes of operations and what they cost."""

from enum import IntEnum


class OperationClass(IntEnum):
    """What a request asks of a keyserver, and at the same time the index of the limit that it spends from.

    TOTAL is the limit over all classes, never the class of a request.
    """

    TOTAL = 0
    CERT = 1
    IDENTITY = 2
    WORDS = 3
    UPLOAD = 4
    MAIL = 5
    ADMIN = 6
    SYNC = 7
    PREFIXLOG = 8
    STATS = 9
    STATIC = 10
    UNKNOWN = 11


# Tokens of the total limit. One token is one get of an ordinary certificate by fingerprint (1.0 ms on
# Hockeypuck with 20 000 keys). Measured there: identity 0.96 ms, words 60-64 ms (HKP.md 0.7). The others are
# estimates for what is paid before sending; the real time of the upstream is charged afterwards.
PRICES = {
    OperationClass.CERT: 1,
    OperationClass.IDENTITY: 1,
    OperationClass.WORDS: 60,
    OperationClass.UPLOAD: 20,
    OperationClass.MAIL: 20,
    OperationClass.ADMIN: 20,  # a signature is verified before anybody is authorised
    OperationClass.SYNC: 60,  # writes on the server; peers are exempt from rates
    OperationClass.PREFIXLOG: 20,
    OperationClass.STATS: 1,
    OperationClass.STATIC: 0,  # a balancer's health check must never run dry
    OperationClass.UNKNOWN: 1,
}

VINDEX_PRICE = 4  # HTML with every signature: 1-80, by the certificate; an ordinary one is near the lower end
UNKNOWN_LOOKUP_PRICE = 60  # an operation that we do not know may search
REFUSED_PRICE = 1  # the upstream is not asked, but a probe pays for the answer
