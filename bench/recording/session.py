"""What a run has: its way to the keyserver, its dice, the world, and a folder; and how it runs programs."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import aiohttp
from yarl import URL

from bench.recording.relay import LOOPBACK
from bench.recording.world import Person, World, gpg_home

PROGRAM_S = 900.0
OUTPUT_BYTES = 1 << 20
PATIENCE_S = 60.0  # for one answer
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TERM": "dumb"}


class Done(NamedTuple):
    """How a program ended, None: it was ended; and what it said on both outputs."""

    status: int | None
    output: bytes


@dataclass(kw_only=True)
class Session:
    """One run."""

    port: int
    dice: random.Random
    folder: Path
    world: World
    told: Counter[str] = field(default_factory=Counter)  # by programs, and by the keyserver to scripts of ours

    @property
    def url(self) -> str:
        """Where the keyserver seems to be."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def hkp(self) -> str:
        """The same as gpg writes it."""
        return f"hkp://{LOOPBACK}:{self.port}"

    async def run(
        self, *command: str | Path, stdin: bytes = b"", seconds: float = PROGRAM_S, env: Mapping[str, str] | None = None
    ) -> Done:
        """Run a program to its end, or for so many seconds; all that it has started ends with it."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.folder,
            env={**os.environ, **ENVIRONMENT, "HOME": str(self.folder), **(env or {})},
            start_new_session=True,
        )
        output = bytearray()
        status: int | None = None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await asyncio.gather(_feed(process, stdin), _read(process, output))
                    status = await process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own session: it and its children
            await process.wait()
        self.told[f"{Path(command[0]).name} {'ended by us' if status is None else f'exit {status}'}"] += 1
        return Done(status, bytes(output))

    @asynccontextmanager
    async def gpg_home(self, people: Iterable[Person] = ()) -> AsyncIterator[Path]:
        """Give a home for gpg whose dirmngr asks the keyserver of this run."""
        manager = gpg_home(people)
        home = await asyncio.to_thread(manager.__enter__)
        try:
            (home / "dirmngr.conf").write_text(f"keyserver {self.hkp}\n")
            yield home
        finally:
            await asyncio.to_thread(manager.__exit__, None, None, None)

    @asynccontextmanager
    async def web(self, agent: str = "", *, at_a_time: int = 6, keep: bool = True) -> AsyncIterator["Web"]:
        """Give an HTTP client; it keeps its connections, as browsers and libraries do, or has one for each request."""
        headers = {"User-Agent": agent} if agent else None
        async with aiohttp.ClientSession(
            self.url,
            headers=headers,
            connector=aiohttp.TCPConnector(limit=at_a_time, force_close=not keep),
            timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
            auto_decompress=False,
        ) as client:
            yield Web(client, self.told)

    async def pause(self, mean_s: float, *, evenly: bool = False) -> None:
        """Do nothing for a while: exactly so long, or as people do."""
        await asyncio.sleep(mean_s if evenly else min(self.dice.expovariate(1 / mean_s), 6 * mean_s))

    def file(self, name: str, lines: Sequence[str]) -> Path:
        """Write lines to a file of the run."""
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


class Web:
    """An HTTP client that minds nothing it is told."""

    def __init__(self, client: aiohttp.ClientSession, told: Counter[str]) -> None:
        """Count what it is told in `told`."""
        self._client = client
        self._told = told

    async def get(self, target: str) -> int:
        """Get something; return the status, 0 if there is none."""
        return await self._ask("GET", target)

    async def post(self, target: str, data: Mapping[str, str] | bytes) -> int:
        """Send a form or a body."""
        return await self._ask("POST", target, data)

    async def _ask(self, method: str, target: str, data: Mapping[str, str] | bytes | None = None) -> int:
        try:
            async with self._client.request(method, URL(target, encoded=True), data=data) as reply:
                await reply.read()
                status = reply.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            status = 0
        self._told[str(status or "broken")] += 1
        return status


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin
    with suppress(OSError, RuntimeError):  # it has ended already; uvloop says so in its own way
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()


async def _read(process: asyncio.subprocess.Process, output: bytearray) -> None:
    """Read to the end; what is too much is dropped."""
    assert process.stdout
    while piece := await process.stdout.read(65536):
        output += piece[: max(0, OUTPUT_BYTES - len(output))]


Act = Callable[[Session], Awaitable[None]]
