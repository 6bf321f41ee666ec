"""Watches the load of each class of operations, and raises prices while the site is under attack. Part of the analyst.

    counters of the workers, each second -> Reading of half a minute -+-> Pressure -> Tariff (workers), log, events
                                 each 5 minutes -> Outlook, forecast -'

What counts as load is what the keyserver had to answer. What is refused, or answered from the cache, costs it
nothing; else anybody could make prices rise for all, with requests that are refused.

A price is said again each second and ends by itself 5 s later, so it does not outlive an analyst that does not
measure any more. Nothing rises before two days of load are known.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from math import isfinite
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fastpath import Counters, Tariff, monotonic_ns, total
from models.load_history import BIN_S, HOUR
from proxy.hkp.classes import OperationClass
from proxy.load_outlook import HIGH, LOW, MIDDLE, Outlook
from proxy.plugins.events import Event, LoadAlarm, unheard
from proxy.policy.pressure import Pressure, Signs
from proxy.settings.kinds import SECOND
from proxy.settings.limits import CLASS_NAMES, mildest
from proxy.telemetry.reading import LEAST_COUNT, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from fastpath import Region
    from proxy.config import Config, LimitConfig

PRICED: Final = (OperationClass.CERT, OperationClass.IDENTITY, OperationClass.WORDS)
WINDOW_NS: Final = 30 * SECOND
HOLDS_NS: Final = 5 * SECOND
LEAST_CLIENTS: Final = 2  # what so many may ask for within the window is no attack: limits are enough for it
CHANCE: Final = 3.0  # standard deviations of a count
SLOW_US: Final = 100_000  # a keyserver that answers sooner is not strained, whatever is usual
SLOW_TIMES: Final = 4
MORE_REFUSED: Final = 0.25  # share of requests, above the usual one


class LoadWatch(Collector):
    """The load of a node.

    Attributes:
        mode: `off`: nothing is measured; `shadow`: prices stay as they are.
        pressures: Of each class that may cost more. Uploads, mails and what is signed have limits of a few a minute
            and budgets of everybody; other classes have no limit of their own.

    """

    def __init__(
        self,
        config: Config,
        region: Region,
        *,
        publish: Callable[[Event], None] = unheard,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Take up what is written down.

        Args:
            config: The configuration.
            region: Of the node; this process is the only writer of its tariff.
            publish: Takes events.
            wall: The time of day, seconds since 1970.

        """
        self._publish = publish
        self._wall = wall
        self._log = structlog.get_logger().bind(process="analyst")
        self._counters = [Counters(region.counters(worker)) for worker in range(region.counts.workers)]
        self._tariff = Tariff(region.tariff)
        self._outlook = Outlook(config.state_dir, wall())
        self._readings: deque[Reading] = deque()  # of the window
        self._bin = 0
        self._bin_began: Reading | None = None
        self.pressures = {kind: Pressure() for kind in PRICED}
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Go on by another configuration."""
        self.mode = mildest(config.mode, config.adapt.mode)
        self._most = config.adapt.most
        limits = config.limits_for()
        self._least = {kind: LEAST_CLIENTS * _given(limits[CLASS_NAMES[kind]]) for kind in PRICED}
        if self.mode == "off":
            self._readings.clear()
            self.pressures = {kind: Pressure() for kind in PRICED}
        if self.mode != "enforce":
            self._end_prices()

    def turn(self, now_ns: int) -> None:
        """Look at the counters, and say what requests cost; as often as one likes, once a second is done."""
        if self.mode == "off" or (self._readings and now_ns - self._readings[-1].time_ns < SECOND):
            return
        reading = Reading.of(total(counters.snapshot() for counters in self._counters), now_ns)
        self._end_bin(reading)
        self._readings.append(reading)
        while now_ns - self._readings[0].time_ns > WINDOW_NS:
            self._readings.popleft()
        self._judge(reading.since(self._readings[0]), now_ns)

    async def run(self) -> None:
        """Forecast each hour, until cancelled."""
        while True:
            if self.mode != "off":
                self._outlook.foresee()
                await self._outlook.foresee_better()
                self._outlook.save()
            await asyncio.sleep(HOUR * BIN_S)

    def close(self) -> None:
        """Write down what is known, and let prices be as they were."""
        if self.mode != "off":
            self._outlook.save()
        self._end_prices()

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        shadow = "" if self.mode == "enforce" else " if it were not for shadow mode"
        attacked = (
            f"under attack: {kind.name.lower()} costs {pressure.times} tokens{shadow}"
            for kind, pressure in self.pressures.items()
            if pressure.times > 1
        )
        return "; ".join(filter(None, (*attacked, self._outlook.problem)))

    def _end_bin(self, reading: Reading) -> None:
        """Hand over the figures of five minutes that are over."""
        number = int(self._wall()) // BIN_S
        if number == self._bin:
            return
        if self._bin_began is not None and number == self._bin + 1:
            self._outlook.add(self._bin, reading.since(self._bin_began))
        self._bin, self._bin_began = number, reading

    def _judge(self, lately: Reading, now_ns: int) -> None:
        """Let the pressure of each class see the figures of the window."""
        usual_us = np.fmax(SLOW_TIMES * self._outlook.slow_us, SLOW_US)
        strained = lately.failing or bool((lately.slow_us > usual_us).any())
        usual_share = np.nan_to_num(self._outlook.refused)
        refusing = (lately.refused_share > usual_share + MORE_REFUSED) & (lately.refused >= LEAST_COUNT)
        most = self._outlook.expected(self._wall())[:, HIGH] * lately.time_ns / (BIN_S * SECOND)
        # If nothing is forecast, no load is above it: NaN is greater than nothing and less than nothing.
        above = lately.load > most + CHANCE * np.sqrt(most)
        for kind, pressure in self.pressures.items():
            before, loaded = pressure.times, bool(above[kind] and lately.load[kind] > self._least[kind])
            if pressure.turn(Signs(loaded, strained, bool(refusing[kind])), self._most, now_ns):
                self._tell(kind, before, pressure.times)
            if self.mode == "enforce":
                self._tariff.set(kind, pressure.times, now_ns + HOLDS_NS)

    def _tell(self, kind: OperationClass, before: int, times: int) -> None:
        name, stage = kind.name.lower(), "calm" if times == 1 else "attack"
        if before == 1:
            self._log.warning("under attack: requests cost more", operation=name, times=times, mode=self.mode)
        elif times == 1:
            self._log.info("the attack is over: requests cost what they did", operation=name, mode=self.mode)
        self._publish(LoadAlarm(operation=name, stage=stage, times=times, mode=self.mode))

    def _end_prices(self) -> None:
        for kind in self.pressures:
            self._tariff.set(kind, 1, 0)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client's collector interface)."""
        attack = GaugeMetricFamily("hkpguard_under_attack", "Classes under attack: 1, else 0", labels=("operation",))
        price = GaugeMetricFamily("hkpguard_price_factor", "Tokens of its class for a request", labels=("operation",))
        text = "Requests to be expected in the present five minutes"
        load = GaugeMetricFamily("hkpguard_load_forecast", text, labels=("operation", "bound"))
        now_ns, expected = monotonic_ns(), self._outlook.expected(self._wall())
        for kind, pressure in self.pressures.items():
            attack.add_metric((kind.name.lower(),), pressure.times > 1)
            price.add_metric((kind.name.lower(),), self._tariff.times(kind, now_ns))
        for kind in [*OperationClass][1:]:
            for name, bound in (("low", LOW), ("middle", MIDDLE), ("high", HIGH)):
                if isfinite(expected[kind, bound]):
                    load.add_metric((kind.name.lower(), name), expected[kind, bound])
        yield from (attack, price, load)


def _given(limit: LimitConfig) -> float:
    """Return how many requests one client may make within the window."""
    return limit.burst + limit.count * WINDOW_NS / limit.period_ns
