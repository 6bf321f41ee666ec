"""The scenarios by name: who meets whom, for how long, with which settings."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

from bench.scenarios import addresses, clients, vandals
from bench.scenarios.clock import HOUR
from bench.scenarios.goals import NotToldApart
from bench.scenarios.world import Group, World
from fastpath import NetworkKind, Origin

PROFILES: Mapping[str, Mapping[str, str]] = {name: {"HKPGUARD_PROFILE": name} for name in ("default", "strict")}
NO_BANS = {"HKPGUARD_BANS__MODE": "off"}
TOR = {"HKPGUARD_SHARED_EXITS": addresses.TOR_NETWORK}
CLOUD = {
    addresses.MANY_NETWORK: Origin(64_500, NetworkKind.HOSTING),
    addresses.CLOUD_NETWORK: Origin(64_500, NetworkKind.HOSTING),
}
EXITS = {addresses.TOR_NETWORK: Origin(kind=NetworkKind.TOR)}
BUILD_FARM = {
    "HKPGUARD_NETWORKS": '[{"cidr": "203.0.113.9/32", "limits": {"cert": {"burst": 1200, "count": 20}}}]',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One world.

    Attributes:
        key: Its name in commands and files.
        people: Put into the world, in this order.
        most_hours: It lasts no longer, because nothing else would happen, or too much of the same.
        settings: HKPGUARD_* that its operator has set.
        origins: What a database would say of networks.

    """

    key: str
    people: tuple[Callable[[World], None], ...]
    most_hours: float = 24.0
    settings: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the groups of a scenario.

    Attributes:
        scenario: Its key.
        length_ns: How long it lasted, in its own time.
        groups: With their tallies.
        bans: How many were earned.
        seconds: How long it took to compute.

    """

    scenario: str
    length_ns: int
    groups: list[Group]
    bans: int
    seconds: float


def of_operator(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that whoever plays has set, which hold instead of those of a profile."""
    return {name: text for name, text in environ.items() if name.startswith("HKPGUARD_")}


def play(scenario: Scenario, environ: Mapping[str, str], hours: float) -> Outcome:
    """Let a scenario happen."""
    begun_s = perf_counter()
    length_ns = int(min(hours, scenario.most_hours) * HOUR)
    world = World({**environ, **scenario.settings}, length_ns)
    world.node.place(scenario.origins)
    for populate in scenario.people:
        populate(world)
    world.run()
    return Outcome(scenario.key, length_ns, world.groups, world.node.bans.placed, perf_counter() - begun_s)


def _scenarios() -> Iterator[Scenario]:
    for rtt_ms in (8, 200):
        for keys in (30, 300, 3000):
            person = partial(clients.one_refresh, keys=keys, rtt_ms=rtt_ms)
            yield Scenario(key=f"refresh-{keys}-{rtt_ms}ms", people=(person,))
    yield Scenario(key="parcimonie", people=(clients.parcimonies,), settings=TOR)
    yield Scenario(key="ci", people=(clients.build_farm,))
    yield Scenario(
        key="ci-override", people=(partial(clients.build_farm, requests=50_000, jobs=100),), settings=BUILD_FARM
    )
    yield Scenario(key="thunderbird", people=(clients.thunderbirds,))
    yield Scenario(key="openkeychain", people=(clients.openkeychains,))
    yield Scenario(key="university", people=(clients.university,))
    yield Scenario(key="scrape-1", people=(partial(vandals.scrape, count=1), partial(clients.neighbours, network=7)))
    yield Scenario(key="scrape-16", people=(partial(vandals.scrape, count=16),))
    yield Scenario(key="scrape-254", people=(partial(vandals.scrape, count=254),))
    yield Scenario(key="scrape-48", people=(vandals.scrape_48,))
    networks = partial(vandals.scrape_networks, networks=1000, rate=0.2, goal=NotToldApart())
    yield Scenario(key="scrape-networks", people=(networks,), most_hours=1)
    yield Scenario(key="harvest-1", people=(partial(vandals.harvest, count=1),))
    yield Scenario(key="harvest-254", people=(partial(vandals.harvest, count=254),))
    uploads = (vandals.flood, clients.uploaders_over_tor, clients.uploaders, clients.parcimonies)
    yield Scenario(key="tor-uploads", people=uploads, settings=TOR)
    yield Scenario(key="stampede", people=(vandals.stampede,), most_hours=1)
    honest = (clients.thunderbirds, clients.openkeychains, clients.university, clients.build_farm, *uploads[1:])
    hostile = (partial(vandals.scrape, count=254), partial(vandals.harvest, count=254), vandals.flood)
    yield Scenario(key="together", people=(*honest, *hostile), settings=TOR, most_hours=12)


