"""A scraper: `python -m bench.scraper PORT ADDRESS RATE SECONDS`; prints what it got as JSON.

It asks for another certificate each time, over a connection of its own, at an even pace from one address of loopback,
and does not wait for one answer before it asks for the next.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from bench.targets import paths

PATIENCE_S = 30.0
SPARE_S = 60.0
GOT = "200"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loot:
    """What a scraper has.

    Attributes:
        asked: How many requests it has made.
        got: How many certificates it has for that.
        otherwise: What else it was told: a status, or what went wrong.

    """

    asked: int
    got: int
    otherwise: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Counter[str]) -> "Loot":
        """Return it from all that a scraper was told."""
        return cls(
            asked=told.total(), got=told[GOT], otherwise={word: count for word, count in told.items() if word != GOT}
        )


async def ask(port: int, address: str, target: str) -> str:
    """Ask for one thing, and return the status, or in a word why there is none."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            try:
                writer.write(f"GET {target} HTTP/1.0\r\nHost: keys.example.org\r\n\r\n".encode())
                line = await reader.readline()
                await reader.read()
            finally:
                writer.close()
    except TimeoutError:
        return "silence"
    except OSError:
        return "broken"
    words = line.split()
    return words[1].decode() if len(words) > 1 else "broken"


def moments(rate: float, seconds: float) -> list[float]:
    """Return when the requests are due, in seconds from the first."""
    return [number / rate for number in range(int(rate * seconds))]


async def scrape(port: int, address: str, rate: float, seconds: float) -> Counter[str]:
    """Ask at that rate for so long; return what it was told, and how often."""
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    due_s = moments(rate, seconds)
    tasks: list[asyncio.Task[str]] = []
    for after_s, target in zip(due_s, paths(len(due_s)), strict=True):
        await asyncio.sleep(max(0.0, begun_s + after_s - loop.time()))
        tasks.append(asyncio.create_task(ask(port, address, target)))
    return Counter(await asyncio.gather(*tasks))


def main(arguments: Sequence[str]) -> None:
    """Run it as the command line says."""
    port, address, rate, seconds = arguments
    told = asyncio.run(scrape(int(port), address, float(rate), float(seconds)))
    print(json.dumps(asdict(Loot.of(told))))


if __name__ == "__main__":
    main(sys.argv[1:])
