"""What people, their programs and other machines do, besides GnuPG."""

import random
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from pysequoia import Cert

from bench.recording.keyserver import wkd_digest
from bench.recording.session import Session
from bench.recording.world import WORDS

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
THUNDERBIRD = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0"
ANDROID = "OpenKeychain/6.0.4 okhttp/4.9.0"
GOSSIP = "Hockeypuck/2.2.3"
DIGEST_BYTES = 16
DOWNLOADERS: Mapping[str, Sequence[str]] = {
    "curl": ("curl", "-fsSL", "-o", "/dev/null"),
    "wget": ("wget", "-q", "-O", "/dev/null"),
    "http": ("http", "--ignore-stdin", "--body", "--output", "/dev/null", "GET"),
}


def get_target(search: str, **options: str) -> str:
    """Return what gets a certificate."""
    return "/pks/lookup?" + urlencode({"op": "get", "options": "mr", "search": search, **options})


def armored(certificate: bytes) -> str:
    """Return a certificate as it is put into a form."""
    return str(Cert.from_bytes(certificate))


# Mail programs.


async def mailvelope(session: Session, *, mails: int, missing: float) -> None:
    """Look up each recipient while a mail is written, by address; most have no certificate."""
    async with session.web(CHROME) as web:
        for _ in range(mails):
            for _ in range(session.dice.choice((1, 1, 1, 2, 3, 6))):
                await web.get(get_target(session.world.address(session.dice, missing)))
            await session.pause(9)


async def thunderbird(session: Session, *, mails: int) -> None:
    """Open a mail: a burst of look-ups for its sender and recipients, in other orders than gpg's."""
    async with session.web(THUNDERBIRD) as web:
        for _ in range(mails):
            for person in session.world.keyring(session.dice, session.dice.randint(1, 8), 0.3):
                await web.get(f"/pks/lookup?search=0x{person.fingerprint}&op=get&options=mr")
                if person.addresses and session.dice.random() < 0.4:
                    await web.get(f"/vks/v1/by-email/{quote(person.addresses[0])}")
            await session.pause(12)


async def web_key_directory(session: Session, *, mails: int) -> None:
    """Look recipients up in a web key directory, the policy of their domain first."""
    async with session.web() as web:
        for _ in range(mails):
            for _ in range(session.dice.randint(1, 4)):
                address = session.world.address(session.dice, 0.7)
                local, _, domain = address.partition("@")
                for path in ("policy", f"hu/{wkd_digest(local)}?l={quote(local)}"):
                    await web.get(f"/.well-known/openpgpkey/{domain}/{path}")
            await session.pause(8)


async def openkeychain(session: Session, *, keys: int) -> None:
    """Update the keyring of a telephone, slowly, one at a time; a few at once when it is opened."""
    async with session.web(ANDROID, at_a_time=1) as web:
        for person in session.world.keyring(session.dice, keys, 0.3):
            path = f"/vks/v1/by-fingerprint/{person.fingerprint}"
            await web.get(path if session.dice.random() < 0.5 else get_target(f"0x{person.fingerprint}"))
            await session.pause(0.2 if session.dice.random() < 0.6 else 8)


# Browsers.


async def browser(session: Session, *, visits: int, agent: str = FIREFOX) -> None:
    """Open the front page with all that belongs to it, search, look at what was found, fetch."""
    for _ in range(visits):
        async with session.web(agent) as web:
            for path in ("/", "/css/style.css", "/favicon.ico"):
                await web.get(path)
            for _ in range(session.dice.randint(1, 3)):
                for target in _trail(session):
                    await session.pause(4)
                    await web.get(target)
            if session.dice.random() < 0.2:
                await web.get("/pks/lookup?op=stats")
        await session.pause(15)


def _trail(session: Session) -> list[str]:
    """Return where somebody goes who looks for a person: the list, the details, the certificate; or not so far."""
    dice = session.dice
    person = dice.choice([each for each in session.world.known if each.addresses])
    address, fingerprint = person.addresses[0], f"0x{person.fingerprint}"
    words = dice.choice((address, address.partition("@")[0].replace(".", " "), dice.choice(WORDS)))
    steps = [("index", words), ("vindex", fingerprint), ("get", fingerprint)][: dice.randint(1, 3)]
    return [f"/pks/lookup?{urlencode({'search': search, 'op': operation})}" for operation, search in steps]


async def text_browser(session: Session, *, program: str, visits: int) -> None:
    """Do the same with a browser for terminals."""
    for _ in range(visits):
        for target in ("/", *_trail(session)):
            await session.run(program, "-dump", session.url + target, seconds=30)
            await session.pause(4)


async def honest_crawler(session: Session, *, pages: int) -> None:
    """Look at robots.txt and the front pages, now and then."""
    async with session.web("Mozilla/5.0 (compatible; ExampleBot/2.1; +https://example.org/bot)") as web:
        await web.get("/robots.txt")
        for _ in range(pages):
            await web.get(session.dice.choice(("/", "/about", "/css/style.css", "/robots.txt")))
            await session.pause(6)


# Machines.


async def fetch_script(session: Session, *, program: str, certs: int, times: int, pause_s: float) -> None:
    """Fetch the same few certificates again and again from a script: builds, images, ansible."""
    wanted = [person.fingerprint for person in session.dice.sample(session.world.known, certs)]
    for _ in range(times):
        for each in wanted:
            await session.run(*DOWNLOADERS[program], session.url + get_target(f"0x{each}"), seconds=60)
        await session.pause(pause_s)


async def monitor(session: Session, *, program: str, pause_s: float, times: int) -> None:
    """Ask whether the keyserver is well, at an even pace."""
    path = session.dice.choice(("/pks/lookup?op=stats", "/pks/lookup?op=stats&options=mr", "/pks/health", "/"))
    for _ in range(times):
        if program == "curl":
            await session.run("curl", "-s", "-m", "10", "-o", "/dev/null", session.url + path, seconds=30)
        else:
            await session.run("wget", "-q", "-O", "/dev/null", "-T", "10", session.url + path, seconds=30)
        await session.pause(pause_s, evenly=True)


async def gossip(session: Session, *, rounds: int) -> None:
    """Ask for certificates by digest, as a peer does after it has compared what both have."""
    async with session.web(GOSSIP, at_a_time=1) as web:
        for _ in range(rounds):
            await web.get("/pks/lookup?op=stats&options=mr")
            for _ in range(session.dice.randint(1, 4)):
                await web.post("/pks/hashquery", _hashquery(session.dice, session.dice.randint(1, 100)))
            await session.pause(30)


def _hashquery(dice: random.Random, count: int) -> bytes:
    size = DIGEST_BYTES.to_bytes(4)
    return count.to_bytes(4) + b"".join(size + dice.randbytes(DIGEST_BYTES) for _ in range(count))


async def push(session: Session, *, certs: int) -> None:
    """Push certificates to a server that does not gossip, one each ten seconds."""
    async with session.web(GOSSIP, at_a_time=1) as web:
        for person in session.dice.sample(session.world.unknown, min(certs, len(session.world.unknown))):
            await web.post("/pks/add", {"keytext": armored(person.certificate)})
            await session.pause(10, evenly=True)
