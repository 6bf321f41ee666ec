"""How many lines of a log `hkpguard replay` judges in a second of one core: goal 50,000, with policy and models.

The log is made up: a third are refreshes and single gets of certificates that are wanted again and again, the rest
what else comes to a keyserver: a scraper, searches, uploads, pages, a scanner.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

from proxy.config import Config
from proxy.replay.command import run
from proxy.replay.detection import detection
from proxy.replay.world import World

SEED: Final = 7
PEOPLE, CERTIFICATES, ADDRESSES = 20_000, 20_000, 100_000
PER_SECOND: Final = 100  # visits
BEGIN_S: Final = 1_700_000_000
GET: Final = "GET /pks/lookup?op=get&options=mr&search=0x{} HTTP/1.0"
BROWSER: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
WEIGHTS: Final = {"refresh": 5, "get": 55, "scraper": 10, "search": 20, "upload": 5, "page": 3, "scanner": 2}


def log_lines(count: int) -> Iterator[str]:
    """Yield lines in the combined form; some of a refresh stand before their time."""
    random = Random(SEED)  # noqa: S311 - the same log each time
    certificates = [f"{random.getrandbits(160):040X}" for _ in range(CERTIFICATES)]
    people = [".".join(str(random.randint(11, 220)) for _ in range(4)) for _ in range(PEOPLE)]
    made, now_s = 0, float(BEGIN_S)
    while made < count:
        now_s += random.expovariate(PER_SECOND)
        [kind] = random.choices([*WEIGHTS], [*WEIGHTS.values()])
        person = random.choice(people)
        for address, after_s, request, status in _visit(kind, person, certificates, random):
            moment = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now_s + after_s))
            yield f'{address} - - [{moment}] "{request}" {status} 1701 "-" "{BROWSER}"\n'
            made += 1


def _visit(kind: str, person: str, certificates: list[str], random: Random) -> Iterator[tuple[str, float, str, int]]:
    """Yield what somebody asks for: address, time after the first, request, status."""
    if kind == "refresh":
        for number in range(random.randint(5, 60)):
            found = random.random() < 0.8
            yield person, number / 10, GET.format(random.choice(certificates)), 200 if found else 404
    elif kind == "get":
        yield person, 0.0, GET.format(random.choice(certificates)), 200
    elif kind == "scraper":
        yield "203.0.113.7", 0.0, GET.format(f"{random.getrandbits(160):040X}"), 200
    elif kind == "search":
        number = random.randrange(ADDRESSES)
        yield person, 0.0, f"GET /pks/lookup?op=index&options=mr&search=p{number}%40example.org HTTP/1.1", 200
    else:
        request, status = {
            "upload": ("POST /pks/add HTTP/1.1", 200),
            "page": ("GET / HTTP/1.1", 200),
            "scanner": ("GET /wp-login.php HTTP/1.1", 404),
        }[kind]
        yield "198.51.100.9" if kind == "scanner" else person, 0.0, request, status


def measure(count: int) -> tuple[float, float]:
    """Return lines a second of CPU time, and of real time."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "access.log"
        with log.open("w", encoding="ascii") as file:
            file.writelines(log_lines(count))
        config = Config.from_env({})
        world = World(config, detection=detection(config))
        begun_s, cpu_s = time.perf_counter(), time.process_time()
        report = run([str(log)], None, [world], {})
        cpu_s, real_s = time.process_time() - cpu_s, time.perf_counter() - begun_s
    return report.log.requests / cpu_s, report.log.requests / real_s
