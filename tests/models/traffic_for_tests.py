"""Records as the analyst gets them, as arrays, and clients of several kinds that make them."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from fastpath import client_key
from fastpath.record import NO_UPSTREAM
from fastpath.record_array import RECORD_DTYPE
from proxy.hkp.classes import OperationClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

MS = 1_000_000
SECOND = 1000 * MS
CLIENT = client_key(bytes([192, 0, 2, 1]))
CERT, IDENTITY, WORDS, UPLOAD = (
    OperationClass.CERT,
    OperationClass.IDENTITY,
    OperationClass.WORDS,
    OperationClass.UPLOAD,
)
USUAL = {
    "time_ns": SECOND, "client": CLIENT, "subject_hash": 2, "upstream_us": 1500, "total_us": 2000, "sent": 1234,
    "status": 200, "operation": CERT, "method": 1, "subject": b"740D7FE2AB3143E86C8FD12300186602339240CB",
}  # fmt: skip


def records(*rows: dict[str, Any]) -> NDArray[np.void]:
    """Return records, each a get that was served but for the fields that are named."""
    array = np.zeros(len(rows), RECORD_DTYPE)
    for place, row in enumerate(rows):
        for name, value in (USUAL | row).items():
            array[place][name] = value
    return array


def visit(
    subjects: Sequence[str], *, start_ns: int = SECOND, pause_ms: float = 6, total_ms: float = 1, **fields: Any
) -> NDArray[np.void]:
    """Return the records of a client that asks for one thing after another."""
    step_ns = int((pause_ms + total_ms) * MS)
    return records(
        *(
            {
                "time_ns": start_ns + (number + 1) * step_ns,
                "total_us": int(total_ms * 1000),
                "subject": subject.encode(),
                "subject_hash": hash_of(subject),
            }
            | fields
            for number, subject in enumerate(subjects)
        )
    )


def hash_of(subject: str) -> int:
    """Return a word for a subject, the same in each run."""
    return int.from_bytes(blake2b(subject.encode(), digest_size=8).digest()) | 2


def fingerprints(count: int, seed: int = 1) -> list[str]:
    """Return fingerprints in no order."""
    source = np.random.default_rng(seed)
    return [source.bytes(20).hex().upper() for _ in range(count)]


def refresh(keys: Iterable[str], *, unknown: int = 3, **fields: Any) -> NDArray[np.void]:
    """Return what `gpg --refresh-keys` makes: HTTP/1.0, a request each 7 ms, every so-many-th key `unknown`."""
    made = visit(list(keys), flags=1, **fields)
    made["status"][::unknown] = 404
    return made


def delayed(made: NDArray[np.void], wait_ms: float) -> NDArray[np.void]:
    """Return the same requests of the same client, each of which the guard parked for so long."""
    later = made.copy()
    later["time_ns"] += (np.arange(1, len(made) + 1) * wait_ms * MS).astype(np.int64)
    later["total_us"] += np.uint32(wait_ms * 1000)
    later["wait_us"] = wait_ms * 1000
    later["action"] = 1
    return later


def refused(made: NDArray[np.void]) -> NDArray[np.void]:
    """Return the same requests, all over a limit."""
    later = made.copy()
    later["status"], later["action"], later["reason"], later["upstream"] = 429, 2, 1, NO_UPSTREAM
    return later
