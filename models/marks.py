"""What one record adds to a window (`panes.pyx`): whole numbers, so that it does not matter where a stream is cut.

Most are counts. Times and sizes are added as steps of a sixteenth of an octave (`octaves`), not in microseconds or
bytes: one long pause does not outweigh a hundred short ones, and every sum fits 32 bits.

What the guard did is left out where it can be. A pause is the time from the end of a request to the beginning of the
next, so what a request waited in the guard, or for the keyserver, is in neither. Misses count of what was answered
only. That a request was refused for want of tokens is not looked at: a client must not look worse for having been
limited, and shadow mode, or a log of another server, must show the same as the live guard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Records = NDArray[np.void]
    Flags = NDArray[np.bool_]

# Numbers of records that mean something here. Their words are in the folder above, which models do not know; a test
# compares.
CERT, IDENTITY, WORDS, UPLOAD, MAIL, ADMIN, SYNC, PREFIXLOG, STATS, STATIC, UNKNOWN = range(1, 12)
ALLOW, DELAY, SHADOW = 0, 1, 6
MALFORMED, TOO_LARGE, TIMEOUT, GONE, BANNED, UNWANTED = 8, 9, 10, 12, 16, 17
GET, POST = 1, 3
FLAG_HTTP_1_0 = 1
NO_HEAD = 0  # subject_hash of a connection whose head was not read

SUMS: Final = (
    "requests", "certs", "identities", "words", "uploads", "pages", "rare", "unknown",
    "malformed", "unfinished", "odd_methods", "http_1_0",
    "searches", "missed", "domains", "same_domain", "text_bytes", "odd_bytes",
    "key_ids", "rises", "falls", "steps", "step_octaves",
    "pauses", "pause_octaves", "pause_squares", "overlaps",
    "upload_octaves", "upload_squares",
)  # fmt: skip
"""What is added up."""
PEAKS: Final = ("burst", "haste")
"""Of what the greatest is kept: requests since the last rest; SLOWEST less the octaves of a pause."""

OCTAVE: Final = 16  # steps
FORGET_NS: Final = 6 * 3_600_000_000_000
SLOWEST: Final = 35 * OCTAVE  # a pause of 6 h, after which a client is forgotten, is 34.3 octaves of us
REST_US: Final = 1_000_000
PLAIN: Final = bytes([0, *b" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_+@',", *range(128, 256)])
"""What names and addresses are made of."""


def are_lookups(records: Records) -> Flags:
    """Tell which records ask for something that has a name: a certificate, an identity or words."""
    flags: Flags = (records["operation"] >= CERT) & (records["operation"] <= WORDS)
    return flags
