"""What every parser of a format is given, and what it gives.

A parser is `parse(data, reading) -> Parsed`: a plain function of bytes that somebody else wrote. It does no I/O, has no
clock, and raises nothing but NotAList. It may take half a second of CPU for a hundred thousand rows, so it is not for a
loop that serves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.intel.listing import Listings, Prefixes


class NotAList(ValueError):
    """The body is no list of this format, or too little of it can be believed; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a list; what is beyond `most_...` or `longest_...` refuses the whole."""

    most_bytes: int = 64 * 1024 * 1024  # once it is unpacked
    most_rows: int = 1_000_000  # and as many prefixes, which ranges are split into
    longest_line: int = 16_384  # characters
    most_nesting: int = 32  # of JSON
    most_containers: int = 2_000_000  # lists and objects of JSON, and brackets in its texts: 100 to 200 bytes each
    most_bad: float = 0.05  # share of the rows
    widest4: int = 8  # a listing of IPv4 that is shorter is a bad row
    widest6: int = 19


class Reading(NamedTuple):
    """How a body is to be read.

    Args:
        now_s: Wall time of the answer: what is over is left out, and durations begin.
        field: Where the networks stand. CSV: name or number (from 1) of a column, `first-last` for ranges in two. JSON:
            names joined by dots, lists are gone through; several by commas. Empty: where they usually stand.
        limits: Bounds.

    """

    now_s: float
    field: str = ""
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a list says.

    Args:
        listings: Public networks of the Internet within the limits, each prefix once.
        withdrawn: Of formats that tell what has changed: no longer listed. To be taken out before `listings` go in.
        rows: Rows that could have been listings; comments are none.
        left: How many were not taken although nothing is wrong with them, or were changed, by reason.
        bad: How many are wrong.
        reasons: What is wrong with the first of them; quotes are short and printable ASCII.

    """

    listings: Listings
    withdrawn: Prefixes
    rows: int
    left: Mapping[str, int] = field(default_factory=dict)
    bad: int = 0
    reasons: tuple[str, ...] = ()


Parse = Callable[[bytes, Reading], Parsed]
