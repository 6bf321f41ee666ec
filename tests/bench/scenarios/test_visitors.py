"""What visitors do, against a node that a test scripts; and what is counted."""

from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import ClassVar

import pytest

from bench.scenarios import addresses, clients, vandals
from bench.scenarios.certificates import Certificate, gpg_get
from bench.scenarios.clock import HOUR, MILLISECOND, SECOND, START_NS, Clock
from bench.scenarios.goals import NobodyDenied
from bench.scenarios.upstream import Upstream
from bench.scenarios.world import Tally, Visitor, World
from fastpath import network_key
from proxy.policy.actions import Action
from proxy.policy.judge import ALLOW, Verdict

REFUSED = Verdict(Action.LIMIT, status=429)
ADDRESS = bytes([203, 0, 113, 7])


class NothingCold:
    """Knows of no network."""

    highest: ClassVar[dict[int, float]] = {}

    def look(self, now_ns: int) -> None:
        """See `Cold`."""


class FakeNode:
    """Says what a test wants, and remembers who asked what and when."""

    def __init__(self, answer: Callable[[int], Verdict] = lambda _: ALLOW) -> None:
        """`answer` is given the number of the request."""
        self.upstream = Upstream()
        self.cold = NothingCold()
        self.heard: list[tuple[bytes, str, int]] = []
        self._answer = answer

    def ask(self, address: bytes, target: str, now_ns: int) -> Verdict:
        """See `Node`."""
        self.heard.append((address, target, now_ns - START_NS))
        return self._answer(len(self.heard) - 1)

    def upload(self, address: bytes, certificate: Certificate, now_ns: int) -> Verdict:
        """See `Node`."""
        return self.ask(address, certificate.fingerprint, now_ns)

    def visitor(self, tally: Tally) -> Visitor:
        """Return somebody who asks."""
        return Visitor(self, tally, ADDRESS)  # type: ignore[arg-type]


def _keys(count: int) -> list[str]:
    return [f"{number:040X}" for number in range(count)]


def _refreshed(answer: Callable[[int], Verdict], keys: int) -> tuple[FakeNode, Tally]:
    node, tally, clock = FakeNode(answer), Tally(), Clock()
    clock.add(clients.refresh(node.visitor(tally), _keys(keys), 8 * MILLISECOND))
    clock.run(START_NS + HOUR)
    return node, tally


def _world(populate: Callable[[World], None], hours: float = 24.0) -> tuple[World, FakeNode]:
    world, node = World({}, int(hours * HOUR)), FakeNode()
    world.node = node  # type: ignore[assignment]
    populate(world)
    world.run()
    return world, node


def test_gpg_asks_for_one_key_after_the_other() -> None:
    """Each once, the next one after the round trip."""
    node, tally = _refreshed(lambda _: ALLOW, 100)
    assert [target for _, target, _ in node.heard] == list(map(gpg_get, _keys(100)))
    assert [when for *_, when in node.heard] == [turn * 8 * MILLISECOND for turn in range(100)]
    assert (tally.requests, tally.denied, tally.different) == (100, 0, 100)
    assert tally.longest_ns == 100 * 8 * MILLISECOND


def test_gpg_waits_when_it_is_told_to() -> None:
    """A delay is nothing but a slow answer."""
    node, tally = _refreshed(lambda number: Verdict(Action.DELAY, wait_ns=SECOND) if number == 1 else ALLOW, 3)
    assert [when for *_, when in node.heard] == [0, 8 * MILLISECOND, SECOND + 16 * MILLISECOND]
    assert tally.worst_wait_ns == SECOND


def test_a_refused_key_is_lost_and_gpg_goes_on() -> None:
    """There is no second try, and one client was hit, not one for each key."""
    node, tally = _refreshed(lambda number: REFUSED if number % 2 else ALLOW, 100)
    assert len(node.heard) == 100
    assert (tally.denied, tally.clients, tally.clients_denied) == (50, 1, 1)
    assert tally.answered == 50
    assert tally.refused_share == 0.5


def test_gpg_gives_up_after_a_chunk_in_which_nothing_was_found() -> None:
    """HKP.md, finding 2: 21 requests made of 300."""
    node, tally = _refreshed(lambda _: REFUSED, 300)
    assert (len(node.heard), tally.denied) == (21, 21)


def test_parcimonie_pauses_ten_minutes_and_changes_its_exit() -> None:
    """One key each time, from one exit or another."""
    world, node = _world(lambda world: clients.parcimonies(world, users=1))
    times = [when for *_, when in node.heard]
    assert all(later - earlier >= 600 * SECOND for earlier, later in pairwise(times))
    assert 40 < len(times) < 145
    assert len({address for address, *_ in node.heard}) > 30
    assert world.groups[0].tally.requests == len(times)


def test_the_build_farm_asks_ten_thousand_times_for_the_same_ten_keys() -> None:
    """From one address, twenty at a time at most."""
    world, node = _world(clients.build_farm)
    assert len(node.heard) == 10_000
    assert world.groups[0].tally.different == 10
    assert len({target for _, target, _ in node.heard}) == 10
    assert len({address for address, *_ in node.heard}) == 1
    times = [when for *_, when in node.heard]
    assert max(map(times.count, set(times))) == 20


