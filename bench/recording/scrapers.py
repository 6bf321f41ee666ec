"""Who wants everything: all certificates, or all addresses."""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from urllib.parse import quote, urlencode

from bench.peers import ROOT
from bench.recording.keyserver import wkd_digest
from bench.recording.people import CHROME, get_target
from bench.recording.relay import LOOPBACK
from bench.recording.session import Session
from bench.recording.world import DOMAINS, FIRST_NAMES, LAST_NAMES, WORDS, World, words
from bench.scraper import ask

Pace = Callable[[random.Random, float], float]

# How the time between two requests is drawn from its mean.
PACES: Mapping[str, Pace] = {
    "even": lambda _dice, mean_s: mean_s,
    "drawn": lambda dice, mean_s: dice.expovariate(1 / mean_s),
    "shaken": lambda dice, mean_s: mean_s * dice.uniform(0.5, 1.5),
    "bursts": lambda dice, mean_s: 0.02 if dice.random() < 0.95 else 20 * mean_s,
}
PUBLIC_DOMAINS = ("debian.org", "gmail.com", "gnu.org", "kernel.org", "ubuntu.com", "web.de", "gmx.de", "posteo.de")
MOST_AT_A_TIME = 64


def dump(world: World, dice: random.Random, count: int) -> list[str]:
    """Return fingerprints as a dump has them: in order, from somewhere on, some of which are not there any more."""
    everything = sorted(person.fingerprint for person in (*world.known, *world.unknown[: len(world.unknown) // 4]))
    start = dice.randrange(len(everything))
    return (everything[start:] + everything[:start])[:count]


def in_other_order(world: World, dice: random.Random, count: int) -> list[str]:
    """Return the same in no order."""
    listed = dump(world, dice, len(world.known) + len(world.unknown))
    return dice.sample(listed, min(count, len(listed)))


def counted(dice: random.Random, count: int, digits: int = 16) -> list[str]:
    """Return key ids one after the other: hardly any exists."""
    start = dice.getrandbits(4 * digits)
    return [f"{(start + step) % 16**digits:0{digits}X}" for step in range(count)]


def shaped(fingerprints: Sequence[str], shape: str, dice: random.Random) -> list[str]:
    """Return what asks for them, in one of the ways that there are."""
    forms: Mapping[str, Callable[[str], str]] = {
        "get": lambda each: get_target(f"0x{each}"),
        "plain": lambda each: f"/pks/lookup?op=get&search=0x{each.lower()}",
        "id": lambda each: get_target(f"0x{each[-16:]}"),
        "index": lambda each: f"/pks/lookup?op=index&options=mr&search=0x{each}",
        "vks": lambda each: f"/vks/v1/by-fingerprint/{each}",
    }
    if shape == "mixed":
        return [forms[dice.choice(tuple(forms))](each) for each in fingerprints]
    return [forms[shape](each) for each in fingerprints]


async def one_by_one(  # noqa: PLR0913 - what scrapers differ in
    session: Session, *, order: str, rate: float, count: int, shape: str, pace: str
) -> None:
    """Ask at a pace, and do not wait for the answers: a connection for each; the plainest do it in HTTP/1.0."""
    targets = shaped(_ordered(session, order, count), shape, session.dice)
    if shape == "plain":
        await _at_pace(session, targets, rate, pace, lambda target: _raw(session, target))
    else:
        await _anew(session, targets, rate, pace)


async def keeping(  # noqa: PLR0913 - the same
    session: Session, *, order: str, rate: float, count: int, agent: str, pace: str
) -> None:
    """Ask over connections that stay, perhaps with a borrowed name."""
    targets = shaped(_ordered(session, order, count), "get", session.dice)
    async with session.web(agent, at_a_time=8) as web:
        await _at_pace(session, targets, rate, pace, web.get)


async def greedy(session: Session, *, at_a_time: int, count: int) -> None:
    """Ask as fast as the keyserver answers."""
    targets = iter(shaped(_ordered(session, "random", count), "get", session.dice))
    async with session.web("python-requests/2.31.0", at_a_time=at_a_time) as web:
        await asyncio.gather(*(_all_of(targets, web.get) for _ in range(at_a_time)))


async def with_urllib(session: Session, *, order: str, count: int, pause_s: float) -> None:
    """Ask with a script of ten lines."""
    urls = "".join(f"{session.url}{each}\n" for each in shaped(_ordered(session, order, count), "plain", session.dice))
    command = [sys.executable, "-m", "bench.recording.fetch", str(pause_s)]
    await session.run(*command, stdin=urls.encode(), env={"PYTHONPATH": str(ROOT)})


async def with_curl(session: Session, *, order: str, count: int, at_a_time: int, rate: str = "") -> None:
    """Ask with one curl that has all of it in a file."""
    targets = shaped(_ordered(session, order, count), "get", session.dice)
    lines = [line for each in targets for line in (f'url = "{session.url}{each}"', 'output = "/dev/null"')]
    several = ["--parallel", "--parallel-max", str(at_a_time)] if at_a_time > 1 else []
    limited = ["--rate", rate] if rate else []
    await session.run("curl", "-s", *several, *limited, "--config", session.file("curl.txt", lines))


async def with_wget(session: Session, *, order: str, count: int, pause_s: float) -> None:
    """Ask with wget and a list."""
    targets = shaped(_ordered(session, order, count), "get", session.dice)
    listed = session.file("urls.txt", [session.url + each for each in targets])
    pauses = ["--wait", str(pause_s), "--random-wait"] if pause_s else []
    await session.run("wget", "-q", "-O", "/dev/null", "--tries", "1", *pauses, "-i", listed)


async def with_xargs(session: Session, *, count: int, at_a_time: int) -> None:
    """Ask with a shell: a curl for each."""
    targets = shaped(_ordered(session, "random", count), "vks", session.dice)
    urls = "".join(f"{session.url}{each}\n" for each in targets).encode()
    await session.run("xargs", "-P", str(at_a_time), "-n", "1", "curl", "-s", "-o", "/dev/null", stdin=urls)


# Addresses.


async def domain_harvester(session: Session, *, rate: float, count: int, pace: str) -> None:
    """Search for whole domains and what is common in names, again and again, for lists of addresses."""
    places = (*DOMAINS, *PUBLIC_DOMAINS)
    wanted = [
        session.dice.choice((f"@{place}", place, f"{name}@{place}", f"{name} {place}"))
        for _ in range(count)
        for place, name in [(session.dice.choice(places), session.dice.choice((*FIRST_NAMES, *WORDS)))]
    ]
    await _anew(session, [_index(each) for each in wanted], rate, pace)


async def dictionary_harvester(session: Session, *, rate: float, count: int, domain: str) -> None:
    """Try the names of a dictionary at one domain."""
    names = words(session.dice, "others/names", count)
    targets = [_index(f"{name.lower()}@{domain}") for name in names]
    async with session.web(CHROME) as web:
        await _at_pace(session, targets, rate, "even", web.get)


async def name_harvester(session: Session, *, rate: float, count: int) -> None:
    """Search for first and last names as words."""
    names = [f"{first} {last}" for first, last in _names(session.dice, count // 2)]
    targets = [_index(each) for each in (*names, *words(session.dice, "others/names", count - len(names)))]
    await _anew(session, targets, rate, "shaken")


async def mail_prober(session: Session, *, rate: float, count: int) -> None:
    """Try whether likely addresses have certificates, by the path that is meant for one's own mail."""
    targets = [
        f"/vks/v1/by-email/{quote(f'{first}.{last}@{session.dice.choice(PUBLIC_DOMAINS)}')}"
        for first, last in (
            session.dice.choices(FIRST_NAMES)[:1] + session.dice.choices(LAST_NAMES)[:1] for _ in range(count)
        )
    ]
    async with session.web("Go-http-client/1.1", at_a_time=4) as web:
        await _at_pace(session, targets, rate, "even", web.get)


async def directory_prober(session: Session, *, rate: float, count: int, domain: str = "debian.org") -> None:
    """Try a dictionary in a web key directory."""
    names = [name.lower() for name in words(session.dice, "others/names", count)]
    targets = [f"/.well-known/openpgpkey/{domain}/hu/{wkd_digest(each)}?l={quote(each)}" for each in names]
    await _anew(session, targets, rate, "drawn")


def _names(dice: random.Random, count: int) -> list[tuple[str, str]]:
    return [(dice.choice(FIRST_NAMES), dice.choice(LAST_NAMES)) for _ in range(count)]


def _index(search: str) -> str:
    return "/pks/lookup?" + urlencode({"op": "index", "options": "mr", "search": search})


def _ordered(session: Session, order: str, count: int) -> list[str]:
    if order == "counted":
        return counted(session.dice, count)
    return (dump if order == "dump" else in_other_order)(session.world, session.dice, count)


async def _raw(session: Session, target: str) -> None:
    session.told[await ask(session.port, LOOPBACK, target)] += 1


async def _anew(session: Session, targets: Sequence[str], rate: float, pace: str) -> None:
    async with session.web(at_a_time=MOST_AT_A_TIME, keep=False) as web:
        await _at_pace(session, targets, rate, pace, web.get)


async def _at_pace(
    session: Session, targets: Sequence[str], rate: float, pace: str, get: Callable[[str], Awaitable[object]]
) -> None:
    """Begin one after the other at a mean of `rate` a second, whether the last one is answered or not."""
    room = asyncio.Semaphore(MOST_AT_A_TIME)

    async def fetch(target: str) -> None:
        async with room:
            await get(target)

    async with asyncio.TaskGroup() as group:
        for target in targets:
            group.create_task(fetch(target))
            await asyncio.sleep(PACES[pace](session.dice, 1 / rate))


async def _all_of(targets: Iterator[str], get: Callable[[str], Awaitable[object]]) -> None:
    for target in targets:
        await get(target)
