"""What `hkpguard explain` and `hkpguard top` draw."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console, RenderableType

from proxy.admin.view import REFRESH_SECONDS, bans_view, client_view, location_line, top_view, watch

CLIENT: dict[str, Any] = {
    "client": "192.0.2.1",
    "known": True,
    "allowed_network": False,
    "peer": False,
    "origin": {"asn": None, "kind": "unknown", "rule": None},
    "location": {
        "country": "GB",
        "city": "[b]Boxford",
        "latitude": 51.75,
        "longitude": -1.25,
        "radius_km": 100.0,
        "asn": 1221,
        "holder": "Telstra",
        "kind": "mobile",
    },
    "banned": False,
    "ban": None,
    "never_banned": False,
    "shared_exit": False,
    "rung": 0,
    "points": 12.5,
    "points_for_a_ban": 100,
    "offences": [{"kind": "trap", "time": "2026-11-21T07:59:59Z"}],
    "turned_away": None,
    "limits": [
        {"limit": "cert", "mode": "enforce", "burst": 60, "per_second": 5.0, "remaining": 42, "full_in_seconds": 3.6}
    ],
    "network": {
        "network": "192.0.2.0/24",
        "cold": {"score": 0.813, "asked": 56.4, "cold": 55.6, "proven_share": 0.875, "usual_share": 0.332},
        "verdict": {
            "standing": "priced",
            "without_shadow_mode": "priced",
            "prior": -4.0,
            "log_odds": 0.25,
            "evidence": [{"kind": "cohort", "weight": 4.25, "reason": "one of 9", "seconds_left": 30, "shadow": False}],
        },
        "budgets": [
            {
                "limit": "distinct-certs",
                "mode": "enforce",
                "burst": 1000,
                "per_second": 0.2,
                "remaining": 958,
                "full_in_seconds": 210.0,
                "distinct": 42,
            }
        ],
    },
    "verdict": {
        "standing": "welcome",
        "without_shadow_mode": "delayed",
        "prior": -4.0,
        "log_odds": -4.0,
        "evidence": [{"kind": "pace", "weight": 5.5, "reason": "[red]1 a second", "seconds_left": 60, "shadow": True}],
    },
    "last": [
        {
            "time": "2026-11-21T08:00:00Z",
            "request_id": "0123456789abcdef",
            "operation": "cert",
            "action": "limit",
            "reason": "limit",
            "status": 429,
            "cached": False,
            "wait_ms": 0.0,
            "address_source": "x_forwarded_for",
        }
    ],
}
TOP: dict[str, Any] = {
    "clients": [{"client": "2001:db8::/64", "requests": 12, "refused": 3}],
    "operations": [{"operation": "cert", "action": "allow", "requests": 9}],
    "upstreams": [
        {"upstream": "127.0.0.1:11371", "up": True},
        {"upstream": "127.0.0.1:11372", "up": False},
        {"upstream": "[fe80::1]:11371", "up": True},
    ],
    "table": {"used": 7, "capacity": 1024},
    "walking": [],
    "turned_away": [],
    "seconds": 42,
}


def drawn(view: RenderableType) -> str:
    """Return what stands on a wide terminal."""
    out = io.StringIO()
    Console(file=out, width=200, color_system=None).print(view)
    return out.getvalue()


def test_client() -> None:
    """Limits, its network's budgets and last verdicts, in the words of the API."""
    text = drawn(client_view(CLIENT))
    assert "distinct-certs" in text
    for word in ("192.0.2.1 is welcome, without shadow mode delayed: log-odds -4.00, of", "+5.50 (shadow)"):
        assert word in text
    for word in ("192.0.2.0/24 is priced: log-odds +0.25", "cohort", "one of 9", "+4.25", "[red]1 a second"):
        assert word in text
    for word in ("192.0.2.1", "cert", "enforce", "60", "42", "3.600", "429", "0123456789abcdef", "last verdicts"):
        assert word in text


def test_where_the_address_was_taken_from() -> None:
    """Who reads the verdicts learns which header, if any, said that they are this client's."""
    other = CLIENT["last"][0] | {"address_source": "peer"}
    text = drawn(client_view(CLIENT | {"last": [*CLIENT["last"], other, other]}))
    assert "last verdicts, address from peer, x_forwarded_for" in text


