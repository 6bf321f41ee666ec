"""Who does harm: floods of uploads, scanners, slow clients, guessers of passwords, and load without sense."""

import asyncio
import random
from collections.abc import Mapping
from urllib.parse import quote

from bench.recording.people import armored, get_target
from bench.recording.relay import LOOPBACK
from bench.recording.session import Session
from bench.recording.world import make_people, words

WORD_LIST = "common"
SECONDS = 150.0  # for a scanner


# Floods of uploads.


async def flood(session: Session, *, certs: int, rate: float, what: str = "new", at_a_time: int = 4) -> None:
    """Upload what nobody needs, at a pace."""
    room = asyncio.Semaphore(at_a_time * 4)

    async def upload(body: Mapping[str, str] | bytes) -> None:
        async with room:
            await web.post("/pks/add", body)

    async with session.web("python-requests/2.31.0", at_a_time=at_a_time) as web, asyncio.TaskGroup() as group:
        for number in range(certs):
            group.create_task(upload(await asyncio.to_thread(_upload, session, what, number)))
            await asyncio.sleep(1 / rate)


def _upload(session: Session, what: str, number: int) -> Mapping[str, str] | bytes:
    """Return a new certificate, one and the same, or rubbish."""
    if what == "rubbish":
        return {"keytext": _rubbish(session.dice)}
    if what == "same":
        return {"keytext": armored(session.world.unknown[number % 3].certificate)}
    return {"keytext": armored(make_people(session.dice, 1)[0].certificate)}


def _rubbish(dice: random.Random) -> str:
    """Return armor around nothing, or no armor at all."""
    lines = "\n".join(dice.randbytes(48).hex() for _ in range(dice.randint(1, 60)))
    if dice.random() < 0.5:
        return lines
    return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{lines}\n-----END PGP PUBLIC KEY BLOCK-----\n"


async def flood_with_gpg(session: Session, *, certs: int) -> None:
    """Send certificates with gpg, each made a moment ago."""
    people = await asyncio.to_thread(make_people, session.dice, certs)
    async with session.gpg_home(people) as home:
        for person in people:
            await session.run("gpg", "--homedir", home, "--batch", "--send-keys", person.fingerprint, seconds=60)


async def flood_with_curl(session: Session, *, certs: int) -> None:
    """Upload from a shell, with a curl for each."""
    for person in await asyncio.to_thread(make_people, session.dice, certs):
        form = f"keytext={quote(armored(person.certificate), safe='')}"
        command = ["curl", "-s", "-o", "/dev/null", "--data-binary", "@-", f"{session.url}/pks/add"]
        await session.run(*command, stdin=form.encode(), seconds=60)


def _word_list(session: Session, count: int) -> str:
    return str(session.file("words.txt", words(session.dice, WORD_LIST, count)))


# Scanners. What their makers ship as defaults is kept, but for bounds of time.


async def sqlmap(session: Session, *, level: int, path: str) -> None:
    """Look for injections."""
    bounds = ["--batch", "--level", str(level), "--retries", "0", "--timeout", "15", "--ignore-code", "404"]
    seed = ["--output-dir", str(session.folder / "sqlmap"), "--random-agent", "--flush-session"]
    await session.run("sqlmap", "-u", session.url + path, *bounds, *seed, seconds=SECONDS)


async def wapiti(session: Session, *, scope: str) -> None:
    """Look for all that wapiti knows."""
    bounds = ["--max-scan-time", "120", "--max-attack-time", "40", "--flush-session", "--no-bugreport"]
    store = ["--store-session", str(session.folder / "wapiti"), "-o", str(session.folder / "report.html")]
    await session.run("wapiti", "-u", f"{session.url}/", "--scope", scope, *bounds, *store, seconds=SECONDS)


async def gobuster(session: Session, *, count: int, threads: int, delay: str) -> None:
    """Try paths."""
    listed = _word_list(session, count)
    options = ["-u", session.url, "-w", listed, "-t", str(threads), "--delay", delay, "-q", "--no-error"]
    await session.run("gobuster", "dir", *options, seconds=SECONDS)


async def ffuf(session: Session, *, count: int, rate: int, path: str) -> None:
    """Try paths, or arguments."""
    listed = _word_list(session, count)
    pause = f"{20 / rate:.3f}"  # of each of its threads
    options = ["-u", session.url + path, "-w", listed, "-t", "20", "-p", pause, "-s"]
    await session.run("ffuf", *options, seconds=SECONDS)


