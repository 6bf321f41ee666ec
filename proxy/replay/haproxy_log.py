"""HAProxy's `option httplog`, also as it comes out of syslog. It knows no time zone, so it is taken for UTC."""

import re
from typing import Final

from proxy.replay.line import MILLISECOND_NS, BadLine, Line, checked_us, clock_time_ns, origin_form, packed
from proxy.telemetry.numbers import FLAG_HTTP_1_0

# client:port [accept date] frontend backend/server TR/Tw/Tc/Tr/Ta status bytes - - ---- counts queues "request"
_LINE: Final = re.compile(
    r"(\S+):\d{1,5} \[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d)\.(\d{3})\] \S+ \S+ "
    r"\+?-?\d+/-?\d+/-?\d+/(-?\d+)/\+?(-?\d+) (-1|\d{3}) \+?(\d{1,15}) [^\"]*\"([^\"]*)"
)
_OTHER: Final = re.compile(r"\S+:\d{1,5} \[[^\]]+\] [^/ ]+/[^: ]+: ")  # a connection without a request
_REQUEST: Final = re.compile(r"([A-Za-z]{1,32}) (\S+)(?: HTTP/\d\.\d)?$")
_TAG: Final = re.compile(r"haproxy\[\d+\]: ")


def parse(text: str) -> Line | None:
    """Read a line; None if it tells of a connection, or of HAProxy itself."""
    tag = _TAG.search(text, 0, 300)
    start = tag.end() if tag else 0
    match = _LINE.match(text, start)
    if match is None:
        if tag or _OTHER.match(text, start):
            return None
        raise BadLine("not in the form of `option httplog`")
    address, time, milliseconds, service, took, status, size, request = match.groups()
    if request == "<BADREQ>":
        method, target = "", ""
    else:
        wanted = _REQUEST.match(request)
        method, target = (wanted[1], origin_form(wanted[2])) if wanted else ("", "")
    return Line(
        clock_time_ns(time) + int(milliseconds) * MILLISECOND_NS,
        packed(address.strip("[]")),
        method,
        target,
        max(0, int(status)),
        int(size),
        checked_us(max(0, int(service)) * 1000),
        checked_us(max(0, int(took)) * 1000),
        flags=FLAG_HTTP_1_0 * request.endswith(" HTTP/1.0"),
    )


def missing(_: str) -> tuple[str, ...]:
    """Return what it does not tell."""
    return ("It does not tell its time zone, so times are taken for UTC.",)
