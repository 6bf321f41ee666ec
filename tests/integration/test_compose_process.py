"""The process that composes origins, as the analyst starts it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from fastpath import Control, PrefixBook, Region
from proxy.config import Config
from proxy.intel import composer as module
from proxy.intel.composer import Composer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

RULES = [{"name": "a", "networks": ["192.0.2.0/24", "2001:db8::/32"], "deny": ["upload"]}]


def composer(path: Path) -> tuple[Composer, PrefixBook, Region]:
    """Return one of a fresh node with a rule."""
    environ = {"HKPGUARD_STATE_DIR": str(path), "HKPGUARD_ORIGIN_RULES": json.dumps(RULES)}
    region = Region.create(clients=8, workers=1, upstreams=0, prefixes=1024)
    region.close()
    return Composer(Config.from_env(environ), region), PrefixBook(region.origins, 1024), region


def test_a_set_is_composed_and_put_in_place(tmp_path: Path) -> None:
    """From the rule in the settings to the look-up of a worker."""
    made, book, region = composer(tmp_path)
    asyncio.run(made.turn())
    assert (made.degraded, book.generation, region.control[Control.ORIGIN_RULES] != 0) == ("", 1, True)
    assert [
        book.look_up(each) >> 24 for each in (bytes([192, 0, 2, 1]), bytes(4), b"\x20\x01\x0d\xb8" + bytes(12))
    ] == [1, 0, 1]


def test_a_process_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said last is told, and nothing is put in place."""
    monkeypatch.setattr(module, "json", type("Broken", (), {"dumps": lambda _order: "no order", "loads": json.loads}))
    made, book, _ = composer(tmp_path)
    asyncio.run(made.turn())
    assert book.generation == 0
    assert "status 1: json.decoder.JSONDecodeError" in made.degraded


def test_a_process_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed."""
    monkeypatch.setattr(module, "COMPOSE_SECONDS", 0.0)
    made, book, _ = composer(tmp_path)
    asyncio.run(made.turn())
    assert (book.generation, "TimeoutError" in made.degraded) == (0, True)
