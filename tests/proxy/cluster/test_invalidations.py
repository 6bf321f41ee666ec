"""Which answers are stale on other nodes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from fastpath import Epochs
from fastpath.epochs import EPOCH_BYTES
from proxy.cluster.invalidations import ALL, FRESH_US, MOST_GROUPS, Invalidations
from tests.proxy.cluster.gossips_for_tests import FakeServer, FakeStore

if TYPE_CHECKING:
    from proxy.cluster.store import Store

NOW_US = 1_700_000_000 * 10**6


class Cache:
    """The epochs of a node, and who tells of them."""

    def __init__(self, server: FakeServer, name: str) -> None:
        """Begin."""
        memory = memoryview(bytearray(EPOCH_BYTES))
        self.epochs = Epochs(memory)
        self.told = Invalidations(name, memory, self.epochs)
        self._server = server
        self._store: Store = FakeStore(server, name)  # type: ignore[assignment]

    def tell(self, now_us: int = NOW_US) -> None:
        """Look, and tell."""
        self.told.look()
        asyncio.run(self.told.tell(self._store, now_us))

    def hear(self, number: int = -1, now_us: int = NOW_US) -> None:
        """Hear a message of all that were published."""
        message = self._server.published[number]
        self.told.hear(self._store.seal.open(message.family, message.data), now_us)


@pytest.fixture
def two() -> tuple[Cache, Cache]:
    """Return two nodes."""
    server = FakeServer()
    return Cache(server, "a"), Cache(server, "b")


def test_an_upload_on_one_node(two: tuple[Cache, Cache]) -> None:
    """The epochs that were advanced on one node are on the other, and it does not tell of that."""
    a, b = two
    for thing in (5, 70_000, 65_535):
        a.epochs.advance(thing)
    a.tell()
    b.hear()
    assert [b.epochs.of(thing) for thing in (5, 70_000, 65_535, 6)] == [1, 1, 1, 0]
    b.tell()
    assert len(a._server.published) == 1
    b.epochs.advance(5)
    b.tell()
    a.hear()
    assert a.epochs.of(5) == 2


def test_nothing_is_told_twice(two: tuple[Cache, Cache]) -> None:
    """What was told is told; what could not be is told later, once."""
    a, b = two
    a.epochs.advance(5)
    a._server.down = True
    with pytest.raises(Exception, match="down"):
        a.tell()
    a._server.down = False
    a.epochs.advance(5)
    a.tell()
    a.tell()
    assert len(a._server.published) == 1
    b.hear()
    b.hear()  # doubled
    assert b.epochs.of(5) == 1


def test_many_uploads(two: tuple[Cache, Cache]) -> None:
    """Of more than can be told at once all is told."""
    a, b = two
    for thing in range(MOST_GROUPS + 1):
        a.epochs.advance(thing + 1)
    a.tell()
    b.hear()
    assert (b.epochs.of(ALL), b.epochs.of(1)) == (1, 0)


@pytest.mark.parametrize("late_us", [FRESH_US + 1, -FRESH_US - 1])
def test_played_again(two: tuple[Cache, Cache], late_us: int) -> None:
    """Who kept a message cannot have caches emptied with it later."""
    a, b = two
    a.epochs.advance(5)
    a.tell()
    b.hear(now_us=NOW_US + late_us)
    assert b.epochs.of(5) == 0


@pytest.mark.parametrize("payload", [b"", bytes(8), bytes(9), bytes(8) + b"\x01a\x00", bytes(8) + b"\xffa\x00\x01"])
def test_nonsense(two: tuple[Cache, Cache], payload: bytes) -> None:
    """What no node tells is an error."""
    with pytest.raises(ValueError, match=r"."):
        two[0].told.hear(payload, NOW_US)