def _uploads() -> Iterator[Scenario]:
    """Yield floods of uploads through few and many members of a shared budget."""
    for exits in (1, 4, 10, 100):
        flood = partial(vandals.flood, exits=exits)
        people = partial(clients.uploaders_over_tor, flooded=exits)
        yield Scenario(key=f"tor-uploads-{exits}", people=(flood, people), settings=TOR)
    for networks in (4, 100):
        flood = partial(vandals.flood_networks, networks=networks)
        yield Scenario(key=f"new-certs-{networks}", people=(flood, clients.uploaders))
    flood = partial(vandals.flood_networks, networks=1000)
    later = partial(clients.uploaders, after_ns=clients.BEGINNING)
    yield Scenario(key="new-certs-1000", people=(flood, clients.first_uploaders, later))


def _origins() -> Iterator[Scenario]:
    """Yield scrapers whom only where they come from holds, and honest people who come from there too."""
    people = (clients.thunderbirds, partial(clients.build_farm, network=addresses.CLOUD))
    newcomers = partial(clients.cloud_builds, goal=NotToldApart())
    slow = partial(vandals.scrape_networks, networks=1000, rate=0.005)
    later = partial(vandals.scrape_networks, networks=1000, rate=0.005, after_ns=4 * HOUR)
    fast = partial(vandals.scrape_networks, networks=1000, rate=0.2)
    yield Scenario(key="scrape-cloud", people=(*people, clients.cloud_builds, later), origins=CLOUD)
    yield Scenario(key="scrape-cloud-cold", people=(*people, newcomers, slow), origins=CLOUD)
    yield Scenario(key="scrape-cloud-fast", people=(fast,), origins=CLOUD, most_hours=1)
    over_tor = (vandals.scrape_over_tor, clients.parcimonies)
    yield Scenario(key="scrape-tor", people=over_tor, origins=EXITS)


def _walks() -> Iterator[Scenario]:
    """Yield days on which honest people meet walkers through a dump, who begin at some hour: for their scores."""
    people = (
        clients.thunderbirds,
        clients.openkeychains,
        clients.university,
        clients.build_farm,
        clients.parcimonies,
        partial(clients.colleagues, after_ns=4 * HOUR),
        partial(clients.one_refresh, keys=3000, rtt_ms=8, home=4000),
        partial(clients.one_refresh, keys=300, rtt_ms=8, home=4040, after_ns=6 * HOUR),
        partial(clients.one_refresh, keys=3000, rtt_ms=8, home=4080, after_ns=10 * HOUR),
    )
    slow = partial(vandals.scrape_networks, networks=1000, rate=0.01, after_ns=12 * HOUR, goal=vandals.NOTICED)
    alone = partial(vandals.scrape, count=254, after_ns=6 * HOUR)
    yield Scenario(key="walk-slow", people=(*people, alone, slow), settings=TOR, most_hours=18)
    fast = partial(vandals.scrape_networks, networks=1000, rate=0.2, after_ns=12 * HOUR, goal=vandals.NOTICED)
    yield Scenario(key="walk-fast", people=(*people, fast), settings=TOR, most_hours=13)


SCENARIOS: Mapping[str, Scenario] = {each.key: each for each in (*_scenarios(), *_uploads(), *_origins(), *_walks())}
