"""hkpguard's own access log, as JSON or on a console (telemetry/log.py).

It tells what a request was, not how it was spelled, so the target is made anew from class and subject. What of it
cannot be told again: HTML pages of certificates (vindex) cost one token, not four. A line without an address stands
for its network, which is one client then; and without a subject all ask for the same thing.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from proxy.replay.line import (
    BadLine,
    Line,
    checked_bytes,
    checked_status,
    checked_text,
    checked_time_ns,
    checked_us,
    packed,
)
from proxy.telemetry.numbers import FLAG_HTTP_1_0

NO_SUBJECT: Final = "0" * 40
# A name is tried from its beginning only: else a long word costs the square of its length.
_WORD: Final = re.compile(r'(?<!\w)(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
_MALFORMED: Final = frozenset({"malformed", "too_large", "timeout"})
_ADDRESS: Final = re.compile(r'[ {]"?address"?[:=]')
_SUBJECT: Final = re.compile(r'[ {]"?subject"?[:=]')
_WENT_ON: Final = frozenset({"allow", "delay"})

_TARGETS: Final[Mapping[str, tuple[str, Callable[[str], str]]]] = {
    "cert": ("", lambda digits: f"/pks/lookup?op=get&options=mr&search=0x{digits}"),
    "identity": ("", lambda identity: f"/pks/v2/index/{quote(identity, safe='')}"),
    "words": ("", lambda words: f"/pks/lookup?op=index&options=mr&search={quote(words, safe='')}"),
    "upload": ("POST", lambda _: "/pks/add"),
    "mail": ("POST", lambda _: "/pks/v2/sendtoken"),
    "admin": ("POST", lambda _: "/pks/delete"),
    "sync": ("POST", lambda _: "/pks/hashquery"),
    "prefixlog": ("", lambda day: f"/pks/v2/prefixlog/{quote(day, safe='')}"),
    "stats": ("", lambda _: "/pks/lookup?op=stats"),
    "static": ("", lambda _: "/robots.txt"),
}
_UNKNOWN: Final = {"trap": "/.env", "method": "/pks/add", "not_offered": "/pks/lookup?op=unknown"}


def parse(text: str) -> Line | None:
    """Read a line; None if it tells of something else than a request."""
    try:
        fields = _json(text) if text.startswith("{") else _words(text)
        return _line(fields) if fields.get("event") == "request" else None
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise BadLine("a field is missing or wrong") from None


def _line(fields: Mapping[str, Any]) -> Line:
    method, target = _request(fields)
    took_us = _us(fields["total_ms"])
    end_ns = checked_time_ns(datetime.fromisoformat(fields["time"]).timestamp())
    cached = fields["cached"] in {True, "true"}
    went_on = fields["action"] in _WENT_ON or fields["action"].endswith("_shadow")
    return Line(
        end_ns - took_us * 1000,
        _client(fields),
        checked_text(method),
        checked_text(target),
        checked_status(int(fields["status"])) if went_on else 0,
        0 if cached or not went_on else checked_bytes(int(fields["sent"])),
        0 if cached or not went_on else _us(fields["upstream_ms"]),
        took_us,
        _us(fields["wait_ms"]),
        checked_bytes(int(fields["received"])),
        FLAG_HTTP_1_0 * (fields["http"] == "1.0"),
    )


def _us(milliseconds: float | str) -> int:
    return checked_us(float(milliseconds) * 1000)


def _client(fields: Mapping[str, Any]) -> bytes:
    address = fields.get("address") or fields["network"].partition("/")[0]
    return packed(address)


def _request(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Return method and target of a request that means the same."""
    kind, reason, method = fields["operation"], fields["reason"], fields["method"]
    if kind == "unknown":
        return method, "" if reason in _MALFORMED else _UNKNOWN.get(reason, "/unknown")
    if reason == "malformed":
        return method, "/pks/lookup?search=%"  # a slip in a search, which is no offence
    usual, target = _TARGETS[kind]
    subject = fields.get("subject") or NO_SUBJECT
    return usual or ("HEAD" if method == "HEAD" else "GET"), target(subject)


def _json(text: str) -> Mapping[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise BadLine("no JSON") from None
    return fields if isinstance(fields, dict) else {}


def _words(text: str) -> Mapping[str, Any]:
    """Read `name=value` words; lines in which processes speak of themselves have another form."""
    fields = dict(_WORD.findall(text))
    subject = fields.get("subject", "")
    if subject.startswith('"'):
        fields["subject"] = json.loads(subject)
    return fields


def missing(text: str) -> tuple[str, ...]:
    """Return what a line like this does not tell."""
    notes = []
    if not _ADDRESS.search(text):
        notes.append("It has no addresses (HKPGUARD_LOG__ADDRESSES=on): each network is one client.")
    if not _SUBJECT.search(text):
        notes.append(
            "It has no subjects (HKPGUARD_LOG__SUBJECTS=on): all seem to ask for the same thing, so that budgets of "
            "different certificates and addresses see nothing, and nobody looks as if he asked for too many."
        )
    return tuple(notes)