def test_the_university_comes_in_the_morning() -> None:
    """Three thousand people in sixty networks of one /16."""
    world, node = _world(clients.university)
    assert world.groups[0].tally.clients == len({address for address, *_ in node.heard}) == 3000
    assert len({network_key(address) for address, *_ in node.heard}) == 60
    assert min(when for *_, when in node.heard) > 5 * HOUR


def test_a_third_of_the_telephones_comes_each_day() -> None:
    """From sixteen addresses."""
    world, node = _world(clients.openkeychains)
    assert world.groups[0].tally.clients == 1000
    assert len({address for address, *_ in node.heard}) == 16


@pytest.mark.parametrize(
    ("count", "networks"),
    [(1, 1), (16, 1), (254, 1)],
)
def test_a_scraper_walks_at_an_even_pace_and_never_asks_twice(count: int, networks: int) -> None:
    """Five per second from all its addresses together."""
    _, node = _world(lambda world: vandals.scrape(world, count), hours=0.1)
    assert [when for *_, when in node.heard] == [turn * SECOND // 5 for turn in range(1, 1801)]
    assert len({target for _, target, _ in node.heard}) == 1800
    assert len({address for address, *_ in node.heard}) == count
    assert len({network_key(address) for address, *_ in node.heard}) == networks


def test_a_scraper_with_many_networks_is_slow_in_each() -> None:
    """One request in five seconds."""
    _, node = _world(lambda world: vandals.scrape_networks(world, 1000, 0.2), hours=0.01)
    in_one = [when for address, _, when in node.heard if address == node.heard[0][0]]
    assert len({network_key(address) for address, *_ in node.heard}) == 1000
    assert in_one[1] - in_one[0] == 5 * SECOND


def test_a_48_has_a_64_for_each_request() -> None:
    """Until it has used them all."""
    numbers = [addresses.new_64(number) for number in range(65_537)]
    assert len({each[:8] for each in numbers}) == 65_536
    assert len({network_key(each) for each in numbers[:1000]}) == 1


def test_a_flood_uses_all_exits_and_its_own_certificates() -> None:
    """No two uploads are alike."""
    world, node = _world(vandals.flood, hours=1)
    assert len({address for address, *_ in node.heard}) > 990
    assert world.groups[0].tally.different == len(node.heard) == 18_000


def test_a_stampede_is_over_in_two_seconds_and_comes_back() -> None:
    """All ask for the same thing, from many networks."""
    _, node = _world(vandals.stampede, hours=0.03)
    assert len({target for _, target, _ in node.heard}) == 1
    assert all(when % (60 * SECOND) < 2 * SECOND for *_, when in node.heard)
    assert len(node.heard) == 2000


def test_neighbours_live_in_the_same_network() -> None:
    """But are not the scraper."""
    _, node = _world(lambda world: (clients.neighbours(world, network=7), vandals.scrape(world, 16))[0], hours=8)
    assert len({network_key(address) for address, *_ in node.heard}) == 1
    assert len({address for address, *_ in node.heard}) == 26


def test_exits_are_a_thousand() -> None:
    """Four in a /24."""
    draw = Random(1)  # noqa: S311 - the same in every run
    exits = {addresses.tor_exit(draw) for _ in range(30_000)}
    assert len(exits) == addresses.TOR_EXITS
    assert len({network_key(each) for each in exits}) == addresses.TOR_EXITS // addresses.EXITS_IN_A_24


@pytest.mark.parametrize("flooded", [1, 10, addresses.TOR_EXITS])
def test_a_flood_may_come_through_some_exits(flooded: int) -> None:
    """People come through these and through others, if there are any."""
    world, node = _world(lambda world: clients.uploaders_over_tor(world, flooded=flooded))
    used = {addresses.tor_exit(Random(number), 0, flooded) for number in range(10_000)}  # noqa: S311 - no secret
    assert len(used) == flooded
    through = sum(address in used for address, *_ in node.heard)
    assert through == 48
    assert [group.tally.requests for group in world.groups] == [24] * (2 if flooded == addresses.TOR_EXITS else 4)


def test_an_update_is_of_what_was_uploaded_before() -> None:
    """From elsewhere, before anything else happens; what is new is new."""
    _, node = _world(lambda world: clients.uploaders_over_tor(world, users=5))
    first = {target for address, target, when in node.heard if when == 0 and address[0] == addresses.HOMES}
    later = [target for address, target, _ in node.heard if address[0] == addresses.TOR]
    assert len(first) == 5
    assert len(later) == 10
    assert first < set(later)


def test_each_uploads_from_a_network_of_its_own() -> None:
    """From home."""
    _, node = _world(clients.uploaders)
    assert len({network_key(address) for address, *_ in node.heard}) == 240


def test_the_same_world_has_the_same_outcome() -> None:
    """To the last request."""
    heard = [_world(lambda world: clients.thunderbirds(world, users=20))[1].heard for _ in range(2)]
    assert heard[0] == heard[1] != []


def test_a_group_is_counted_by_itself() -> None:
    """Two groups in one world."""
    world = World({}, HOUR)
    mine, yours = (world.group(name, NobodyDenied()) for name in ("mine", "yours"))
    world.visitor(mine, ADDRESS).ask(gpg_get(_keys(1)[0]), START_NS)
    assert (mine.tally.requests, mine.tally.clients, mine.tally.upstream_us) == (1, 1, 1000)
    assert (yours.tally.requests, yours.tally.clients, yours.tally.upstream_us) == (0, 0, 0)
