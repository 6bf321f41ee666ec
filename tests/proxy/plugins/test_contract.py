"""What the contract promises plugins: shares of clients, and a description."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import client_key
from proxy.plugins.bus import Bus
from proxy.plugins.contract import Host, NoSettings, Plugin, chosen, describe

CLIENTS = np.array([client_key(bytes([192, 0, number // 256, number % 256])) for number in range(10_000)], np.uint64)


@pytest.mark.parametrize(("percent", "low", "high"), [(0, 0, 0), (1, 50, 150), (50, 4800, 5200), (100, 10_000, 10_000)])
def test_percentage_of_clients(percent: int, low: int, high: int) -> None:
    """Of neighbours, whose keys differ in a few bits, about the percentage is chosen; of 0 nobody, of 100 all."""
    assert low <= chosen(CLIENTS, percent, "words").sum() <= high


@given(st.integers(0, 100), st.integers(0, 100), st.text(max_size=8))
def test_more_per_cent_takes_nobody_away(one: int, other: int, salt: str) -> None:
    """Who is among 10 % is among 20 %, today and tomorrow."""
    few, many = sorted((one, other))
    assert not (chosen(CLIENTS[:50], few, salt) & ~chosen(CLIENTS[:50], many, salt)).any()


def test_shares_of_two_things_are_independent() -> None:
    """The clients that have one feature are not those that have the other."""
    both = chosen(CLIENTS, 50, "words") & chosen(CLIENTS, 50, "uploads")
    assert 2300 <= both.sum() <= 2700


def test_feature() -> None:
    """A feature is on for everybody unless a percentage is set."""
    host = Host(
        config=NoSettings(), log=logging.getLogger(), bus=Bus(), state_dir=Path(), features={"words": 0, "mails": 100}
    )
    shares = [host.feature(name, CLIENTS).mean() for name in ("words", "mails", "others")]
    assert shares == [0, 1, 1]


def test_name_and_version_are_enough() -> None:
    """A plugin that offers nothing is one."""

    class Idle(Plugin):
        name = "idle"
        version = "1"

    description = describe(Idle())
    assert (description.name, description.needs, description.on_failure) == ("idle", (), "open")
