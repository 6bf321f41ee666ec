"""Who looks legitimate."""

from collections.abc import Iterable

import pytest

from proxy.hkp.classes import OperationClass
from proxy.hkp.operation import Operation
from proxy.replay import looks as module
from proxy.replay.line import Line
from proxy.replay.looks import CERTIFICATES, DAY_NS, SEARCHES, UPLOADS, Looks

HERE = bytes([203, 0, 113, 7])
Asked = tuple[int, OperationClass, str, int, bool]


def _certs(count: int, day: int = 0, status: int = 200) -> list[Asked]:
    return [(day, OperationClass.CERT, f"{number:040X}", status, False) for number in range(count)]


def _looks_good(asked: Iterable[Asked]) -> bool:
    looks = Looks()
    for day, kind, subject, status, trap in asked:
        operation = Operation(kind, subject, 1, b"/", trap=trap)
        looks.note(7, Line(day * DAY_NS, HERE, "GET", "/", status), operation)
    return looks.legitimate(7)


SEARCHED = [(0, OperationClass.IDENTITY, f"{number}@example.org", 200, False) for number in range(SEARCHES + 1)]
UPLOADED = [(0, OperationClass.UPLOAD, "", 200, False)] * (UPLOADS + 1)
ODD = (0, OperationClass.UNKNOWN, "", 404, False)


@pytest.mark.parametrize(
    ("asked", "good"),
    [
        (_certs(CERTIFICATES), True),
        (_certs(CERTIFICATES) * 3, True),  # again and again for the same
        (_certs(CERTIFICATES, status=404), True),
        (_certs(CERTIFICATES) + _certs(CERTIFICATES + 1, day=1)[1:], True),
        (_certs(CERTIFICATES + 1), False),
        (_certs(CERTIFICATES + 1) + _certs(1, day=1), False),
        (_certs(100, status=429), True),
        (_certs(100, status=500), False),
        (SEARCHED[1:], True),
        (SEARCHED, False),
        (UPLOADED[1:], True),
        (UPLOADED, False),
        ([*_certs(19), ODD], True),
        ([*_certs(18), ODD], False),
        ([*_certs(100), (0, OperationClass.UNKNOWN, "", 404, True)], False),
    ],
)
def test_rules(asked: list[Asked], good: bool) -> None:  # noqa: FBT001
    """Few errors, no trap, and no more in a day than a person with a large keyring."""
    assert _looks_good(asked) is good


def test_what_is_no_http_looks_bad() -> None:
    """Once is enough."""
    looks = Looks()
    for operation in (Operation(OperationClass.CERT, "A", 1, b"/"), Operation(OperationClass.UNKNOWN, "", 1, b"")):
        looks.note(7, Line(0, HERE, "GET", "/", 200), operation)
    assert not looks.legitimate(7)


def test_who_is_not_remembered_does_not_look_legitimate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a client for which there is no room, nor one of which too much would have to be remembered."""
    monkeypatch.setattr(module, "MOST_CLIENTS", 2)
    monkeypatch.setattr(module, "MOST_SUBJECTS", 3)
    looks = Looks()
    for client, subject in ((1, "A"), (2, "A"), (2, "B"), (2, "C"), (3, "A")):
        looks.note(client, Line(0, HERE, "GET", "/", 200), Operation(OperationClass.CERT, subject, 1, b"/"))
    assert [looks.legitimate(client) for client in (1, 2, 3)] == [True, False, False]
