"""Honest people: what their programs do and when, and how many of them there are (HKP.md, section 3)."""

from collections.abc import Sequence
from random import Random

from bench.scenarios import addresses
from bench.scenarios.certificates import Certificate, gpg_get, mail_get, thunderbird_get
from bench.scenarios.clock import HOUR, MILLISECOND, MINUTE, SECOND, Life
from bench.scenarios.goals import Goal, NobodyDenied, NotToldApart
from bench.scenarios.world import Group, Visitor, World, answered

CHUNK = 21  # fingerprints in a line from gpg to dirmngr; if none of them can be had, gpg gives up
PARCIMONIE_S = 600
DAY = 24 * HOUR
NOBODY_DENIED = NobodyDenied()
WAKING = (0, DAY - HOUR)  # leaves everybody an hour to end
BEGINNING = 20 * MINUTE  # of a flood from a thousand networks: until nearly all of them have asked again and again


def refresh(visitor: Visitor, keys: Sequence[str], rtt_ns: int) -> Life:
    """Run `gpg --refresh-keys`: one key after the other, whatever the answer was; a refused one is lost."""
    begun_ns = now_ns = yield 0
    for start in range(0, len(keys), CHUNK):
        found = 0
        for key in keys[start : start + CHUNK]:
            verdict = visitor.ask(gpg_get(key), now_ns)
            found += answered(verdict)
            now_ns = yield verdict.wait_ns + rtt_ns
        if not found:
            break
    visitor.done(now_ns - begun_ns)


def refreshing_each(visitor: Visitor, keys: Sequence[str], rtt_ns: int, period_ns: int) -> Life:
    """Refresh the same keys again and again."""
    while True:
        begun_ns = yield 0
        yield from refresh(visitor, keys, rtt_ns)
        now_ns = yield 0
        yield max(0, begun_ns + period_ns - now_ns)


def parcimonie(visitor: Visitor, keys: Sequence[str], random: Random) -> Life:
    """Ask for one random key at a time, over a new circuit each; a pause of ten minutes at least."""
    while True:
        now_ns = yield int((PARCIMONIE_S + random.expovariate(1 / PARCIMONIE_S)) * SECOND)
        visitor.address = addresses.tor_exit(random)
        verdict = visitor.ask(gpg_get(random.choice(keys)), now_ns)
        visitor.done(verdict.wait_ns)


def thunderbird(visitor: Visitor, keys: Sequence[str], recipients: Sequence[str], rtt_ns: int) -> Life:
    """Refresh all keys in a loop, then look for those of some recipients, minutes apart."""
    begun_ns = now_ns = yield 0
    for key in keys:
        now_ns = yield visitor.ask(thunderbird_get(key), now_ns).wait_ns + rtt_ns
    visitor.done(now_ns - begun_ns)
    for address in recipients:
        now_ns = yield 5 * MINUTE
        now_ns = yield visitor.ask(mail_get(address), now_ns).wait_ns + rtt_ns


# Populations.


def one_refresh(world: World, keys: int, rtt_ms: int, home: int = 0, after_ns: int = 0) -> None:
    """Somebody refreshes a keyring."""
    group = world.group(f"gpg, {keys:,} keys, RTT {rtt_ms} ms", NobodyDenied())
    ring = world.certificates.keyring(keys)
    life = refresh(world.visitor(group, addresses.home(home)), ring, rtt_ms * MILLISECOND)
    world.clock.add(life, after_ns)


def parcimonies(world: World, users: int = 500) -> None:
    """Let people refresh as if they were nobody."""
    group = world.group(f"parcimonie, {users} over Tor", NobodyDenied())
    for _ in range(users):
        visitor = world.visitor(group, addresses.tor_exit(world.random))
        life = parcimonie(visitor, world.certificates.keyring(50), world.random)
        world.clock.add(life, world.random.randrange(PARCIMONIE_S * SECOND))


