"""Who asks for what nobody else asks for."""

from __future__ import annotations

import numpy as np
import pytest

from models.coldness import DAY_S, HOUR_S, SECOND_NS, WALKING, WINDOW_S, Coldness, proven

SECRET = bytes(range(16))
START_NS = 10**6 * SECOND_NS
HOUR = HOUR_S * SECOND_NS
DAY = DAY_S * SECOND_NS
WALKER = 1000


class Site:
    """A keyserver and its time."""

    def __init__(self, **sizes: int) -> None:
        """Nobody has asked yet."""
        self.coldness = Coldness(SECRET, **sizes)
        self.now_ns = START_NS
        self._random = np.random.default_rng(1)

    def ask(self, network: int, certificates: range | list[int]) -> None:
        """Let a network obtain certificates, in one block."""
        self.coldness.feed(np.full(len(certificates), network, np.uint64), hashed(certificates), self.now_ns)

    def walk(self, networks: range, each: int) -> None:
        """Let networks share what nobody else wants: each so many."""
        asked = np.repeat(np.array(networks, np.uint64), each)
        self.coldness.feed(asked, self._random.integers(0, 2**64, len(asked), np.uint64), self.now_ns)

    def ordinary_days(self, days: int = 2) -> None:
        """Let forty networks ask each hour: half for what all want, half for what each alone wants."""
        for _ in range(24 * days):
            hour = (self.now_ns - START_NS) // HOUR
            networks = self._random.permutation(np.arange(1, 41, dtype=np.uint64)).repeat(2)
            wanted = [hour if turn % 2 else 10**6 + 1000 * int(network) + hour for turn, network in enumerate(networks)]
            self.coldness.feed(networks, hashed(wanted), self.now_ns)
            self.now_ns += HOUR

    def figures(self, network: int) -> tuple[float, float]:
        """Return how much a network asked for, and how much of it was cold."""
        standing = self.coldness.standing(network, self.now_ns)
        return standing.asked, standing.cold

    def score(self, network: int) -> float:
        """Return a score."""
        return self.coldness.standing(network, self.now_ns).score


