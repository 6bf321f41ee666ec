"""Keeps the courier (`courier.py`) going, and tells operators how the feeds are. Part of the analyst.

Without feeds there is no courier, nothing is fetched, and what followed from feeds before is taken away. A courier that
ends is begun again, later each time; meanwhile the last lists stay in force.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from proxy.intel.combined import FILE
from proxy.intel.snapshot import FOLDER, SnapshotStore
from proxy.plugins.instance import child_environment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping

    from prometheus_client.core import Metric

    from proxy.config import Config

OUTCOMES: Final = ("new", "same", "held", "failed")
FIRST_WAIT_SECONDS: Final = 2.0
LONGEST_WAIT_SECONDS: Final = 300.0
CALM_SECONDS: Final = 60.0  # who has worked so long is begun again at once
LONGEST_LINE: Final = 64 * 1024
# What the courier need know; it talks with strangers, and gets no secret but those that it sends.
SETTINGS: Final = ("STATE_DIR", "ALLOW", "PEERS", "TRUSTED_PROXIES", "SHARED_EXITS", "SHARED_EXITS_FILE")
_PREFIX: Final = "HKPGUARD_"


class FeedState(NamedTuple):
    """How a feed is.

    Args:
        listings: Of its last good list; 0: there is none.
        confirmed_s: When its source said so last, seconds since 1970; 0: never.
        problem: Why that was not at the last time; empty: all is well.

    """

    listings: int = 0
    confirmed_s: float = 0.0
    problem: str = ""


class IntelWatch(Collector):
    """The feeds of a node, as the analyst sees them.

    Attributes:
        feeds: How each is, by its name.
        combined: How many prefixes there are, and how many are `denied` and `priced`.
        outcomes: How often feeds were asked, by name and outcome.

    """

    def __init__(
        self,
        config: Config,
        *,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        lines: Callable[[dict[str, str]], AsyncGenerator[bytes]] | None = None,
    ) -> None:
        """Begin nothing yet.

        Args:
            config: The configuration.
            wall: Seconds since 1970.
            sleep: Waits for so many seconds.
            lines: Runs a courier with an environment, and yields what it says.

        """
        self.feeds: dict[str, FeedState] = {}
        self.combined: dict[str, int] = {}
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self._wall = wall
        self._sleep = sleep
        self._lines = lines or courier_lines
        self._log = structlog.get_logger().bind(process="analyst")
        self._changed = asyncio.Event()
        self._problem = ""  # of writing
        self._environ: dict[str, str] | None = None
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Go on by another configuration; the courier is begun anew if it concerns it."""
        environ = settings_for_courier(config) if config.feeds else {}
        if environ == self._environ:
            return
        self._environ = environ
        self.feeds = {name: self.feeds.get(name, FeedState()) for name in config.feeds}
        if not environ:
            _forget(Path(config.state_dir) / FOLDER)
            self.combined = {}
        self._changed.set()

    async def run(self) -> None:
        """Have a courier work as long as there are feeds, until cancelled."""
        while True:
            self._changed.clear()
            work = asyncio.create_task(self._employ(self._environ or {}))
            try:
                await self._changed.wait()
            finally:
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await work

    async def _employ(self, environ: dict[str, str]) -> None:
        """Begin couriers, one after the other, as long as there is something to do."""
        wait = FIRST_WAIT_SECONDS
        while environ:
            began_s = self._wall()
            try:
                async with contextlib.aclosing(self._lines(environ)) as lines:
                    async for line in lines:
                        self.hear(line)
                reason = "it ended"
            except (OSError, ValueError) as error:
                reason = f"{type(error).__name__}: {error}"
            self._log.error("the process that fetches feeds ended, it is begun again", reason=reason)
            wait = FIRST_WAIT_SECONDS if self._wall() - began_s > CALM_SECONDS else min(2 * wait, LONGEST_WAIT_SECONDS)
            await self._sleep(wait)

    def hear(self, line: bytes) -> None:
        """Note what the courier says; ValueError if that is nothing it says."""
        match json.loads(line):
            case {"feed": str(name), "listings": int(listings), "confirmed": int() | float() as confirmed, **more}:
                if name in self.feeds:
                    self._note(name, listings, float(confirmed), more)
            case {"combined": {"problem": str(problem)}}:
                self._problem = problem
            case {"combined": dict(counts)}:
                self._problem = ""
                self.combined = {str(word): int(count) for word, count in counts.items()}
                self._log.info("feeds combined", **self.combined)
            case _:
                raise ValueError("it says what is not understood")

    def _note(self, name: str, listings: int, confirmed_s: float, more: Mapping[Any, Any]) -> None:
        before, outcome = self.feeds[name], str(more.get("outcome", ""))
        problem = str(more.get("problem", "")) if outcome else before.problem
        self.feeds[name] = FeedState(listings, confirmed_s, problem)
        if not outcome:
            return
        self.outcomes[name, outcome] += 1
        told = {"feed": name, "listings": listings}
        if problem and problem != before.problem:
            self._log.warning("a feed is not as it should be", **told, outcome=outcome, problem=problem)
        elif outcome == "new":
            self._log.info("a feed has another list", **told, bad_rows=more.get("bad", 0), left=more.get("left", {}))
        elif before.problem and not problem:
            self._log.info("a feed is well again", **told)

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        ill = [self._told(name, state) for name, state in self.feeds.items() if state.problem]
        return "; ".join(filter(None, (*ill, self._problem)))

    def _told(self, name: str, state: FeedState) -> str:
        if not state.confirmed_s:
            return f"feed {name} has no list: {state.problem}"
        minutes = int(max(0.0, self._wall() - state.confirmed_s) // 60)
        return f"the list of feed {name} is {minutes} minutes old: {state.problem}"

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client's collector interface)."""
        age = GaugeMetricFamily(
            "hkpguard_intel_age_seconds", "Time since a feed's list was confirmed; none: it has none", labels=("feed",)
        )
        listings = GaugeMetricFamily("hkpguard_intel_listings", "Listings of a feed's last good list", labels=("feed",))
        asked = CounterMetricFamily("hkpguard_intel_fetches", "How feeds were asked", labels=("feed", "outcome"))
        for name, state in self.feeds.items():
            if state.confirmed_s:
                age.add_metric((name,), max(0.0, self._wall() - state.confirmed_s))
            listings.add_metric((name,), state.listings)
            for outcome in OUTCOMES:
                asked.add_metric((name, outcome), self.outcomes[name, outcome])
        rules = GaugeMetricFamily("hkpguard_intel_prefixes", "Networks for which feeds have a rule", labels=("rule",))
        for word in ("denied", "priced"):
            rules.add_metric((word,), self.combined.get(word, 0))
        yield from (age, listings, asked, rules)


def settings_for_courier(config: Config) -> dict[str, str]:
    """Return the environment of the courier's configuration."""
    wanted = {f"{_PREFIX}{word}" for word in SETTINGS}
    ours = (f"{_PREFIX}INTEL__FEEDS__", f"{_PREFIX}INTEL__MODE", f"{_PREFIX}INTEL__DENY", f"{_PREFIX}INTEL__PRICE")
    return {name: text for name, text in config.environ().items() if name in wanted or name.startswith(ours)}


async def courier_lines(environ: dict[str, str]) -> AsyncGenerator[bytes]:
    """Run a courier, and yield what it says; it is killed when nobody listens any more."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "proxy.intel.courier",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=child_environment(),
        start_new_session=True,
        limit=LONGEST_LINE,
    )
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(json.dumps(environ).encode() + b"\n")
        while line := await process.stdout.readline():
            yield line
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _forget(folder: Path) -> None:
    """Take away what followed from feeds, and their lists: nobody keeps them up to date any more."""
    (folder / FILE).unlink(missing_ok=True)
    SnapshotStore(folder).keep(())
