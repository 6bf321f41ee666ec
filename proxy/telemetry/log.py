"""Structured logs: what the processes say of themselves, and one line for each request."""

from __future__ import annotations

import json
import logging
import sys
import time
from functools import cache, lru_cache
from typing import TYPE_CHECKING, TextIO

import structlog

from fastpath import address_text, key_text, network_key, records
from fastpath.record import FLAG_CACHED
from proxy.hkp.operation import OperationClass
from proxy.http.address import Source
from proxy.http.ja4 import ja4_text
from proxy.policy.actions import Action, Reason, TurnedAway
from proxy.telemetry.numbers import FLAG_HTTP_1_0, METHODS, SHADOW

if TYPE_CHECKING:
    from fastpath import Record
    from proxy.config import LogConfig


def configure(log: LogConfig, stream: TextIO | None = None) -> None:
    """Send the log of this process to `stream` (standard error) in the form that the configuration asks for."""
    out = stream or sys.stderr
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty())
        if log.format == "console"
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[log.level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


@cache
def action_text(number: int) -> str:
    """Return the name of an action of a record: `limit`, or `limit_shadow` where nobody was limited."""
    if number >= SHADOW:
        return f"{Action(number - SHADOW).name.lower()}_shadow"
    return Action(number).name.lower()


def name_of(kind: type[OperationClass | Reason | Source | TurnedAway], number: int) -> str:
    """Return the lower-case name of a number, or the number where a newer writer used one that we do not know."""
    return _names(kind).get(number, str(number))


@cache
def _names(kind: type[OperationClass | Reason | Source | TurnedAway]) -> dict[int, str]:
    return {member.value: member.name.lower() for member in kind}


@lru_cache(maxsize=4096)
def _network(address: bytes) -> str:
    """Return the network around a client: IPv4 /24 or IPv6 /48, which is no personal datum any more."""
    return key_text(network_key(address))


@lru_cache(maxsize=4096)
def _program(fingerprint: bytes) -> str:
    """Return the JA4 of a client; empty where there is none."""
    return ja4_text(fingerprint)


# The fields of a line, in the order of `AccessLog.values`.
FIELDS = (
    "time", "event", "request_id", "method", "http", "operation", "action", "reason", "status", "cached", "wait_ms",
    "upstream_ms", "total_ms", "received", "sent", "network", "source",
)  # fmt: skip
PERSONAL_FIELDS = ("address", "ja4", "subject")
_PLAIN = frozenset({"status", "cached", "wait_ms", "upstream_ms", "total_ms", "received", "sent"})


class AccessLog:
    """One line for each request. Addresses and subjects are personal data: they appear only if asked for.

    The line is one `%` over a template made once, a third of what a JSON encoder takes: on a busy node the log is the
    greatest part of the analyst's work. All texts but the subject are words of ours and need no escapes.
    """

    def __init__(self, log: LogConfig, stream: TextIO) -> None:
        """Write to `stream`, or nothing if the access log is off."""
        self._log = log
        self._stream = stream
        self._template = _template(log)
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def write(self, block: bytes) -> None:
        """Write the lines of a block of records (`Ring.take`) in one go."""
        if self._log.access and block:
            self._stream.write("".join([self._template % self.values(each) for each in records(block)]))
            self._stream.flush()

    def values(self, record: Record) -> tuple[object, ...]:
        """Return the values of FIELDS, and of those PERSONAL_FIELDS that are asked for; times in ms."""
        values: tuple[object, ...] = (
            _utc(record.time_ns + self._offset_ns),
            "request",
            f"{record.request_id:016x}",
            METHODS[record.method] if record.method < len(METHODS) else METHODS[0],
            "1.0" if record.flags & FLAG_HTTP_1_0 else "1.1",
            name_of(OperationClass, record.operation),
            action_text(record.action),
            name_of(Reason, record.reason),
            record.status,
            "true" if record.flags & FLAG_CACHED else "false",
            record.wait_us / 1000,
            record.upstream_us / 1000,
            record.total_us / 1000,
            record.received,
            record.sent,
            _network(record.address),
            name_of(Source, record.source),
        )
        if self._log.addresses:
            values += (address_text(record.address), _program(record.fingerprint))
        if self._log.subjects:
            values += (json.dumps(record.subject.decode("utf-8", "replace")),)
        return values


def _template(log: LogConfig) -> str:
    """Return the form of a line, JSON or `name=value` words."""
    asked = {"address": log.addresses, "ja4": log.addresses, "subject": log.subjects}
    names = (*FIELDS, *(name for name in PERSONAL_FIELDS if asked[name]))
    if log.format == "console":
        return " ".join(f"{name}=%s" for name in names) + "\n"
    plain = _PLAIN | {"subject"}  # the subject comes with its quotes
    pairs = (f'"{name}": %s' if name in plain else f'"{name}": "%s"' for name in names)
    return "{" + ", ".join(pairs) + "}\n"


def _utc(wall_ns: int) -> str:
    """Return a time of day, ns since 1970, with microseconds."""
    return f"{_second(wall_ns // 1_000_000_000)}.{wall_ns // 1000 % 1_000_000:06d}Z"


@lru_cache(maxsize=16)
def _second(wall_seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(wall_seconds))