async def dirb(session: Session, *, count: int, pause_ms: int) -> None:
    """Try paths, one after the other."""
    listed = _word_list(session, count)
    await session.run("dirb", f"{session.url}/", listed, "-S", "-r", "-z", str(pause_ms), seconds=SECONDS)


async def wfuzz(session: Session, *, count: int, path: str) -> None:
    """Try paths or arguments."""
    listed = _word_list(session, count)
    await session.run("wfuzz", "-w", listed, "-t", "6", "-f", "/dev/null", session.url + path, seconds=SECONDS)


async def nmap(session: Session, *, scripts: str) -> None:
    """Run the scripts for web servers."""
    options = ["-sT", "-Pn", "-n", "-p", str(session.port), "--script", scripts, "--script-timeout", "60s"]
    forced = ["-sV", "--version-light"]
    await session.run("nmap", *options, *forced, LOOPBACK, seconds=SECONDS)


async def whatweb(session: Session, *, aggression: int) -> None:
    """Ask what software this is."""
    await session.run("whatweb", "-a", str(aggression), "--colour=never", session.url, seconds=SECONDS)


# Slow clients.


async def slow_script(session: Session, *, connections: int, seconds: float, body: bool) -> None:
    """Begin requests and hardly go on."""
    await asyncio.gather(*(_slowly(session, seconds, body=body) for _ in range(connections)))


async def _slowly(session: Session, seconds: float, *, body: bool) -> None:
    post = b"POST /pks/add HTTP/1.1\r\nHost: keys.example.org\r\nContent-Length: 40000\r\n\r\nkeytext="
    begin = post if body else f"GET {get_target('0x' + '0' * 16)} HTTP/1.1\r\nHost: keys.example.org\r\n".encode()
    try:
        async with asyncio.timeout(seconds):
            while True:
                _reader, writer = await asyncio.open_connection(LOOPBACK, session.port)
                writer.write(begin)
                while not writer.is_closing():
                    await session.pause(5)
                    writer.write(b"A" if body else b"X-a: b\r\n")
                    await writer.drain()
    except (OSError, TimeoutError):
        pass


async def slowhttptest(session: Session, *, kind: str, connections: int, seconds: int) -> None:
    """Begin requests and hardly go on: `-H` heads, `-B` bodies, `-X` answers."""
    target = session.url + (get_target("debian") if kind == "-X" else "/pks/add")
    options = ["-c", str(connections), "-r", "10", "-i", "5", "-l", str(seconds), "-u", target, "-p", "3"]
    await session.run("slowhttptest", kind, *options, seconds=seconds + 30)


# Guessers of passwords.


def _passwords(session: Session, count: int) -> tuple[str, str]:
    users = session.file("users.txt", ["admin", "root", "keyserver", "operator"])
    return str(users), str(session.file("passwords.txt", words(session.dice, "others/names", count)))


async def hydra(session: Session, *, count: int, module: str) -> None:
    """Guess the password of a page, or of a form."""
    users, passwords = _passwords(session, count)
    target = "/admin/" if module == "http-get" else "/login:user=^USER^&password=^PASS^:F=wrong"
    options = ["-L", users, "-P", passwords, "-t", "4", "-s", str(session.port), "-I"]
    await session.run("hydra", *options, LOOPBACK, module, target, seconds=SECONDS)


async def medusa(session: Session, *, count: int) -> None:
    """Guess the password of a page."""
    users, passwords = _passwords(session, count)
    options = [
        "-h",
        LOOPBACK,
        "-n",
        str(session.port),
        "-U",
        users,
        "-P",
        passwords,
        "-M",
        "http",
        "-m",
        "DIR:/admin",
    ]
    await session.run("medusa", *options, "-t", "2", seconds=SECONDS)


# Load without sense.


async def ab(session: Session, *, count: int, at_a_time: int, search: str) -> None:
    """Ask for one thing as fast as possible."""
    url = f"{session.url}/pks/lookup?op=index&options=mr&search={search}"
    await session.run("ab", "-q", "-n", str(count), "-c", str(at_a_time), url, seconds=SECONDS)


async def siege(session: Session, *, seconds: int, at_a_time: int) -> None:
    """Search for words from a list, many at a time."""
    targets = [f"{session.url}/pks/lookup?op=index&search={word}" for word in words(session.dice, "others/names", 400)]
    listed = session.file("urls.txt", targets)
    await session.run(
        "siege", "-c", str(at_a_time), "-t", f"{seconds}S", "-i", "-f", listed, "-b", seconds=seconds + 30
    )
