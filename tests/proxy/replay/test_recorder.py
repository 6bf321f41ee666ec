"""Requests that were judged, as records."""

from __future__ import annotations

import pytest

from fastpath.record_array import RECORD_DTYPE
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason
from proxy.policy.judge import ALLOW, Verdict
from proxy.replay.line import Line
from proxy.replay.node import START_NS
from proxy.replay.recorder import NO_HEAD, recorded
from proxy.replay.world import MALFORMED, World
from proxy.telemetry.numbers import METHODS, SHADOW

ADDRESS, CLIENT = bytes([203, 0, 113, 7]), 2**63 + 5
GET = "/pks/lookup?op=get&search=0x0123456789ABCDEF0123456789ABCDEF01234567"
SEARCH = "/pks/lookup?op=index&search=Ann%40Example.org"
WORLD = World(Config.from_env({"HKPGUARD_TABLE_CLIENTS": "1024"}))
LIMITED = Verdict(Action.LIMIT, Reason.LIMIT, 429)
DELAYED = Verdict(Action.DELAY, Reason.LIMIT, 0, 3_000_000)
WATCHED = Verdict(Action.ALLOW, Reason.LIMIT, shadow=Action.LIMIT)


def _record(line: Line, verdict: Verdict = ALLOW, *, patient: bool = True) -> dict[str, object]:
    asked = [(START_NS, CLIENT, WORLD.classify(line.method, line.target), line, verdict)]
    found = recorded(asked, WORLD.node.subjects, patient=patient)
    assert found.dtype == RECORD_DTYPE
    return {name: found[name][0].item() for name in RECORD_DTYPE.names or ()}


def _line(target: str = GET, status: int = 200, **figures: int) -> Line:
    return Line(0, ADDRESS, "GET", target, status, **figures)


def test_what_was_asked() -> None:
    """Who, what, in the words of the node, how, and what was said to it."""
    made = _record(_line(SEARCH, 404, flags=1, received_bytes=17))
    assert made["client"] == CLIENT
    assert made["operation"] == OperationClass.IDENTITY
    assert made["subject"] == b"ann@example.org"
    assert made["subject_hash"] == WORLD.node.subjects.word_of("ann@example.org")
    assert METHODS[int(str(made["method"]))] == "GET"
    assert (made["status"], made["flags"], made["received"]) == (404, 1, 17)


@pytest.mark.parametrize(
    ("line", "verdict", "status", "action", "total_us"),
    [
        (_line(took_us=2000), ALLOW, 200, Action.ALLOW, 2000),
        (_line(took_us=2000, wait_us=500), ALLOW, 200, Action.ALLOW, 1500),  # here nobody made it wait
        (_line(took_us=2000, wait_us=500), DELAYED, 200, Action.DELAY, 4500),
        (_line(took_us=2000), LIMITED, 429, Action.LIMIT, 0),
        (_line(took_us=2000), WATCHED, 200, Action.LIMIT + SHADOW, 2000),
        (_line(""), MALFORMED, 400, Action.DENY, 0),
        (_line(took_us=2**32), DELAYED, 200, Action.DELAY, 2**32 - 1),
    ],
)
def test_what_became_of_it(line: Line, verdict: Verdict, status: int, action: int, total_us: int) -> None:
    """A request ends when it is answered: after the wait of this run, and not that of the guard that wrote the log."""
    made = _record(line, verdict)
    assert (made["status"], made["action"], made["total_us"]) == (status, action, total_us)
    assert made["reason"] == verdict.reason
    if total_us < 2**32 - 1:
        assert made["time_ns"] == START_NS + total_us * 1000
    assert (made["subject_hash"] == NO_HEAD) == (line.target == "")


@pytest.mark.parametrize(
    ("line", "verdict", "total_us"),
    [
        (_line(took_us=2000), DELAYED, 2000),
        (_line(took_us=2000, wait_us=500), DELAYED, 2000),
        (_line(took_us=2000, wait_us=500), ALLOW, 2000),
        (_line(took_us=2000), LIMITED, 0),
    ],
)
def test_who_keeps_the_pace_of_the_log_has_its_times(line: Line, verdict: Verdict, total_us: int) -> None:
    """What such a client asks for next comes when the log says, so the answer does, too, whatever the delay."""
    made = _record(line, verdict, patient=False)
    assert (made["total_us"], made["time_ns"]) == (total_us, START_NS + total_us * 1000)


def test_records_are_in_the_order_in_which_requests_ended() -> None:
    """As rings have them."""
    operation = WORLD.classify("GET", GET)
    took = (5000, 1000, 3000)
    asked = [(START_NS, number, operation, _line(took_us=each), ALLOW) for number, each in enumerate(took)]
    assert recorded(asked, WORLD.node.subjects)["client"].tolist() == [1, 2, 0]
