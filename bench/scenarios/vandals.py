"""Those who take all, flood, or ask for what costs most."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.scenarios import addresses
from bench.scenarios.certificates import gpg_get, mail_search
from bench.scenarios.clock import MINUTE, SECOND, Life
from bench.scenarios.goals import Goal, HeldTo, Noticed, NotToldApart, Refused, UpstreamShare
from bench.scenarios.world import Visitor, World

RATE = 5  # requests per second, as keys.openpgp.org lets one address have
LEAST_REFUSED = Refused(0.95)
NOTICED = Noticed(0.5)  # from where on `hkpguard top` lists a network
GUESSED_RIGHT = 0.03  # of a harvester's addresses
TOR_UPLOADS = HeldTo(burst=5, each_ns=10 * SECOND)
NEW_CERTS = HeldTo(burst=600, each_ns=6 * SECOND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """Requests at an even pace, which wait for no answer.

    Attributes:
        title: For the table.
        goal: What should become of it.
        rate: Requests per second in all.
        address: Where each comes from, by its number.
        act: Makes one, as a visitor, at a time.
        after_ns: When it begins.

    """

    title: str
    goal: Goal
    rate: float
    address: Callable[[int], bytes]
    act: Callable[[Visitor, int], object]
    after_ns: int = 0

    def begin(self, world: World) -> None:
        """Let it go on to the end of the world."""
        visitor = world.visitor(world.group(self.title, self.goal), self.address(0))
        visitor.done(world.length_ns)
        world.clock.add(self._life(visitor), self.after_ns)

    def _life(self, visitor: Visitor) -> Life:
        pause_ns, number = int(SECOND / self.rate), 0
        while True:
            now_ns = yield pause_ns
            visitor.address = self.address(number)
            self.act(visitor, now_ns)
            number += 1


def _take_next(world: World, visitor: Visitor, now_ns: int) -> None:
    """Ask for the next certificate of a dump."""
    visitor.ask(gpg_get(world.certificates.rare()), now_ns)


def _search(world: World, visitor: Visitor, now_ns: int) -> None:
    """Search for somebody who is hardly ever there."""
    address = world.certificates.mail_address()
    if world.random.random() >= GUESSED_RIGHT:
        world.node.upstream.lose(address)
    visitor.ask(mail_search(address), now_ns)


def _litter(world: World, visitor: Visitor, now_ns: int) -> None:
    """Upload what nobody made for himself."""
    visitor.upload(world.certificates.new(), now_ns)


def _of_24(network: int, count: int, number: int) -> bytes:
    return addresses.in_24(network, number % count)


def scrape(world: World, count: int, after_ns: int = 0) -> None:
    """Walk through a dump from `count` addresses of one /24."""
    Attack(
        title=f"scraper, {count} of one /24, {RATE}/s",
        goal=LEAST_REFUSED,
        rate=RATE,
        address=partial(_of_24, 7, count),
        act=partial(_take_next, world),
        after_ns=after_ns,
    ).begin(world)


def scrape_48(world: World) -> None:
    """Walk through a dump from one /48, with a new /64 for each request."""
    Attack(
        title=f"scraper, each /64 of a /48, {RATE}/s",
        goal=LEAST_REFUSED,
        rate=RATE,
        address=addresses.new_64,
        act=partial(_take_next, world),
    ).begin(world)


def scrape_networks(world: World, networks: int, rate: float, after_ns: int = 0, goal: Goal = LEAST_REFUSED) -> None:
    """Walk through a dump from many networks, from each no faster than one may."""
    Attack(
        title=f"scraper, {networks:,} /24, {rate}/s each",
        goal=goal,
        rate=rate * networks,
        address=lambda number: addresses.in_networks(addresses.MANY, number % networks),
        act=partial(_take_next, world),
        after_ns=after_ns,
    ).begin(world)


def scrape_over_tor(world: World) -> None:
    """Walk through a dump over all exits of Tor."""
    Attack(
        title=f"scraper, {addresses.TOR_EXITS:,} exits, {RATE}/s",
        goal=NotToldApart(),
        rate=RATE,
        address=lambda _number: addresses.tor_exit(world.random),
        act=partial(_take_next, world),
    ).begin(world)


def harvest(world: World, count: int) -> None:
    """Search for addresses of people from `count` addresses of one /24."""
    Attack(
        title=f"harvester, {count} of one /24, {RATE}/s",
        goal=LEAST_REFUSED,
        rate=RATE,
        address=partial(_of_24, 8, count),
        act=partial(_search, world),
    ).begin(world)


def flood(world: World, exits: int = addresses.TOR_EXITS) -> None:
    """Upload made-up certificates through exits of Tor, or all of them: March 2023."""
    Attack(
        title=f"upload flood, {exits:,} exits, {RATE}/s",
        goal=TOR_UPLOADS,
        rate=RATE,
        address=lambda _number: addresses.tor_exit(world.random, 0, exits),
        act=partial(_litter, world),
    ).begin(world)


def flood_networks(world: World, networks: int) -> None:
    """Upload made-up certificates from many networks."""
    Attack(
        title=f"upload flood, {networks:,} /24, {RATE}/s",
        goal=NEW_CERTS,
        rate=RATE,
        address=lambda _number: addresses.in_networks(addresses.MANY, world.random.randrange(networks)),
        act=partial(_litter, world),
    ).begin(world)


def stampede(world: World, clients: int = 1000) -> None:
    """Let many clients ask for one poisoned certificate, each minute within two seconds."""
    group = world.group(f"stampede, {clients:,} each minute", UpstreamShare(0.1))
    poisoned = world.certificates.rare()
    world.node.upstream.fatten(poisoned)
    for number in range(clients):
        visitor = world.visitor(group, addresses.home(number))
        world.clock.add(_each_minute(visitor, poisoned), world.random.randrange(2 * SECOND))


def _each_minute(visitor: Visitor, fingerprint: str) -> Life:
    now_ns = yield 0
    while True:
        visitor.done(visitor.ask(gpg_get(fingerprint), now_ns).wait_ns)
        now_ns = yield MINUTE
