"""Keeps the origins of a node up to date: notices what has changed, has it composed, puts it in place. Of the analyst.

    databases, feeds, rules --changed?--> process (compose.py) --> set --> PrefixBook (workers), piece by piece

Nothing is composed as long as nothing is named that could be known, and composing takes a tenth of the time at most,
where that is not over a minute: a list that has just come holds after some seconds. Whatever fails
leaves the last set where it is, and is told. Only a node that has no set yet takes one in which something is missing:
with a damaged database it should still know what the lists say.

Workers obey a rule of a set only if they know the same rules. So the word that says by which rules it was made is taken
away before another set is put in place, and comes back behind it (`Policy` reads it before and after it looks up).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import os
import time
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fastpath import Control, PrefixBook
from fastpath.prefixes import PrefixSet
from proxy.geo_files import sources
from proxy.intel.combined import FILE
from proxy.intel.compose import Order, Outcome, RuleOrder, compose
from proxy.intel.snapshot import FOLDER
from proxy.policy.origins import digest
from proxy.side_process import answer_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from prometheus_client.core import Metric

    from fastpath import Region
    from proxy.config import Config
    from proxy.settings.origins import OriginRule

LOOK_SECONDS: Final = 5.0
RESTS: Final = 10  # times as long as composing took
LONGEST_REST_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 600.0  # after a failure, if nothing changes
COMPOSE: Final = "proxy.intel.compose"
COMPOSE_SECONDS: Final = 300.0  # of the process: it is nicer than all that may be busy
REST_SECONDS: Final = 0.002

Stamp = tuple[int, int, int]  # inode, size, ns of the last change; of a file that there is not, zeros


class Composed(NamedTuple):
    """A set, and what is missing in it."""

    octets: memoryview
    outcome: Outcome


class Failed(Exception):
    """Nothing was composed; the text says why."""


class Inputs(NamedTuple):
    """What a set is made of; another one is needed when they are not equal any more."""

    order: Order
    stamps: tuple[Stamp, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing can be known."""
        return not self.order.rules and not self.order.databases and not self.order.combined


class Composer(Collector):
    """The only writer of the origins of a node."""

    def __init__(
        self,
        config: Config,
        region: Region,
        *,
        compose: Callable[[Order], Awaitable[Composed]] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Begin with what is in the book; of an analyst before this one it is not known what it was made of.

        Args:
            config: The configuration.
            region: Of the node.
            compose: Makes a set; raises `Failed`.
            wall: The time of day, seconds since 1970.

        """
        self._log = structlog.get_logger().bind(process="analyst")
        self._book = PrefixBook(region.origins, region.counts.prefixes)
        self._control = region.control
        self._compose = compose or _run_composer
        self._wall = wall
        self._tried: Inputs | None = None
        self._retry_s = inf
        self._composed_s = 0.0
        self._missing: tuple[str, ...] = ()  # in the set in place
        self._problem = ""
        self._woken = asyncio.Event()
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Go on by another configuration, at once."""
        self._config = config
        self._woken.set()

    async def run(self) -> None:
        """Keep the set up to date, until cancelled."""
        while True:
            self._woken.clear()
            begun_s = time.monotonic()
            await self.turn()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_after(time.monotonic() - begun_s)):
                    await self._woken.wait()

    async def turn(self) -> None:
        """Look whether anything has changed, and if so have another set composed."""
        rules, inputs = self._config.origin_rules, _inputs(self._config)
        if inputs == self._tried and self._wall() < self._retry_s:
            return
        self._tried, self._retry_s = inputs, inf
        if inputs.empty and not self._book.prefixes:
            return
        try:
            composed = await self._compose(inputs.order)
            self._refuse_less(composed.outcome)
            await self._publish(composed.octets, digest(rules))
        except (Failed, ValueError) as error:  # ValueError: the set is too large
            self._problem, self._retry_s = str(error), self._wall() + RETRY_SECONDS
            self._log.error("origins could not be composed, those before stay", problem=self._problem)
            return
        self._composed_s = self._wall()
        self._missing = tuple(composed.outcome.problems)
        self._problem = "; ".join(self._missing)
        self._log.info("origins composed", ranges=composed.outcome.ranges, problem=self._problem)

    def _refuse_less(self, outcome: Outcome) -> None:
        """Raise Failed if the set in place knows something that this one does not."""
        lost = [problem for problem in outcome.problems if problem not in self._missing]
        if lost and self._book.prefixes:
            raise Failed("; ".join(lost))

    async def _publish(self, octets: memoryview, rules: int) -> None:
        work = self._book.publish(octets)
        if self._control[Control.ORIGIN_RULES] != rules:
            self._control[Control.ORIGIN_RULES] = 0
        for _ in work:
            await asyncio.sleep(REST_SECONDS)
        self._control[Control.ORIGIN_RULES] = rules

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        return f"where clients come from is known in part, or as it was: {self._problem}" if self._problem else ""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client's collector interface)."""
        age_s = self._wall() - self._composed_s if self._composed_s else 0.0
        yield _gauge("origin_generation", "Sets of origins that were put in place", self._book.generation)
        yield _gauge("origin_ranges", "Ranges of addresses of which something is known", self._book.prefixes)
        yield _gauge("origin_age_seconds", "Time since the present set was composed; 0: never", age_s)
        yield _gauge("origin_degraded", "1: something is missing in it, or it is not the latest", bool(self._problem))


