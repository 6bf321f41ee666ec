"""Hockeypuck's own log: lines of logrus, as text or JSON. Their time is that of the end, to the second.

Hockeypuck sees its proxy as the client, if there is one. So where `from` is a private address, the last hop of
`x-forwarded-for` is the client: that is what the nearest proxy saw. What other addresses send there is not believed.
With `logRequestDetails=false` no client is told, and nothing can be replayed.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from proxy.replay.line import (
    COARSE,
    BadLine,
    Line,
    checked_status,
    checked_text,
    checked_time_ns,
    checked_us,
    origin_form,
    packed,
)

# A name is tried from its beginning only: else a long word costs the square of its length.
_FIELD: Final = re.compile(r'(?<![A-Za-z-])([A-Za-z-]+)=("(?:[^"\\]|\\.)*"|\S*)')
_METHODS: Final = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH")
_PART: Final = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(h|ms|m|s|us|µs|ns)")
_UNITS_US: Final = {"h": 3.6e9, "m": 6e7, "s": 1e6, "ms": 1e3, "us": 1.0, "µs": 1.0, "ns": 1e-3}


def parse(text: str) -> Line | None:
    """Read a line; None if it tells of something else than a request."""
    fields = _json(text) if text.startswith("{") else _words(text)
    method = next((each for each in _METHODS if each in fields), None)
    if method is None or "status-code" not in fields:
        return None
    if "from" not in fields:
        raise BadLine("names no client: Hockeypuck's logRequestDetails is off")
    took_us = _duration_us(fields.get("duration", ""))
    try:
        status = checked_status(int(fields["status-code"]))
        end_s = datetime.fromisoformat(fields["time"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        raise BadLine("no status or no time") from None
    end_ns = checked_time_ns(end_s)
    client = _client(fields["from"], fields.get("x-forwarded-for", ""))
    target = origin_form(checked_text(fields[method]))
    return Line(end_ns - took_us * 1000, client, method, target, status, 0, took_us, took_us)


def _json(text: str) -> Mapping[str, str]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise BadLine("no JSON") from None
    return {name: str(value) for name, value in fields.items()}


def _words(text: str) -> Mapping[str, str]:
    fields = dict(_FIELD.findall(text))
    if "time" not in fields or "level" not in fields:
        raise BadLine("no line of logrus")
    return {name: _unquoted(value) for name, value in fields.items()}


def _unquoted(value: str) -> str:
    """Return what was quoted; what it escapes in Go and not in JSON stays as it is."""
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value[1:-1]


@lru_cache(maxsize=16_384)
def _client(peer: str, forwarded: str) -> bytes:
    host = packed(peer.rpartition(":")[0].strip("[]"))
    last_hop = forwarded.rpartition(",")[2].strip()
    return packed(last_hop) if last_hop and ip_address(host).is_private else host


@lru_cache(maxsize=16_384)
def _duration_us(text: str) -> int:
    """Return a duration as Go writes it: `1m2.5s`, `61.2µs`; 0 if it is none."""
    return checked_us(sum(float(number) * _UNITS_US[unit] for number, unit in _PART.findall(text[:80])))


def missing(_: str) -> tuple[str, ...]:
    """Return what it does not tell."""
    return ("It does not tell how large answers were, so nothing is charged for that.", COARSE)
