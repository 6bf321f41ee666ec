"""The courier: the process that fetches the lists of all feeds, reads them, and writes down what follows.

    stdin: one line, the settings      stdout: a line for each thing that happened      ends with its stdin

It is a process of its own, started by the analyst (`watch.py`) if feeds are configured, because a list of a hundred
thousand rows takes a second to read, and a list of a stranger may take whatever there is: it has a bound of memory, the
lowest priority, and nothing that anybody waits for. What others need of it are files.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import sys
import time
from ipaddress import ip_network
from operator import is_
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fastpath.origin import LISTED_DENIED, LISTED_PRICED
from proxy.config import Config
from proxy.intel import combined
from proxy.intel.combining import Spared, Voice, combine
from proxy.intel.feed import Feed
from proxy.intel.gathering import gatherer
from proxy.intel.listing import ListingKind, Prefixes
from proxy.intel.snapshot import FOLDER, SnapshotStore
from proxy.peer_store import PeerStore
from proxy.plugins.child import bound
from proxy.plugins.runner import line
from proxy.shared_exits import SharedExits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.intel.combining import Verdicts
    from proxy.intel.feed import Report
    from proxy.intel.gathering import Json
    from proxy.intel.listing import Listings
    from proxy.policy.networks import Network

AT_ONCE: Final = 4  # feeds that are asked
SETTLE_SECONDS: Final = 1.0  # for lists that come at the same time
LOOK_SECONDS: Final = 60.0  # how often listings may end, and peers change
MEMORY_BYTES: Final = 2 << 30  # beyond what it has when it begins


class Courier:
    """All feeds of a node."""

    def __init__(
        self,
        config: Config,
        tell: Callable[[Json], None],
        *,
        wall: Callable[[], float] = time.time,
        make: Callable[..., object] = gatherer,
    ) -> None:
        """Take up the lists that are there.

        Args:
            config: With feeds.
            tell: Takes what happened.
            wall: Seconds since 1970.
            make: Returns the source of a feed, as `gathering.gatherer`.

        """
        self._config = config
        self._tell = tell
        self._wall = wall
        self._folder = Path(config.state_dir) / FOLDER
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = SnapshotStore(self._folder)
        store.keep(config.feeds)
        random = SystemRandom().random
        self._feeds = [
            Feed(name, feed, store, make, now_s=wall(), random=random)  # type: ignore[arg-type]  # a fake of tests
            for name, feed in config.feeds.items()
        ]
        self._places = asyncio.Semaphore(AT_ONCE)
        self._changed = asyncio.Event()
        self._changed.set()
        self._combined_of: _Basis | None = None  # what was combined last

    async def run(self) -> None:
        """Work until cancelled."""
        for feed in self._feeds:
            self._tell(told_of(feed, None))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._combine_again_and_again())
            for feed in self._feeds:
                tasks.create_task(self._ask_again_and_again(feed))

    async def _ask_again_and_again(self, feed: Feed) -> None:
        while True:
            left_s = feed.due_s - self._wall()
            if left_s > 0:
                await asyncio.sleep(min(left_s, LOOK_SECONDS))  # in pieces, because the clock of the day may be set
            else:
                await self.ask(feed)

    async def ask(self, feed: Feed) -> None:
        """Ask a feed once."""
        async with self._places:
            report = await feed.ask(self._wall())
        if report.outcome == "new":
            self._changed.set()
        self._tell(told_of(feed, report))

    async def _combine_again_and_again(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()
                    await asyncio.sleep(SETTLE_SECONDS)
            except TimeoutError:
                pass
            await self.combine()

    async def combine(self) -> None:
        """Write down what follows from all lists, if it may be something else than before."""
        self._changed.clear()
        now_s = self._wall()
        for feed in self._feeds:
            if feed.expire(now_s):
                self._tell(told_of(feed, None))
        voices, spared = [*self._voices()], self._spared()
        ended = tuple(int((voice.listings.until_s <= now_s).sum()) for voice in voices)
        basis = _Basis([voice.listings for voice in voices], ended, [b"".join(map(bytes, part)) for part in spared])
        if basis.same(self._combined_of):
            return
        verdicts = await asyncio.to_thread(combine, voices, spared, self._config.intel, now_s)
        try:
            await asyncio.to_thread(combined.write, self._folder / combined.FILE, verdicts, [v.name for v in voices])
        except OSError as error:
            self._tell({"combined": {"problem": line(f"it is not written down: {error.strerror}")}})
            return
        self._combined_of = basis
        self._tell({"combined": _counts(verdicts)})
        del verdicts
        _give_back()

    def _voices(self) -> Iterator[Voice]:
        for feed in self._feeds:
            if feed.snapshot is not None:
                config = feed.config
                kind, group = ListingKind(config.says), config.group_of(feed.name)
                yield Voice(feed.name, kind, config.weight / 100, group, feed.snapshot.listings)

    def _spared(self) -> Spared:
        config = self._config
        never = (*config.allow, *config.peers, *config.trusted_proxies, *self._learnt_peers())
        return Spared(Prefixes.of(never), Prefixes.of(SharedExits().read(config)))

    def _learnt_peers(self) -> Iterator[Network]:
        learnt = PeerStore(self._config.state_dir).load()
        for host in (learnt.hosts if learnt else {}).values():
            for text in host.addresses:
                yield ip_network(text)


class _Basis(NamedTuple):
    """What verdicts were made of. The lists themselves and not their numbers: those may be given again."""

    listings: list[Listings]
    ended: tuple[int, ...]  # how many of each list were over
    spared: list[bytes]

    def same(self, other: _Basis | None) -> bool:
        """Tell whether the same would come of it."""
        if other is None or (self.ended, self.spared) != (other.ended, other.spared):
            return False
        return len(self.listings) == len(other.listings) and all(map(is_, self.listings, other.listings))


def told_of(feed: Feed, report: Report | None) -> Json:
    """Return what is told of a feed: without what it lists."""
    snapshot = feed.snapshot
    told: Json = {
        "feed": feed.name,
        "listings": len(snapshot.listings) if snapshot else 0,
        "confirmed": snapshot.confirmed_s if snapshot else 0.0,
    }
    return told | ({} if report is None else report._asdict())


def _counts(verdicts: Verdicts) -> Json:
    numbers, counts = np.unique(verdicts.rules, return_counts=True)
    rules = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    denied, priced = (rules.get(rule, 0) for rule in (LISTED_DENIED, LISTED_PRICED))
    return {"prefixes": len(verdicts.lengths), "denied": denied, "priced": priced}


def _give_back() -> None:
    """Give memory that was only needed to read lists back to the system; the C library would keep it."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _say(told: Json) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def _until_orphaned() -> None:
    """Wait until nobody is at the other end of stdin."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass


async def _work(config: Config) -> None:
    work = asyncio.create_task(Courier(config, _say).run())
    orphaned = asyncio.create_task(_until_orphaned())
    await asyncio.wait((work, orphaned), return_when=asyncio.FIRST_COMPLETED)
    orphaned.cancel()
    if work.done():
        work.result()  # what it raised
    work.cancel()


def main() -> int:
    """Be the courier."""
    environ = json.loads(sys.stdin.readline())
    bound(MEMORY_BYTES)
    asyncio.run(_work(Config.from_env(environ, try_files=False)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