def test_cold_certificates_of_a_network() -> None:
    """Its score with the figures that it comes from."""
    text = drawn(client_view(CLIENT))
    assert "192.0.2.0/24 lately asked for 56 certificates, 56 of them cold: 88% proven, 33% usual; score 0.81" in text


NOWHERE = {"country": "", "city": "", "latitude": None, "longitude": None, "radius_km": None, "asn": None,
           "holder": "", "kind": "unknown"}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({}, "nobody knows where it is"),
        ({"country": "DE"}, "DE"),
        ({"latitude": 1.0, "longitude": 2.0, "radius_km": 1000.0}, "within 1000 km of 1.00, 2.00"),
        ({"country": "DE", "asn": 680, "holder": "DFN", "kind": "education"}, "DE; AS680 DFN; education"),
        ({"holder": "somebody"}, "somebody"),
    ],
)
def test_location(facts: dict[str, Any], line: str) -> None:
    """What is known stands in the line, and nothing else."""
    assert location_line(NOWHERE | facts) == line


def test_client_somewhere() -> None:
    """Where a client is stands below its limits, as it is written; nothing does where nobody looks."""
    line = "[b]Boxford, GB, within 100 km of 51.75, -1.25; AS1221 Telstra; mobile"
    assert line in drawn(client_view(CLIENT))
    assert "Boxford" not in drawn(client_view(CLIENT | {"location": None}))


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"known": False}, "never seen"),
        ({"allowed_network": True}, "HKPGUARD_ALLOW"),
        ({"peer": True}, "peer"),
        ({"never_banned": True}, "nobody may ban it"),
        ({"shared_exit": True}, "shared exit"),
        ({"origin": {"asn": 1, "kind": "hosting", "rule": "clouds"}}, "rule by origin: clouds"),
    ],
)
def test_notes_on_a_client(change: dict[str, bool], note: str) -> None:
    """What is special about a client stands in the headline, and only then."""
    assert note in drawn(client_view(CLIENT | change))
    assert note not in drawn(client_view(CLIENT))


def test_client_that_is_banned() -> None:
    """The ban stands out; what is held against the client follows, as it is written."""
    ban = {
        "network": "192.0.2.0/24",
        "origin": "manual",
        "until": "2026-11-21T09:00:00Z",
        "reason": "[bold]they[/bold]",
        "node": None,
    }
    text = drawn(client_view(CLIENT | {"banned": True, "ban": ban, "rung": 2}))
    assert "BANNED until 2026-11-21T09:00:00Z: 192.0.2.0/24, manual ([bold]they[/bold])" in text
    assert "points: 12.5 of 100; rung of the ladder: 2" in text
    assert "offence: 2026-11-21T07:59:59Z trap" in text
    assert "BANNED" not in drawn(client_view(CLIENT))


def test_bans() -> None:
    """A row for each, how many there are in the title, and whether they bind anybody."""
    answer = {
        "mode": "enforce",
        "in_force": {"ladder": 1, "widened": 0, "cluster": 1},
        "bans": [
            {
                "network": "192.0.2.0/24",
                "origin": "cluster",
                "node": "[i]b",
                "since": "2026-11-21T08:00:00Z",
                "until": "2026-11-21T09:00:00Z",
                "seconds_left": 1234,
                "rung": 0,
                "reason": "[red]they",
            }
        ],
    }
    text = drawn(bans_view(answer))
    for word in ("192.0.2.0/24", "cluster ([i]b)", "09:00:00Z", "1234", "[red]they", "1 ladder, 0 widened, 1 cluster"):
        assert word in text
    assert "nobody is refused" not in text
    assert "mode is shadow: nobody is refused" in drawn(bans_view(answer | {"mode": "shadow"}))


def test_client_without_records() -> None:
    """Where there are no verdicts there is no empty table of them."""
    assert "last verdicts" not in drawn(client_view(CLIENT | {"last": []}))