def hashed(certificates: range | list[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Return words for certificates, spread as keyed hashes are."""
    return np.array(
        [(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 >> 40 & (2**64 - 1) for number in certificates], np.uint64
    )


# What is asked for, and what is cold.


def test_the_first_network_that_asks_finds_it_cold() -> None:
    """And stays so when others come, who do not."""
    site = Site()
    for network in (1, 2, 3):
        site.ask(network, range(5))
    assert [site.figures(network) for network in (1, 2, 3)] == [(5, 5), (5, 0), (5, 0)]


def test_a_network_asks_for_a_certificate_once() -> None:
    """However often it does, in one block or in many, and however it is mixed with others."""
    site = Site()
    site.ask(1, [0, 1, 0, 0, 1])
    site.ask(1, [1, 0, 2])
    site.ask(2, [0, 0])
    assert (site.figures(1), site.figures(2)) == ((3, 3), (1, 0))


def test_of_two_networks_in_one_block_the_first_finds_it_cold() -> None:
    """As it would in two blocks."""
    site = Site()
    networks = np.tile(np.array([2, 1], np.uint64), 50)
    site.coldness.feed(networks, hashed([number // 2 for number in range(100)]), site.now_ns)
    assert (site.figures(2), site.figures(1)) == ((50, 50), (50, 0))


@pytest.mark.parametrize(("later_s", "cold"), [(WINDOW_S - 1, 0), (WINDOW_S, 1)])
def test_what_nobody_wanted_for_seven_days_is_cold_again(later_s: int, cold: int) -> None:
    """For another network; and for the same one it counts once more."""
    site = Site()
    site.ask(1, [0])
    site.now_ns += later_s * SECOND_NS
    site.ask(2, [0])
    assert site.figures(2)[1] == cold


def test_who_asks_each_day_keeps_it_warm_and_does_not_count_again() -> None:
    """The window begins anew each time."""
    site = Site()
    for _ in range(20):
        site.ask(1, [0])
        site.now_ns += DAY
    site.ask(2, [0])
    assert site.figures(2) == (1, 0)
    assert site.figures(1)[0] < 0.001


def test_what_two_networks_want_is_kept_twice_as_long() -> None:
    """And what one alone wants is not, however often it asks."""
    site = Site()
    for network in (1, 2, 3):
        site.ask(network, [network > 2])
        site.ask(network, [network > 2])
    site.now_ns += (WINDOW_S + 1) * SECOND_NS
    site.ask(4, [0, 1])
    assert site.figures(4) == (2, 1)


def test_a_walk_does_not_push_out_what_is_wanted() -> None:
    """A hundred times as many certificates as there is room for."""
    site = Site(certificates=4096, pairs=4096)
    for network in (1, 2):
        for first in range(0, 500, 50):
            site.ask(network, range(first, first + 50))
    for _ in range(200):
        site.walk(range(100, 110), each=200)
    site.ask(3, range(500))
    asked, cold = site.figures(3)
    assert asked == 500
    assert cold < 25


def test_figures_halve_each_day() -> None:
    """Whether somebody asks meanwhile or not."""
    site = Site()
    site.ask(1, range(64))
    for days in (1, 2, 3):
        site.now_ns = START_NS + days * DAY
        assert site.figures(1) == pytest.approx((64 / 2**days, 64 / 2**days))


# Scores.


@pytest.mark.parametrize(
    ("asked", "cold", "share"),
    [
        (0, 0, 0.0),
        (4, 4, 0.3077),
        (81, 81, 0.9),
        (720, 720, 0.9877),
        (100, 50, 0.3563),
        (100, 0, 0.0),
        (0.001, 0.001, 0.0001),
    ],
)
def test_proven_share(asked: float, cold: float, share: float) -> None:
    """Wilson's lower bound at three standard deviations, also of figures that have faded."""
    assert proven(np.array([asked]), np.array([cold])).tolist() == pytest.approx([share], abs=1e-4)


def test_nobody_has_a_score_before_an_hour_is_over() -> None:
    """Everything is cold then; it is not held against anybody later either."""
    site = Site()
    for network in range(1, 20):
        site.ask(network, range(network * 100, network * 100 + 100))
    assert {site.score(network) for network in range(1, 20)} == {0}
    assert site.coldness.climate(site.now_ns).usual == 1
    site.now_ns += HOUR
    site.ordinary_days(1)
    assert site.score(19) == 0


def test_walkers_stand_out() -> None:
    """One network, or many, and the more the more they take; and nobody else does."""
    site = Site()
    site.ordinary_days()
    site.walk(range(WALKER, WALKER + 20), each=30)
    some = site.score(WALKER)
    site.walk(range(WALKER, WALKER + 20), each=300)
    assert WALKING < some < site.score(WALKER)
    assert site.score(WALKER) > 0.9
    assert max(site.score(network) for network in range(1, 41)) < 0.1
    coldest = site.coldness.coldest(25, site.now_ns)
    assert {each.network for each in coldest[:20]} == set(range(WALKER, WALKER + 20))
    assert [each.score for each in coldest] == sorted((each.score for each in coldest), reverse=True)


def test_few_requests_prove_nothing() -> None:
    """Five cold ones of five may be anybody's."""
    site = Site()
    site.ordinary_days()
    site.walk(range(WALKER, WALKER + 1), each=5)
    assert site.score(WALKER) < 0.1
    assert site.score(WALKER + 1) == 0


def test_where_all_is_cold_nobody_is_suspicious() -> None:
    """A small server: what anybody wants nobody else wants."""
    site = Site()
    for hour in range(48):
        for network in range(1, 10):
            site.ask(network, range(10_000 * network + 4 * hour, 10_000 * network + 4 * hour + 4))
        site.now_ns += HOUR
    assert site.coldness.climate(site.now_ns).usual == 1
    assert max(site.score(network) for network in range(1, 10)) == 0


def test_a_long_walk_by_a_few_networks_does_not_become_usual() -> None:
    """Networks vote, not requests, and hours."""
    site = Site()
    site.ordinary_days()
    before = site.coldness.climate(site.now_ns).usual
    for _ in range(4):
        site.walk(range(WALKER, WALKER + 10), each=5000)
        site.ordinary_days(1)
    assert site.coldness.climate(site.now_ns).usual == pytest.approx(before, abs=0.1)
    site.walk(range(WALKER, WALKER + 10), each=500)
    assert site.score(WALKER) > 0.9


def test_some_hours_of_most_networks_are_not_usual_either() -> None:
    """As long as there were more hours without them."""
    site = Site()
    site.ordinary_days()
    before = site.coldness.climate(site.now_ns).usual
    for _ in range(6):
        site.now_ns += HOUR
        site.walk(range(WALKER, WALKER + 100), each=30)
    assert site.coldness.climate(site.now_ns).usual == pytest.approx(before, abs=0.05)
    assert site.score(WALKER) > 0.8


def test_networks_of_one_walker_cannot_clear_each_other() -> None:
    """Each certificate by two of them: half of it stays cold."""
    site = Site()
    site.ordinary_days()
    for step in range(20):
        taken = range(10**8 + 100 * step, 10**8 + 100 * step + 100)
        for network in (WALKER, WALKER + 1) if step % 2 else (WALKER + 1, WALKER):
            site.ask(network, taken)
    assert site.figures(WALKER) == site.figures(WALKER + 1) == (2000, 1000)


def test_who_wants_the_same_again_fades() -> None:
    """A company whose keys nobody else has looks like a short walk, once."""
    site = Site()
    site.ordinary_days()
    for _ in range(5):
        site.ask(WALKER, range(10**8, 10**8 + 60))
        site.ordinary_days(1)
    assert site.score(WALKER) < 0.1


# The node.


def test_climate() -> None:
    """A walk by many shows in the share of all that is asked for, and in their number; and both pass."""
    site = Site()
    assert site.coldness.climate(site.now_ns) == (0, 1, 0)
    site.ordinary_days()
    quiet = site.coldness.climate(site.now_ns)
    assert quiet.share == pytest.approx(quiet.usual, abs=0.1)
    assert quiet.walking == 0
    site.walk(range(WALKER, WALKER + 100), each=100)
    loud = site.coldness.climate(site.now_ns)
    assert loud.share > 0.95
    assert loud.walking == 100
    site.now_ns += 10 * DAY
    assert site.coldness.climate(site.now_ns).walking == 0


def test_nothing_is_fed_by_an_empty_block() -> None:
    """Nor does it end an hour."""
    site = Site()
    site.ask(1, [])
    assert site.coldness.climate(site.now_ns) == (0, 1, 0)


def test_a_record_that_is_late_is_taken_all_the_same() -> None:
    """Blocks of two workers may be a moment out of order."""
    site = Site()
    site.ask(1, [0])
    site.now_ns -= 5 * SECOND_NS
    site.ask(1, [1])
    assert site.figures(1) == (2, 2)


def test_networks_and_certificates_may_be_anything() -> None:
    """The first and the last word, and more networks than there are rows."""
    site = Site(networks=8, certificates=8, pairs=8)
    edge = [0, 1, 2**64 - 1]
    for network in [2**64 - 1, *range(1, 50)]:
        site.coldness.feed(np.full(3, network, np.uint64), np.array(edge, np.uint64), site.now_ns)
    assert len(site.coldness.coldest(100, site.now_ns)) == 8
