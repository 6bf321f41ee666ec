"""What counts as an offence, and when it is a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.hkp.classes import OperationClass
from proxy.policy import offences
from proxy.policy.actions import Action, Reason
from proxy.policy.offences import EPISODE_NS, SHADOWS, WORTH, Episodes, OffenceKind, offence_of
from proxy.telemetry.numbers import SHADOW
from tests.proxy.admin.records_for_tests import SECOND, record

if TYPE_CHECKING:
    from fastpath import Record

CERT, IDENTITY, WORDS, UPLOAD, ADMIN, UNKNOWN = (
    OperationClass.CERT,
    OperationClass.IDENTITY,
    OperationClass.WORDS,
    OperationClass.UPLOAD,
    OperationClass.ADMIN,
    OperationClass.UNKNOWN,
)
ALLOW, DELAY, LIMIT, DENY, TARPIT = Action.ALLOW, Action.DELAY, Action.LIMIT, Action.DENY, Action.TARPIT
UNREAD = 0  # subject hash where no head was read


def told(
    reason: Reason, action: int = DENY, status: int = 400, operation: int = UNKNOWN, subject_hash: int = 1
) -> Record:
    """Return a record of a request that was not simply served."""
    return record(reason=reason, action=action, status=status, operation=operation, subject_hash=subject_hash)


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (told(Reason.TRAP, TARPIT, 0), OffenceKind.TRAP),
        (told(Reason.TRAP, DENY, 404), OffenceKind.TRAP),
        (told(Reason.CANARY, ALLOW, 200, CERT), OffenceKind.CANARY),
        (told(Reason.CANARY, DELAY, 200, CERT), OffenceKind.CANARY),
        (told(Reason.MALFORMED, subject_hash=UNREAD), OffenceKind.MALFORMED),
        (told(Reason.MALFORMED), OffenceKind.MALFORMED),
        (told(Reason.MALFORMED, operation=UPLOAD), OffenceKind.MALFORMED),
        (told(Reason.TOO_LARGE, status=431, subject_hash=UNREAD), OffenceKind.OVERSIZED),
        (told(Reason.TOO_LARGE, status=414, subject_hash=UNREAD), OffenceKind.OVERSIZED),
        (told(Reason.TIMEOUT, status=408, subject_hash=UNREAD), OffenceKind.TIMEOUT),
        (told(Reason.LIMIT, LIMIT, 429, IDENTITY), OffenceKind.VIOLATION),
        (told(Reason.BUSY, LIMIT, 429, WORDS), OffenceKind.VIOLATION),
    ],
)
def test_offences(what: Record, kind: OffenceKind) -> None:
    """What no honest client does, or goes on doing."""
    assert offence_of(what) is kind


@pytest.mark.parametrize(
    "what",
    [
        record(),
        record(status=404),  # the keyserver's
        told(Reason.UNKNOWN, status=404),
        told(Reason.METHOD, status=405),
        told(Reason.NOT_OFFERED, status=501, operation=WORDS),
        told(Reason.PEERS_ONLY, status=403),
        told(Reason.ALLOWED_NETWORK, ALLOW, 200, CERT),
        told(Reason.TOO_LARGE, status=413, operation=UPLOAD),
        told(Reason.TIMEOUT, status=408, operation=UPLOAD),  # of a body
        told(Reason.MALFORMED, operation=WORDS),  # a lookup without a search
        told(Reason.MALFORMED, operation=CERT),  # a fingerprint with a letter missing
        told(Reason.LIMIT, DELAY, 200, CERT),
        told(Reason.UPSTREAM, ALLOW, 500, CERT),
        told(Reason.GONE, DELAY, 0, CERT),
        told(Reason.CROWDED, LIMIT, 429, CERT),
        told(Reason.BANNED, DENY, 403, CERT),
        told(Reason.LIMIT, LIMIT, 429, ADMIN),
        told(Reason.MALFORMED, operation=ADMIN),
        record(reason=250, action=DENY),  # of a newer worker
    ],
)
def test_no_offence(what: Record) -> None:
    """What honest clients do, what is not their fault, and what happens to who is banned already."""
    assert offence_of(what) is None
    assert offence_of(what, shadow=True) is None


@pytest.mark.parametrize(
    ("reason", "action", "kind"),
    [
        (Reason.LIMIT, LIMIT, OffenceKind.VIOLATION),
        (Reason.BUSY, LIMIT, OffenceKind.VIOLATION),
        (Reason.TRAP, TARPIT, OffenceKind.TRAP),
        (Reason.LIMIT, DELAY, None),
        (Reason.BANNED, DENY, None),
    ],
)
def test_shadow(reason: Reason, action: int, kind: OffenceKind | None) -> None:
    """What shadow mode only would have done counts where bans are in shadow mode as well, and nowhere else."""
    what = told(reason, action + SHADOWS, 200, IDENTITY)
    assert offence_of(what) is None
    assert offence_of(what, shadow=True) is kind


def test_numbers_of_shadow_actions() -> None:
    """They are those that the workers write."""
    assert SHADOWS == SHADOW


def test_worth() -> None:
    """A verdict is a ban, four traps are; who only asks too often needs twenty new offences for its 100 points."""
    assert {kind.name: worth.points for kind, worth in WORTH.items()} == {
        "TRAP": 25,
        "CANARY": 25,
        "MALFORMED": 10,
        "OVERSIZED": 10,
        "TIMEOUT": 5,
        "VIOLATION": 5,
        "VERDICT": 100,
    }


def counted(kind: OffenceKind, times: list[float], operation: int = CERT, client: int = 1) -> list[float]:
    """Return at which of these seconds the same client's offence counts."""
    episodes = Episodes()
    return [time for time in times if episodes.counts(kind, client, operation, int(time * SECOND))]


