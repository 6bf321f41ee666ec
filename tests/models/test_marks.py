"""What one record adds: numbers that mean the same as in the folder above."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models import marks
from models.marks import FORGET_NS, PEAKS, SLOWEST, SUMS
from models.panes import PANE_BYTES, octaves
from models.windows import PANE, WINDOW, Windows
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason
from proxy.telemetry import numbers
from tests.models.traffic_for_tests import IDENTITY, WORDS, records, visit


def test_numbers_mean_the_same() -> None:
    """Classes, actions, reasons, methods and flags are those that workers write."""
    kinds = [kind for kind in OperationClass if kind is not OperationClass.TOTAL]
    assert [getattr(marks, kind.name) for kind in kinds] == kinds
    for name in ("MALFORMED", "TOO_LARGE", "TIMEOUT", "GONE", "BANNED", "UNWANTED"):
        assert getattr(marks, name) == Reason[name]
    assert (marks.ALLOW, marks.DELAY, marks.SHADOW) == (Action.ALLOW, Action.DELAY, numbers.SHADOW)
    assert (numbers.METHODS[marks.GET], numbers.METHODS[marks.POST]) == ("GET", "POST")
    assert marks.FLAG_HTTP_1_0 == numbers.FLAG_HTTP_1_0


def test_sums_fit_their_columns() -> None:
    """The largest marks of two whole panes stay below 2**31."""
    longest_pause = octaves(FORGET_NS // 1000)
    assert longest_pause <= SLOWEST
    assert 2 * PANE * max(SLOWEST, 64 * 16, 64) ** 2 < 2**31
    assert (*SUMS, *PEAKS, "members") == WINDOW.names
    assert WINDOW.itemsize == PANE_BYTES == 156


def added(*rows: dict[str, Any]) -> dict[str, int]:
    """Return the window of a client with these requests, without what is 0."""
    windows = Windows()
    windows.feed(records(*rows))
    window = windows.columns(np.array([0], np.int32))[0]
    return {name: int(window[name]) for name in (*SUMS, *PEAKS) if window[name]}


CERT_FOUND = {"requests": 1, "certs": 1, "burst": 1}
KEY_ID = {"subject": b"89ABCDEF01234567"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, CERT_FOUND),
        ({"status": 404}, CERT_FOUND),
        ({"status": 429, "action": Action.LIMIT, "reason": Reason.LIMIT}, CERT_FOUND),
        ({"action": Action.DELAY, "wait_us": 9_000_000, "total_us": 9_001_000}, CERT_FOUND),
        (KEY_ID, CERT_FOUND | {"key_ids": 1, "searches": 1}),
        (KEY_ID | {"status": 404}, CERT_FOUND | {"key_ids": 1, "searches": 1, "missed": 1}),
        (KEY_ID | {"action": Action.LIMIT + numbers.SHADOW}, CERT_FOUND | {"key_ids": 1, "searches": 1}),
        (KEY_ID | {"status": 429, "action": Action.LIMIT}, CERT_FOUND | {"key_ids": 1}),
        (
            {"operation": IDENTITY, "subject": b"o'brien@example.org", "status": 500},
            {"requests": 1, "identities": 1, "burst": 1, "text_bytes": 19},
        ),
        (
            {"operation": WORDS, "subject": b"1=1;--", "status": 404},
            {"requests": 1, "words": 1, "burst": 1, "text_bytes": 6, "odd_bytes": 2, "searches": 1, "missed": 1},
        ),
        (
            {"operation": WORDS, "subject": "@müller.example".encode()},
            {"requests": 1, "words": 1, "burst": 1, "text_bytes": 16, "searches": 1, "domains": 1},
        ),
        (
            {"operation": WORDS, "subject": b"alice b. liddell"},
            {"requests": 1, "words": 1, "burst": 1, "text_bytes": 16, "searches": 1},
        ),
        ({"operation": OperationClass.UNKNOWN, "subject": b""}, {"requests": 1, "burst": 1, "unknown": 1}),
        (
            {"operation": OperationClass.UNKNOWN, "subject_hash": 0, "reason": Reason.TIMEOUT, "method": 0},
            {"requests": 1, "burst": 1, "unfinished": 1},
        ),
        (
            {"operation": OperationClass.UNKNOWN, "subject_hash": 1, "reason": Reason.MALFORMED, "method": 2},
            {"requests": 1, "burst": 1, "malformed": 1, "odd_methods": 1},
        ),
        (
            {"operation": OperationClass.UPLOAD, "received": 1023, "method": 3},
            {"requests": 1, "burst": 1, "uploads": 1, "upload_octaves": 160, "upload_squares": 25_600},
        ),
        ({"operation": 200, "flags": 3}, {"requests": 1, "burst": 1, "http_1_0": 1}),
    ],
)  # fmt: skip
def test_one_record(row: dict[str, Any], expected: dict[str, int]) -> None:
    """A miss by fingerprint, a delay and a refusal leave no trace; what was asked for, and how, does."""
    assert added(row) == expected


def test_the_order_of_key_ids_does_not_count() -> None:
    """Who goes through Debian's keyring, which is sorted by key id, is not sorted; by fingerprint one would be."""
    ids, prints = (
        [f"{number:016X}" for number in range(0, 2**63, 2**60)],
        [f"{number:X}" + 39 * "0" for number in range(8)],
    )
    for subjects, rises in [(ids, 0), (prints, 7), (prints[::-1], 0)]:
        made = visit(subjects)
        assert (
            added(*({name: row[name] for name in ("subject", "time_ns", "total_us")} for row in made)).get("rises", 0)
            == rises
        )


def test_the_same_again_is_no_step() -> None:
    """Who asks for one key over and over is not near to it."""
    assert "steps" not in added({}, {}, {})


@pytest.mark.parametrize(("length", "same"), [(31, 0), (32, 1)])
def test_the_beginning_of_a_domain_is_looked_at(length: int, same: int) -> None:
    """Domains that differ after their 32nd byte only are taken for one."""
    domain = b"d" * length
    rows = [{"operation": IDENTITY, "subject": b"a@" + domain + end} for end in (b"x", b"y")]
    assert added(*rows).get("same_domain", 0) == same
