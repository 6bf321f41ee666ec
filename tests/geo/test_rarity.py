"""What is rare on a site: only what few have, and only where many are known."""

from __future__ import annotations

import pytest

from geo import rarity
from geo.rarity import ENOUGH, Rarity

COMMON, RARE = b"common", b"rare"


def of_a_site(networks: int = ENOUGH, most: int = 4) -> Rarity:
    """Return what so many networks with one thing have taught."""
    known = Rarity(most)
    for network in range(networks):
        known.is_rare(COMMON, network)
    return known


@pytest.mark.parametrize(("networks", "rare"), [(0, False), (ENOUGH - 2, False), (ENOUGH - 1, True), (ENOUGH, True)])
def test_nothing_is_rare_where_few_are_known(networks: int, rare: bool) -> None:  # noqa: FBT001 - a row
    """The network that brings it counts as well."""
    assert of_a_site(networks).is_rare(RARE, 77_000) is rare


def test_what_many_have_is_common_for_good() -> None:
    """From the fifth network on, also to those who had it first; one network is one, however often it comes."""
    known = of_a_site()
    assert all(known.is_rare(RARE, network) for network in (1, 2, 3, 4, 4, 3))
    assert not known.is_rare(RARE, 5)
    assert not known.is_rare(RARE, 1)
    assert not known.is_rare(COMMON, 1)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has brought for longest is forgotten, and no set grows beyond what it is needed for."""
    monkeypatch.setattr(rarity, "MOST", 3)
    known = of_a_site(2 * ENOUGH)
    for number in range(9):
        known.is_rare(b"%d" % number, number)
    assert [*known._holders] == [b"6", b"7", b"8"]
    assert len(known._networks) == ENOUGH
