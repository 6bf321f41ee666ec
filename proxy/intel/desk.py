"""What people and programs ask of intelligence, and tell: reports, what is known of an address, bans for others.

Part of the analyst; the admin API (`proxy/admin/intel_routes.py`) puts the questions.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fastpath import client_key, key_text, monotonic_ns, parse_address, parse_network
from fastpath.origin import LISTED_DENIED, LISTED_PRICED
from models.steps import whole
from proxy.courtesy import Courtesy
from proxy.hkp.peer_list import is_public
from proxy.intel.bouncers import Bouncers
from proxy.intel.combined import FILE, Latest
from proxy.intel.exports import exported
from proxy.intel.reports import KIND, LONGEST_NS, USUAL_NS, Report, Reports, TooMany
from proxy.intel.snapshot import FOLDER
from proxy.policy.ladder import is_client
from proxy.settings.key_file import owner_of, read_keys
from proxy.settings.kinds import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.core import Metric

    from proxy.config import Config
    from proxy.intel.exports import Exported
    from proxy.verdicts import Verdicts
    from proxy.warden import Warden

Json = dict[str, Any]
LOOK_NS: Final = 5 * SECOND
MOST_EXPORTED: Final = 65_536
OWN_WEIGHT: Final = 1.0  # log-odds from which evidence of this node agrees with a report
LONGEST_REASON: Final = 200
RULES: Final = {LISTED_DENIED: "denied", LISTED_PRICED: "priced"}
_REPORTS: Final = KIND.partition(".")[0]


class Refused(Exception):
    """A report is not taken: nobody may say that of this client."""


class Keys(NamedTuple):
    """Who may tell, and who may ask, by name."""

    reporters: Mapping[str, str]
    bouncers: Mapping[str, str]


class IntelDesk(Collector):
    """The desk of a node.

    Attributes:
        outcomes: What became of reports.
        problem: Why keys are not those of the files; empty if all is well.

    """

    def __init__(  # noqa: PLR0913 - the last three are shared, or clocks for tests
        self,
        config: Config,
        warden: Warden,
        verdicts: Verdicts,
        *,
        courtesy: Courtesy | None = None,
        clock: Callable[[], int] = monotonic_ns,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Begin without reports.

        Args:
            config: The configuration.
            warden: Whose bans are told.
            verdicts: Who weighs what is reported.
            courtesy: Of the process.
            clock: CLOCK_MONOTONIC, ns.
            wall: Seconds since 1970.

        """
        self.outcomes: Counter[str] = Counter()
        self._warden = warden
        self._verdicts = verdicts
        self._clock = clock
        self._wall = wall
        self._courtesy = courtesy or Courtesy()
        self._exporting = asyncio.Lock()
        self._reports = Reports()
        self._bouncers = Bouncers()
        self._lists = Latest(Path(config.state_dir) / FOLDER / FILE)
        self._look_ns = 0
        self._bans: dict[str, Exported] = {}
        self._bans_ns = -LOOK_NS
        self._offset_ns = 0
        self._log = structlog.get_logger().bind(process="analyst")
        self._keys = Keys({}, {})
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Go on by another configuration, and read the files of keys again; bad ones leave the keys as they are."""
        self._addresses = config.log.addresses
        self.problem = ""
        try:
            self._keys = Keys(read_keys(config.intel.reporters_file), read_keys(config.intel.bouncers_file))
        except (OSError, ValueError) as error:
            self.problem = f"keys of reporters or bouncers cannot be read: {error}"
            self._log.error("keys could not be read, those before stay", problem=str(error))

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        return "; ".join(filter(None, (self.problem, self._lists.problem)))

    def reporter(self, token: str) -> str | None:
        """Return whose token it is."""
        return owner_of(token, self._keys.reporters)

    def bouncer(self, key: str) -> str | None:
        """Return whose key it is."""
        return owner_of(key, self._keys.bouncers)

    # Reports.

    def report(self, reporter: str, network: str, reason: str, seconds: int | None) -> Json:
        """Take a report, and tell what became of it.

        Raises:
            ValueError: It is not as it should be.
            Refused: Nobody may say that of this client.
            TooMany: The reporter has to wait.

        """
        subject = parse_network(network)
        length_ns = USUAL_NS if seconds is None else seconds * SECOND
        if not is_client(subject):
            raise ValueError("a report is of an address, or the /64 of one in IPv6")
        if not SECOND <= length_ns <= LONGEST_NS:
            raise ValueError(f"a report lasts 1 to {LONGEST_NS // SECOND} seconds")
        if len(reason) > LONGEST_REASON or not reason.isprintable():
            raise ValueError(f"a reason is one line of at most {LONGEST_REASON} characters")
        account = self._warden.account(subject)
        if account.never or not is_public(parse_address(key_text(subject).partition("/")[0])):
            self._audit(reporter, "refused", subject)
            lists = "HKPGUARD_ALLOW, HKPGUARD_PEERS or HKPGUARD_TRUSTED_PROXIES"
            raise Refused(f"{key_text(subject)} is no public address, or in {lists}")
        now_ns = self._clock()
        try:
            self._reports.take(subject, Report(reporter, reason, now_ns, now_ns + length_ns), now_ns)
        except TooMany:
            self._audit(reporter, "too_many", subject)
            raise
        own = account.ban is not None or self._suspected(subject)
        evidence = self._reports.evidence(subject, now_ns, own=own, shared=account.shared)
        if evidence is not None:
            whole(self._verdicts.hear([evidence]))
        outcome = "noted" if evidence is None else "agreed"
        self._audit(reporter, outcome, subject)
        return {"outcome": outcome, "network": key_text(subject), "seconds": length_ns // SECOND}

    def _suspected(self, subject: int) -> bool:
        """Tell whether this node has something against a client that nobody has reported."""
        evidence = self._verdicts.explain(subject)["evidence"]
        return any(
            each["weight"] >= OWN_WEIGHT and not each["shadow"] and each["kind"].partition(".")[0] != _REPORTS
            for each in evidence
        )

    def _audit(self, reporter: str, outcome: str, subject: int) -> None:
        self.outcomes[outcome] += 1
        told = {"network": key_text(subject)} if self._addresses else {}
        self._log.info("report", reporter=reporter, outcome=outcome, **told)

    # What is known.

    def about(self, text: str) -> Json:
        """Return what is known of an address from elsewhere; ValueError if it is none."""
        packed = parse_address(text)
        now_ns = self._clock()
        self._refresh(now_ns)
        subject = client_key(packed)
        found = self._lists.combined.find(packed) if self._lists.combined else None
        return {
            "client": key_text(subject),
            "listed": None
            if found is None
            else {
                "rule": RULES.get(found.rule, ""),
                "kind": found.kind.name.lower(),
                "weight": round(found.weight, 2),
                "feeds": list(found.feeds),
            },
            "reports": [
                {
                    "reporter": each.reporter,
                    "reason": each.reason,
                    "seconds_left": (each.until_ns - now_ns) // SECOND,
                }
                for each in self._reports.of(subject, now_ns)
            ],
            "verdict": self._verdicts.explain(subject),
        }

    def _refresh(self, now_ns: int) -> None:
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + LOOK_NS
            self._lists.refresh()

    # Bans for others.

    async def bans(self) -> Mapping[str, Exported]:
        """Return the bans that refuse somebody, some seconds old at most; not to be changed."""
        async with self._exporting:
            now_ns = self._clock()
            if now_ns - self._bans_ns < LOOK_NS:
                return self._bans
            self._bans_ns = now_ns
            offset_ns = int(self._wall() * SECOND) - now_ns
            if abs(offset_ns - self._offset_ns) > SECOND:  # else ends of bans would tremble with the clocks
                self._offset_ns = offset_ns
            bans = self._warden.latest(MOST_EXPORTED) if self._warden.mode == "enforce" else []
            fresh = (await self._courtesy.through(exported(bans, self._offset_ns))).result
            if fresh != self._bans:
                self._bans = fresh
            return self._bans

    def now_s(self) -> float:
        """Return the time of day, as ends of bans have it."""
        return (self._clock() + self._offset_ns) / SECOND

    async def decisions(self, bouncer: str, *, startup: bool) -> str:
        """Return what a bouncer is to be told, as JSON; see `Bouncers`."""
        bans = await self.bans()
        steps = self._bouncers.changes(bouncer, bans, startup=startup, now_s=self.now_s())
        return (await self._courtesy.through(steps)).result

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client's collector interface)."""
        reports = CounterMetricFamily("hkpguard_intel_reports", "Reports by what became of them", labels=("outcome",))
        for outcome in ("noted", "agreed", "refused", "too_many"):
            reports.add_metric((outcome,), self.outcomes[outcome])
        yield reports
        yield GaugeMetricFamily("hkpguard_intel_reported", "Clients that are reported", len(self._reports))
        yield GaugeMetricFamily("hkpguard_intel_bouncers", "Bouncers that have asked", len(self._bouncers))
