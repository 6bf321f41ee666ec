"""One request as a log tells of it, and what the readers of all formats share."""

from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple

from fastpath import parse_address

SECOND_NS: Final = 1_000_000_000
MILLISECOND_NS: Final = 1_000_000
MOST_US: Final = 1 << 32  # as in a record
COARSE: Final = "Its times are to the second: the models, which go by pauses, may mistake a refresh for a scraper."
_MOST_BYTES: Final = 10**15
_STATUSES: Final = 1000
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
# A clock that tells another year is wrong, such as one that begins anew with its machine: as the first of a log it
# would make all others impossible (readers.LONGEST_SPAN_NS). What lies between fits 64 bits.
_FIRST_YEAR, _LAST_YEAR = 2000, 2200
_FIRST_S: Final = (date(_FIRST_YEAR, 1, 1).toordinal() - _EPOCH_DAY) * 86_400


class BadLine(Exception):
    """A line that tells of a request, but not in the form that was expected; the text repeats nothing of it."""


class Line(NamedTuple):
    """A request.

    Attributes:
        start_ns: When it began, since 1970; of some formats to the second, or when it ended.
        address: Of the client, 4 or 16 bytes.
        method: As it was sent.
        target: In origin form; empty: no guard could read it.
        status: What the keyserver said; 0: it is not known.
        size_bytes: Of the answer; 0: likewise.
        service_us: What the keyserver took for it; 0: likewise.
        took_us: From the beginning to the end; 0: likewise.
        wait_us: How long a guard of ours had delayed it: part of `took_us`.
        received_bytes: Of the body that was sent; 0: likewise.
        flags: As in a record: FLAG_HTTP_1_0 of telemetry/numbers if the log tells so.

    """

    start_ns: int
    address: bytes
    method: str
    target: str
    status: int = 0
    size_bytes: int = 0
    service_us: int = 0
    took_us: int = 0
    wait_us: int = 0
    received_bytes: int = 0
    flags: int = 0


Parse = Callable[[str], Line | None]
"""Reads a line of a log: a request, or None if it tells of none. Raises BadLine."""


class Format(NamedTuple):
    """How one kind of log is read: a line of it, and what one like this cannot tell, in sentences for the report."""

    parse: Parse
    missing: Callable[[str], tuple[str, ...]]


@lru_cache(maxsize=65_536)
def packed(text: str) -> bytes:
    """Return an address; BadLine if it is none."""
    try:
        return parse_address(text)
    except ValueError:
        raise BadLine("no address where one should be") from None


@lru_cache(maxsize=4096)
def clock_time_ns(text: str) -> int:
    """Return a time as web servers write it, `14/Oct/2019:10:50:18`, and maybe ` +0200`; without that it is UTC."""
    try:
        return _day_ns(text[:11], text[21:]) + _seconds(text[12:20]) * SECOND_NS
    except (ValueError, KeyError):
        raise BadLine("no time where one should be") from None


@lru_cache(maxsize=1024)
def _day_ns(day: str, zone: str) -> int:
    """Return when a day began in a time zone."""
    number, month, year = day.split("/")
    if not _FIRST_YEAR <= int(year) <= _LAST_YEAR:
        raise ValueError(year)
    days = date(int(year), _MONTHS[month], int(number)).toordinal() - _EPOCH_DAY
    ahead = int(zone[:-2]) * 3600 + int(zone[0] + zone[-2:]) * 60 if zone else 0
    return (days * 86_400 - ahead) * SECOND_NS


def _seconds(time_of_day: str) -> int:
    hours, minutes, seconds = time_of_day.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


def checked_time_ns(seconds: float) -> int:
    """Return seconds since 1970 in ns, to the microsecond; BadLine if no clock tells that."""
    if not _FIRST_S <= seconds < (_LAST_YEAR - 1970) * 366 * 86_400:
        raise BadLine("a time that no clock tells")
    return round(seconds * 1e6) * 1000


def checked_us(us: float) -> int:
    """Return a duration, rounded; BadLine for more than an hour or so: its request would begin before all others."""
    if not 0 <= us < MOST_US:
        raise BadLine("a duration that cannot be")
    return round(us)


def checked_status(status: int) -> int:
    """Return a status; BadLine if it is none."""
    if not 0 <= status < _STATUSES:
        raise BadLine("a status that cannot be")
    return status


def checked_bytes(size: int) -> int:
    """Return a size; BadLine if nothing is so large."""
    if not 0 <= size < _MOST_BYTES:
        raise BadLine("a size that cannot be")
    return size


def checked_text(text: str) -> str:
    """Return a text; BadLine if no bytes mean it: JSON can escape halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadLine("half a character") from None
    return text


def origin_form(target: str) -> str:
    """Return path and query of a target as clients write it; an absolute one is sent to proxies."""
    if target.startswith("/"):
        return target
    scheme, separator, rest = target.partition("://")
    if separator and scheme.lower() in {"http", "https"}:
        return "/" + rest.partition("/")[2]
    return ""