@pytest.mark.parametrize("cached", [True, False])
def test_answer_from_the_cache_is_marked(*, cached: bool) -> None:
    """Beside its status, and nothing beside others."""
    text = drawn(client_view(CLIENT | {"last": [CLIENT["last"][0] | {"cached": cached}]}))
    assert ("yes" in text) == cached


def test_top() -> None:
    """Busiest clients, operations, and what is wrong with the node in capitals."""
    text = drawn(top_view(TOP))
    for word in (
        "2001:db8::/64",
        "12",
        "last 42 s",
        "cert",
        "allow",
        "127.0.0.1:11371 up",
        "127.0.0.1:11372 DOWN",
        "[fe80::1]:11371 up",
        "7 of 1024",
    ):
        assert word in text


SHARES = {"requests": 4321, "not_found_share": 0.25, "refused_share": 0.666, "sent_bytes": 98_765_432}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            {"networks": [SHARES | {"network": "198.51.100.0/24", "distinct_subjects": 77}]},
            ("busiest networks, last 42 s", "198.51.100.0/24", "77"),
        ),
        (
            {"subjects": [SHARES | {"subject": "0123456789abcdef", "operation": "words", "distinct_clients": 77}]},
            ("busiest subjects, last 42 s", "0123456789abcdef", "words", "77"),
        ),
    ],
)
def test_top_of_networks_and_subjects(answer: dict[str, Any], words: tuple[str, ...]) -> None:
    """Their figures, and how the node is; clients are not among them."""
    node = {name: TOP[name] for name in ("upstreams", "table", "walking", "turned_away", "seconds") if name in TOP}
    text = drawn(top_view(node | answer))
    for word in (*words, "4321", "25%", "67%", "98.8", "127.0.0.1:11372 DOWN"):
        assert word in text
    assert "busiest clients" not in text


def test_a_hash_fits_into_a_line() -> None:
    """Where a terminal has 80 columns, and figures are large."""
    total = SHARES | {"subject": "0123456789abcdef", "operation": "identity", "distinct_clients": 7098}
    out = io.StringIO()
    Console(file=out, width=80).print(top_view(TOP | {"subjects": [total | {"requests": 12_345_678}]}))
    for word in ("0123456789abcdef", "identity", "12345678", "7098"):
        assert word in out.getvalue()


def test_top_names_walkers() -> None:
    """Those whose scores are high, if there are any."""
    walker = {"network": "203.0.113.0/24", "score": 0.91, "asked": 720.4, "cold": 719.6}
    text = drawn(top_view(TOP | {"walking": [walker]}))
    for word in ("these seem to walk through a dump", "203.0.113.0/24", "0.91", "720"):
        assert word in text
    assert "walk" not in drawn(top_view(TOP))


KNOCKS = {
    "connections": 1234,
    "held": 56,
    "first": "2026-11-21T08:00:00Z",
    "last": "2026-11-21T09:00:00Z",
    "reason": "banned",
    "tls": False,
}


def test_top_names_who_knocks() -> None:
    """Those that were turned away, if there are any."""
    text = drawn(top_view(TOP | {"turned_away": [{"client": "203.0.113.9", **KNOCKS}]}))
    for word in ("these were turned away", "203.0.113.9", "banned", "1234", "56", "08:00:00Z"):
        assert word in text
    assert "turned away" not in drawn(top_view(TOP))


def test_client_that_knocks() -> None:
    """How often it was turned away, since when, and why the last time."""
    text = drawn(client_view(CLIENT | {"turned_away": KNOCKS}))
    assert "turned away: 1234 connections since 2026-11-21T08:00:00Z, 56 of them held in the tarpit" in text
    assert "2026-11-21T09:00:00Z: banned" in text
    assert "turned away" not in drawn(client_view(CLIENT))


def test_watch_draws_until_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks again and again, and Ctrl-C ends it without a traceback."""
    asked: list[float] = []
    waits = iter([None, None])

    def sleep(seconds: float) -> None:
        asked.append(seconds)
        if next(waits, "over") == "over":
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    questions: list[int] = []

    def ask() -> dict[str, Any]:
        questions.append(1)
        return TOP

    watch(ask)
    assert asked == [REFRESH_SECONDS] * 3
    assert len(questions) == 3
