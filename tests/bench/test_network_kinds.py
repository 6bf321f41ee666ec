"""Shares of networks: of the set, each network once."""

from __future__ import annotations

import pytest

from bench.network_kinds import share
from fastpath.prefix_build import Rows, build
from fastpath.prefixes import PrefixSet


def test_share() -> None:
    """A /24 counts once, by the address of it that is named first."""
    prefixes = PrefixSet(build(Rows.of([(bytes([192, 0, 2, 0]), 25, 5)])))
    addresses = [bytes(each) for each in ([192, 0, 2, 1], [192, 0, 2, 200], [198, 51, 100, 1], [203, 0, 113, 1])]
    assert share(addresses, prefixes) == (pytest.approx(1 / 3), 3)
    assert share(addresses[1:], prefixes) == (0.0, 3)
