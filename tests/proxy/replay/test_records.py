"""Our own access log, read back, is what the workers had recorded."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath import Record, client_key
from fastpath.record import FLAG_CACHED, NO_UPSTREAM, RECORD_FORMAT
from fastpath.record_array import RECORD_DTYPE
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason
from proxy.replay.records import NotOurs, record_of, records_of
from proxy.telemetry.log import AccessLog
from proxy.telemetry.numbers import METHODS, SHADOW

if TYPE_CHECKING:
    from collections.abc import Sequence

import struct

ADDRESS = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7])
USUAL = Record(
    10**9, client_key(ADDRESS), 17, 99, 1500, 250, 2000, 12, 1234, 200, OperationClass.CERT, Action.ALLOW, Reason.NONE,
    0, 1, 1, 0, ADDRESS, b"740D7FE2AB3143E86C8FD12300186602339240CB",
)  # fmt: skip
LOST = {"time_ns", "subject_hash", "source"}  # of what the log does not tell, or tells otherwise


def lines(*made: Record) -> list[str]:
    """Return the lines that the guard writes for records."""
    out = io.StringIO()
    config = Config.from_env({"HKPGUARD_LOG__ACCESS": "on", "HKPGUARD_LOG__ADDRESSES": "on",
                              "HKPGUARD_LOG__SUBJECTS": "on", "HKPGUARD_LOG__FORMAT": "json"})  # fmt: skip
    AccessLog(config.log, out).write(b"".join(struct.pack(RECORD_FORMAT, *each) for each in made))
    return out.getvalue().splitlines()


def row(array: np.ndarray, place: int = 0) -> dict[str, object]:
    """Return a record as a mapping, without what the log does not tell."""
    return {
        name: bytes(array[name][place]) if name in {"address", "fingerprint"} else array[name][place].item()
        for name in RECORD_DTYPE.names or ()
        if name not in LOST
    }


@settings(deadline=None)
@given(
    operation=st.sampled_from([*OperationClass][1:]),
    action=st.sampled_from([each + shadow for each in Action for shadow in (0, SHADOW)]),
    reason=st.sampled_from([*Reason]),
    method=st.integers(0, len(METHODS) - 1),
    flags=st.sampled_from([0, 1, FLAG_CACHED, 3]),
    figures=st.lists(st.integers(1, 2**32 - 1), min_size=5, max_size=5),
    subject=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=16),
)
def test_as_it_was(
    operation: OperationClass,
    action: int,
    reason: Reason,
    method: int,
    flags: int,
    figures: Sequence[int],
    subject: str,
) -> None:
    """Whatever a worker records is the same after the log, but for what the log does not tell."""
    names = ("upstream_us", "wait_us", "total_us", "received", "sent")
    made = USUAL._replace(
        operation=operation, action=action, reason=reason, method=method, flags=flags, subject=subject.encode(),
        **dict(zip(names, figures, strict=True)),
    )  # fmt: skip
    [text] = lines(made)
    found, strange = records_of([text])
    assert strange == 0
    before = np.frombuffer(struct.pack(RECORD_FORMAT, *made), RECORD_DTYPE)
    assert row(found) == row(before)


def test_subjects_and_time() -> None:
    """The same subject has the same word, no subject 1, a connection whose head was not read 0; times are in order."""
    others = (
        USUAL._replace(time_ns=3 * 10**9),
        USUAL._replace(time_ns=2 * 10**9, subject=b"other"),
        USUAL._replace(time_ns=4 * 10**9, subject=b""),
        USUAL._replace(time_ns=5 * 10**9, subject=b"", method=0, total_us=0, upstream_us=0, upstream=NO_UPSTREAM),
    )
    found, _ = records_of(lines(USUAL, *others))
    assert (np.diff(found["time_ns"]) == 10**9).all()
    words = found["subject_hash"].tolist()
    assert words[0] == words[2] != words[1]
    assert words[3:] == [1, 0]
    assert found["upstream"].tolist() == [0, 0, 0, 0, NO_UPSTREAM]


@pytest.mark.parametrize(
    "change",
    [
        {"address": None}, {"address": "nowhere"}, {"status": 70_000}, {"sent": -1}, {"sent": 2**32}, {"time": "noon"},
        {"time": "2026-11-21T08:00:00"}, {"operation": "dance"}, {"subject": 5}, {"total_ms": "1"},
        {"total_ms": float("inf")}, {"request_id": "x"}, {"request_id": "f" * 17}, {"http": None, "method": None},
    ],
)  # fmt: skip
def test_strange_lines(change: dict[str, object]) -> None:
    """A line that says what cannot be is counted, and spoils no other."""
    [good] = lines(USUAL)
    bad = json.dumps(json.loads(good) | change)
    with pytest.raises(NotOurs):
        record_of(bad)
    found, strange = records_of([bad, good, "", "{}", "[]", "5", "x" * 20_000, "[" * 10_000])
    assert (len(found), strange) == (1, 7)
