"""nginx and Apache: the common and the combined form, with or without a virtual host in front; what follows is left.

The time is that of the end with nginx, and of the beginning with Apache; to the second. How long a request took is not
told, so nothing is charged for the keyserver's time; the size of large answers is.
"""

import re
from sys import intern
from typing import Final

from fastpath import parse_address
from proxy.replay.line import COARSE, BadLine, Line, clock_time_ns, origin_form, packed
from proxy.telemetry.numbers import FLAG_HTTP_1_0

# Some collections of logs put a quote around each line.
_HEAD: Final = r'"?(\S+) (\S+) [^\[]*\[([^\]]{20,32})\] "'
_TAIL: Final = r'" (\d{3}) (\d{1,15}|-)'
_REQUEST: Final = re.compile(_HEAD + r'([A-Za-z]{1,32}) ([^"\\ ]+(?:\\.[^"\\ ]*)*)(?: HTTP/(\d(?:\.\d)?))?' + _TAIL)
_RUBBISH: Final = re.compile(_HEAD + r'((?:[^"\\]|\\.)*)' + _TAIL)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))")


def parse(text: str) -> Line | None:
    """Read a line; None if the client sent no request."""
    match = _REQUEST.match(text)
    if match is None:
        return _rubbish(text)
    first, second, time, method, target, version, status, size = match.groups()
    if "\\" in target:
        target = _plain(target)
    if target[0] != "/":
        target = origin_form(target)
    try:
        client = packed(first)
    except BadLine:
        client = _after_host(second)
    size_bytes = 0 if size == "-" else int(size)
    flags = FLAG_HTTP_1_0 if version == "1.0" else 0
    return Line(clock_time_ns(time), client, intern(method), target, int(status), size_bytes, 0, 0, 0, 0, flags)


def missing(_: str) -> tuple[str, ...]:
    """Return what it does not tell."""
    return (
        "It does not tell how long the keyserver took, so nothing is charged for that.",
        COARSE,
    )


def _rubbish(text: str) -> Line | None:
    """Read a line whose request is none: another protocol, spaces or quotes in the target, or nothing at all."""
    match = _RUBBISH.match(text)
    if match is None:
        raise BadLine("neither the common nor the combined form")
    first, second, time, request, status, size = match.groups()
    if request in {"", "-"}:
        return None
    try:
        client = packed(first)
    except BadLine:
        client = _after_host(second)
    return Line(
        clock_time_ns(time), client, request.partition(" ")[0], "", int(status), 0 if size == "-" else int(size)
    )


def _after_host(second: str) -> bytes:
    """Return the client's address, which stands second where a virtual host comes first."""
    try:
        return parse_address(second)
    except ValueError:
        raise BadLine("no address where one should be: host names say nothing about clients") from None


def _plain(target: str) -> str:
    """Return a target without the escapes of the log."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else match[2], target)
