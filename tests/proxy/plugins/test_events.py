"""Events: what goes over the wire, and to whom."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.admin.openapi import DOCUMENT
from proxy.plugins.events import (
    EVENTS,
    BanPlaced,
    Event,
    EvidenceFound,
    PluginBroken,
    PluginSaid,
    Posted,
    VerdictRaised,
    schemas,
)

PLACED = BanPlaced(network="192.0.2.7", origin="ladder", seconds=1800, rung=1, reason="4 trap", mode="enforce")
PLUGINS = (Path(__file__).parents[3] / "docs" / "plugins.md").read_text(encoding="utf-8")


def test_wire() -> None:
    """An event is an id, a type, a time in UTC with milliseconds, and data."""
    posted = Posted(17, "62d27452-17", 1_795_249_901.1204, PLACED)
    wire = posted.wire(addresses=True)
    assert json.loads(json.dumps(wire)) == {
        "id": "62d27452-17",
        "type": "ban.placed",
        "timestamp": "2026-11-21T08:31:41.120Z",
        "data": {
            "network": "192.0.2.7",
            "origin": "ladder",
            "seconds": 1800,
            "rung": 1,
            "reason": "4 trap",
            "mode": "enforce",
            "node": "",
        },
    }


def test_example_of_the_documents() -> None:
    """The event that docs/plugins.md shows is one."""
    (example,) = re.findall(r"```json\n(.*?)```", PLUGINS, re.DOTALL)
    shown = json.loads(example)
    assert Posted(17, shown["id"], 1_795_249_901.1204, PLACED).wire(addresses=True) == shown


def test_kinds_of_the_documents() -> None:
    """docs/plugins.md names each kind of event, and no other."""
    table = PLUGINS[PLUGINS.index("| type | when |") : PLUGINS.index("The fields are described")]
    assert set(re.findall(r"`([a-z]+\.[a-z]+)`", table)) == set(EVENTS)


def test_addresses_are_left_out() -> None:
    """Fields with addresses are only for those who may know them."""
    for event in EVENTS.values():
        assert event.personal <= event.model_fields.keys()
    assert "192.0.2.7" not in json.dumps(Posted(1, "a", 0.0, PLACED).wire(addresses=False))


@pytest.mark.parametrize("name", ["network", "subject", "address", "client", "found", "data", "reasons"])
def test_fields_with_addresses_are_marked(name: str) -> None:
    """No event has a field of a name that stands for a client, or for what plugins write, and forgets to say so."""
    for event in EVENTS.values():
        assert name not in event.model_fields or name in event.personal, event.kind


@pytest.mark.parametrize(
    "event",
    [
        VerdictRaised(subject="x", before="w", after="p", log_odds=1.0, seconds=9, reasons=("like 192.0.2.7",)),
        PluginBroken(plugin="x", reason="ValueError: bad client 192.0.2.7", seconds=5.0),
    ],
)
def test_words_of_plugins_are_left_out(event: Event) -> None:
    """Nobody knows what plugins write, so it is only for those who may know addresses."""
    assert "192.0.2.7" in json.dumps(event.values(addresses=True))
    assert "192.0.2.7" not in json.dumps(event.values(addresses=False))


def test_schemas() -> None:
    """The schema of each kind of event is part of the description of the admin API."""
    described: dict[str, Any] = DOCUMENT["components"]["schemas"]
    assert described == schemas()
    assert described["ban.placed"]["required"] == ["network", "origin", "seconds", "rung", "reason", "mode"]


@pytest.mark.parametrize(
    "data",
    [
        {"topic": "With Blanks"},
        {"topic": "x" * 65},
        {"topic": "x", "data": {f"k{number}": 1 for number in range(33)}},
        {"topic": "x", "data": {"nested": {}}},
        {"topic": "x", "data": {"text": "x" * 501}},
        {"topic": "x", "data": {"x" * 65: 1}},
        {"topic": "x", "data": {"figure": float("nan")}},
        {"topic": "x", "more": 1},
    ],
)
def test_plugins_say_only_so_much(data: dict[str, Any]) -> None:
    """What plugins say of their own is bounded and flat."""
    with pytest.raises(ValidationError):
        PluginSaid.model_validate(data)


def test_evidence_that_is_told_is_bounded() -> None:
    """An event never holds more than so many pieces of evidence."""
    with pytest.raises(ValidationError):
        EvidenceFound.model_validate({"plugin": "x", "count": 17, "found": [{}] * 17})
