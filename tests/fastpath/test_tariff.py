"""What requests cost just now, told to all processes."""

from __future__ import annotations

import mmap
import os

import pytest

from fastpath._gcra_py import MAX_OFFSET_NS
from fastpath._table_py import MOST_TIMES
from fastpath.tariff import TARIFF_BYTES, Tariff

NOW = 1_000_000_000_000_000


def tariff() -> Tariff:
    """Return a fresh one."""
    return Tariff(memoryview(bytearray(TARIFF_BYTES)))


def test_memory_that_does_not_fit() -> None:
    """Too little memory is the caller's error and is named."""
    with pytest.raises(ValueError, match="tariff"):
        Tariff(memoryview(bytearray(TARIFF_BYTES - 8)))


def test_nothing_said_is_one_token() -> None:
    """Memory that nobody has written to leaves every price as it is."""
    assert [tariff().times(kind, NOW) for kind in range(12)] == [1] * 12


@pytest.mark.parametrize("times", [1, 4, MOST_TIMES])
@pytest.mark.parametrize("until_ns", [NOW, MAX_OFFSET_NS >> 2])
def test_price_holds_until_its_time(times: int, until_ns: int) -> None:
    """A price is that of its class alone, and ends to the nanosecond."""
    mine = tariff()
    mine.set(3, times, until_ns)
    assert [mine.times(kind, until_ns - 1) for kind in (2, 3, 4)] == [1, times, 1]
    assert mine.times(3, until_ns) == 1


@pytest.mark.parametrize(
    ("kind", "times", "until_ns"),
    [(-1, 1, 0), (12, 1, 0), (1, 0, 0), (1, MOST_TIMES + 1, 0), (1, 1, -1), (1, 1, (MAX_OFFSET_NS >> 2) + 1)],
)
def test_out_of_range(kind: int, times: int, until_ns: int) -> None:
    """What does not fit is refused, and changes nothing."""
    mine = tariff()
    with pytest.raises(ValueError, match="not in"):
        mine.set(kind, times, until_ns)
    assert {mine.times(each, NOW) for each in range(12)} == {1}


@pytest.mark.parametrize("kind", [-1, 12])
def test_no_such_class(kind: int) -> None:
    """A class that there is not has no price."""
    with pytest.raises(ValueError, match="kind"):
        tariff().times(kind, NOW)


def test_other_processes_see_it() -> None:
    """A price that one process sets is what others read."""
    memory = memoryview(mmap.mmap(-1, TARIFF_BYTES))
    pid = os.fork()
    if pid == 0:
        Tariff(memory).set(1, 7, NOW + 1)
        os._exit(0)
    os.waitpid(pid, 0)
    assert Tariff(memory).times(1, NOW) == 7