def build_farm(world: World, requests: int = 10_000, jobs: int = 20, network: int = 113) -> None:
    """Let builds behind one address fetch the same ten keys, many jobs at a time, each one key after the other."""
    group = world.group(f"CI behind one NAT, {jobs} jobs", NobodyDenied())
    keys = world.certificates.most_popular(10)
    bursts = requests // (len(keys) * jobs)
    for burst in range(bursts):
        for _ in range(jobs):
            life = refresh(world.visitor(group, addresses.in_24(network, 9)), keys, 20 * MILLISECOND)
            world.clock.add(life, burst * DAY // bursts)


def cloud_builds(world: World, projects: int = 500, goal: Goal = NOBODY_DENIED) -> None:
    """Build each project six times a day on a machine that is rented for it, somewhere in the same company's networks.

    Each fetches two keys that everybody has, and one that nobody else asks for.
    """
    group = world.group(f"CI in a cloud, {projects} projects", goal)
    for _ in range(projects):
        keys = [*world.certificates.keyring(2), world.certificates.rare()]
        life = _builds(world.visitor(group, addresses.home(0)), keys, world.random)
        world.clock.add(life, world.random.randrange(4 * HOUR))


def _builds(visitor: Visitor, keys: Sequence[str], random: Random) -> Life:
    while True:
        visitor.address = addresses.in_networks(addresses.MANY, random.randrange(1000), 1 + random.randrange(254))
        yield from refresh(visitor, keys, 20 * MILLISECOND)
        yield 4 * HOUR


def thunderbirds(world: World, users: int = 2000) -> None:
    """People at home start their mail program some time of the day."""
    group = world.group(f"Thunderbird, {users:,} homes", NobodyDenied())
    for number in range(users):
        visitor = world.visitor(group, addresses.home(number))
        keys = world.certificates.keyring(world.random.randint(5, 40))
        recipients = [world.certificates.mail_address() for _ in range(world.random.randrange(6))]
        world.clock.add(thunderbird(visitor, keys, recipients, 40 * MILLISECOND), _some_time(world))


def openkeychains(world: World, users: int = 3000) -> None:
    """Telephones behind sixteen addresses of a carrier, each of which refreshes its keys every third day."""
    group = world.group(f"OpenKeychain, {users:,} of one carrier", NobodyDenied())
    for number in range(users // 3):
        visitor = world.visitor(group, addresses.in_24(64, 1 + number % 16))
        keys = world.certificates.keyring(world.random.randint(2, 30))
        world.clock.add(refresh(visitor, keys, 80 * MILLISECOND), _some_time(world))


def university(world: World, users: int = 3000, networks: int = 60) -> None:
    """Fill a /16 with people who come around nine, start their machines, and refresh their keys."""
    group = world.group(f"university, {users:,} in {networks} /24", NobodyDenied())
    for number in range(users):
        network, host = number % networks, 10 + number // networks
        visitor = world.visitor(group, addresses.UNIVERSITY + bytes([network, host]))
        size = min(300, max(3, int(world.random.lognormvariate(3.2, 0.8))))  # median 24, mean 34
        life = refresh(visitor, world.certificates.keyring(size), 15 * MILLISECOND)
        world.clock.add(life, int(world.random.gauss(9.0, 0.7) * HOUR))


def colleagues(world: World, users: int = 40, after_ns: int = 0) -> None:
    """Work for a company in which each has the keys of all, and nobody else has any; refresh them each eight hours."""
    group = world.group(f"{users} colleagues, their own keys", NobodyDenied())
    keys = [world.certificates.rare() for _ in range(users)]
    for number in range(users):
        visitor = world.visitor(group, addresses.in_24(65, 1 + number))
        life = refreshing_each(visitor, keys, 40 * MILLISECOND, 8 * HOUR)
        world.clock.add(life, after_ns + world.random.randrange(8 * HOUR))


def neighbours(world: World, network: int, users: int = 10) -> None:
    """Live beside somebody who does not behave, and refresh thirty keys six times a day."""
    group = world.group(f"{users} neighbours, 30 keys each", NobodyDenied())
    for number in range(users):
        visitor = world.visitor(group, addresses.in_24(network, 240 + number))
        life = refreshing_each(visitor, world.certificates.keyring(30), 40 * MILLISECOND, 4 * HOUR)
        world.clock.add(life, world.random.randrange(4 * HOUR))


def uploaders(world: World, users: int = 240, after_ns: int = 0) -> None:
    """Upload one's own certificate, once, each from another network."""
    homes = [addresses.in_networks(addresses.HOMES, number) for number in range(users)]
    group = world.group(f"{users} uploads from home", NobodyDenied())
    _each_uploads(world, group, homes, (after_ns, DAY - HOUR))


def first_uploaders(world: World, users: int = 24) -> None:
    """Upload one's own certificate while a flood begins, whose networks ask for the first time as well."""
    homes = [addresses.in_networks(addresses.HOMES, 1000 + number) for number in range(users)]
    group = world.group(f"{users} from home in its first {BEGINNING // MINUTE} min", NotToldApart())
    _each_uploads(world, group, homes, (0, BEGINNING))


def uploaders_over_tor(world: World, users: int = 24, flooded: int = addresses.TOR_EXITS) -> None:
    """Upload one's own certificate over Tor: a new one, or one that the keyserver knows.

    Args:
        world: Where.
        users: Of each kind, and as many through exits that are flooded as through others.
        flooded: How many exits, the first ones, somebody else uses as well.

    """
    for through, (first, last) in _exits(flooded).items():
        exits = [addresses.tor_exit(world.random, first, last) for _ in range(users)]
        new = world.group(f"{users} new ones {through}", NotToldApart() if last <= flooded else NobodyDenied())
        _each_uploads(world, new, exits)
        updates = world.group(f"{users} updates {through}", NobodyDenied())
        _each_uploads(world, updates, exits, update=True)


def _exits(flooded: int) -> dict[str, tuple[int, int]]:
    ranges = {"over the same exits": (0, flooded), "over other exits": (flooded, addresses.TOR_EXITS)}
    return {through: (first, last) for through, (first, last) in ranges.items() if first < last}


def _each_uploads(
    world: World, group: Group, where: Sequence[bytes], between: tuple[int, int] = WAKING, *, update: bool = False
) -> None:
    for number, address in enumerate(where):
        certificate = world.certificates.new()
        if update:
            world.node.upload(addresses.in_networks(addresses.HOMES, number), certificate, world.clock.now_ns)
        world.clock.add(_upload(world.visitor(group, address), certificate), world.random.randrange(*between))


def _upload(visitor: Visitor, certificate: Certificate) -> Life:
    now_ns = yield 0
    visitor.done(visitor.upload(certificate, now_ns).wait_ns)


def _some_time(world: World) -> int:
    return world.random.randrange(*WAKING)