def rest_after(turn_s: float) -> float:
    """Return after how many seconds to look again, if a turn took so many."""
    return min(max(LOOK_SECONDS, RESTS * turn_s), LONGEST_REST_SECONDS)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"hkpguard_{name}", text, value=value)


def _inputs(config: Config) -> Inputs:
    databases = databases_of(config)
    combined = Path(config.state_dir) / FOLDER / FILE
    lists = [combined] if combined.is_file() else []
    order = Order([str(path) for path in databases], "".join(map(str, lists)), [*map(_ordered, config.origin_rules)])
    return Inputs(order, tuple(_stamp(path) for path in (*databases, *lists)))


def databases_of(config: Config) -> list[Path]:
    """Return the databases to use, in the order in which they are believed.

    Files of cities have millions of networks, and say nothing of this that files of countries do not.
    """
    wanted = sources(config)
    return [Path(path) for path in (wanted._replace(city=()) if wanted.country else wanted).paths()]


def origins_of(config: Config) -> tuple[PrefixSet | None, str]:
    """Return what databases and lists say of networks, for who has no guard to ask, and what could not be read of them.

    It takes seconds and hundreds of MB. None: there is nothing that could be known. Rules are left out.
    """
    order = _inputs(config).order._replace(rules=())
    if not order.databases and not order.combined:
        return None, ""
    octets, outcome = compose(order)
    return PrefixSet(octets), "; ".join(outcome.problems)


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


def _ordered(rule: OriginRule) -> RuleOrder:
    networks = [str(network) for network in rule.networks]
    return RuleOrder(list(rule.countries), list(rule.asns), [*map(int, rule.network_kinds)], networks)


async def _run_composer(order: Order) -> Composed:
    """Have a process compose; it is killed if it takes too long, or if nobody waits any more."""
    fd = os.memfd_create("origins", os.MFD_CLOEXEC)
    try:
        given = json.dumps(order).encode()
        said = await answer_of(COMPOSE, str(fd), given=given, seconds=COMPOSE_SECONDS, descriptors=(fd,))
        octets = memoryview(mmap.mmap(fd, 0, prot=mmap.PROT_READ))
        return Composed(octets, Outcome(*json.loads(said)))
    except (OSError, ValueError, TypeError) as error:  # TimeoutError is an OSError
        raise Failed(f"the process that composes them failed: {str(error) or type(error).__name__}") from None
    finally:
        os.close(fd)  # the mapping keeps it