@pytest.mark.parametrize(
    ("kind", "times", "new"),
    [
        (OffenceKind.TRAP, [0, 0, 1, 9], [0, 0, 1, 9]),
        (OffenceKind.CANARY, [0, 0, 1], [0, 0, 1]),
        (OffenceKind.VIOLATION, [0, 0.1, 5, 9.9, 10, 10.5, 19.9, 25], [0, 10, 25]),
        (OffenceKind.VIOLATION, [3, 2.9, 3.1], [3]),  # of two workers, not quite in order
        (OffenceKind.VIOLATION, [0] * 1000, [0]),
        (OffenceKind.MALFORMED, [0] * 21, [0]),  # gpg over TLS to a plain port: one chunk of a refresh
        (OffenceKind.MALFORMED, [0] * 97, [0] * 4),
        (OffenceKind.MALFORMED, [0, 3, 11, 12], [0, 11]),
        (OffenceKind.OVERSIZED, [0, 0, 10], [0, 10]),
        (OffenceKind.TIMEOUT, [10] * 6, [10]),  # a browser's connections in advance
        (OffenceKind.TIMEOUT, [10] * 256, [10] * 8),  # all that one client may have
    ],
)
def test_episodes(kind: OffenceKind, times: list[float], new: list[float]) -> None:
    """More of the same within 10 s is not a new offence; a flood is one now and then."""
    assert counted(kind, times) == new


def test_episodes_are_of_one_client_and_class() -> None:
    """Another client's, and a violation of another limit, are new; what has no class has one episode."""
    episodes = Episodes()
    rows = [
        (OffenceKind.VIOLATION, 1, IDENTITY, True),
        (OffenceKind.VIOLATION, 1, WORDS, True),
        (OffenceKind.VIOLATION, 2, IDENTITY, True),
        (OffenceKind.VIOLATION, 1, IDENTITY, False),
        (OffenceKind.MALFORMED, 1, UNKNOWN, True),
        (OffenceKind.MALFORMED, 1, UPLOAD, False),
        (OffenceKind.OVERSIZED, 1, UNKNOWN, True),
    ]
    for kind, client, operation, new in rows:
        assert episodes.counts(kind, client, operation, 0) is new


def test_episodes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of clients ends the oldest episodes, and those that are over take no room."""
    monkeypatch.setattr(offences, "MOST_EPISODES", 3)
    episodes = Episodes()
    assert all(episodes.counts(OffenceKind.VIOLATION, client, CERT, client) for client in range(100))
    assert len(episodes._running) == 3
    assert not episodes.counts(OffenceKind.VIOLATION, 99, CERT, 100)
    assert episodes.counts(OffenceKind.VIOLATION, 1, CERT, EPISODE_NS + 1000)
    assert len(episodes._running) == 1
