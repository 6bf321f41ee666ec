"""The access log of hkpguard (JSON, with addresses and subjects) back to records, as the workers had written them.

What a line does not tell is 0. Times are nanoseconds since 1970 instead of CLOCK_MONOTONIC; words of subjects are
hashes with a key of this file's, so they can be compared with each other and with nothing else.
"""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import numpy as np

from fastpath import client_key, parse_address
from fastpath.record import FINGERPRINT_BYTES, FLAG_CACHED, NO_UPSTREAM, RECORD_FORMAT, SUBJECT_BYTES
from fastpath.record_array import RECORD_DTYPE
from proxy.hkp.operation import OperationClass
from proxy.policy.actions import Action, Reason
from proxy.telemetry.numbers import FLAG_HTTP_1_0, METHODS, SHADOW

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

LONGEST_LINE: Final = 16_384
_RECORD: Final = struct.Struct(RECORD_FORMAT)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OPERATIONS: Final = {each.name.lower(): each.value for each in OperationClass}
_REASONS: Final = {each.name.lower(): each.value for each in Reason}
_ACTIONS: Final = {each.name.lower(): each.value for each in Action} | {
    f"{each.name.lower()}_shadow": each.value + SHADOW for each in Action
}
_METHODS: Final = {name: number for number, name in enumerate(METHODS)}
_MAPPED: Final = bytes(10) + b"\xff\xff"  # before an IPv4 address
_NO_HEAD, _NO_SUBJECT = 0, 1  # words of subjects


class NotOurs(ValueError):
    """A line is not one of the access log, or lacks what records need."""


def record_of(line: str) -> bytes:
    """Return the record (`fastpath.RECORD_FORMAT`) behind a line.

    Raises:
        NotOurs: It is not one for a request, has no address or subject, or says what cannot be.

    """
    if len(line) > LONGEST_LINE:
        raise NotOurs(f"longer than {LONGEST_LINE} characters")
    try:
        said = json.loads(line)
        packed = parse_address(said["address"])
        unread = said["method"] == METHODS[0] and said["total_ms"] == 0
        subject = said["subject"].encode("utf-8", "surrogatepass")[:SUBJECT_BYTES]
        return _RECORD.pack(
            _nanoseconds(said["time"]),
            client_key(packed),
            int(said["request_id"], 16),
            _NO_HEAD if unread else _word(subject),
            _microseconds(said["upstream_ms"]),
            _microseconds(said["wait_ms"]),
            _microseconds(said["total_ms"]),
            int(said["received"]),
            int(said["sent"]),
            int(said["status"]),
            _OPERATIONS[said["operation"]],
            _ACTIONS[said["action"]],
            _REASONS[said["reason"]],
            0,
            _METHODS[said["method"]],
            FLAG_HTTP_1_0 * (said["http"] == "1.0") | FLAG_CACHED * bool(said["cached"]),
            NO_UPSTREAM if said["upstream_ms"] == 0 else 0,
            packed if len(packed) == len(_MAPPED) + 4 else _MAPPED + packed,
            subject,
            bytes(FINGERPRINT_BYTES),
        )
    except KeyError as error:
        raise NotOurs(f"has no {error}, or one that is not known") from None
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, struct.error) as error:
        raise NotOurs(str(error)[:200]) from None


def records_of(lines: Iterable[str]) -> tuple[NDArray[np.void], int]:
    """Return the records of all lines that are ours, in the order of time, and how many lines are not."""
    rows, strange = [], 0
    for line in lines:
        try:
            rows.append(record_of(line))
        except NotOurs:
            strange += 1
    found = np.frombuffer(b"".join(rows), RECORD_DTYPE)
    return found[np.argsort(found["time_ns"], kind="stable")], strange


def _nanoseconds(text: str) -> int:
    since = datetime.fromisoformat(text) - _EPOCH
    return since // timedelta(microseconds=1) * 1000


def _microseconds(milliseconds: float) -> int:
    return round(milliseconds * 1000)


@lru_cache(maxsize=65_536)
def _word(subject: bytes) -> int:
    if not subject:
        return _NO_SUBJECT
    return int.from_bytes(blake2b(subject, digest_size=8, key=b"access log").digest()) | 2  # never one of the others
