"""The standing of networks: credit for handshakes that were finished, debts for others, and their end."""

from itertools import pairwise

import pytest

from proxy.http.standing import SWEEPS_OF_MEMORY, Standing

NETWORK = 0x03_00_00_00_00_C0_00_02
BAD, GOOD = False, True


@pytest.mark.parametrize(
    ("ends", "in_debt"),
    [
        ([], False),
        ([BAD], True),
        ([BAD] * 100, True),
        ([GOOD], False),
        ([GOOD, BAD], False),
        ([GOOD, BAD, BAD], True),
        ([BAD, GOOD], False),
        ([BAD] * 100 + [GOOD], False),
        ([GOOD] * 100 + [BAD] * 8, False),
        ([GOOD] * 100 + [BAD] * 9, True),
    ],
)
def test_credit(ends: list[bool], *, in_debt: bool) -> None:
    """A finished handshake makes up for one that was not, up to eight of them; one is enough to be out of debt."""
    standing = Standing()
    for end in ends:
        standing.note(NETWORK, end)
    assert standing.in_debt(NETWORK) is in_debt


def test_each_network_for_itself() -> None:
    """Hardly anybody is taken for somebody else, of whatever kind the networks are."""
    standing = Standing()
    for number in range(10_000):
        standing.note(0x03 << 56 | number, BAD)
    assert all(standing.in_debt(0x03 << 56 | number) for number in range(10_000))
    strangers = [0x04 << 56 | number << 8 for number in range(10_000)]
    assert sum(standing.in_debt(each) for each in strangers) < len(strangers) // 5


def test_debts_end_one_after_the_other() -> None:
    """All are forgotten in time, and never many at once: those who were silent together do not come back together."""
    standing = Standing()
    networks = [0x03 << 56 | number for number in range(500)]
    for network in networks:
        standing.note(network, BAD)
    left = [len(networks)]
    for _ in range(SWEEPS_OF_MEMORY):
        standing.forget_some()
        left.append(sum(standing.in_debt(network) for network in networks))
    assert max(before - after for before, after in pairwise(left)) < len(networks) // 20
    assert left[-1] == 0
