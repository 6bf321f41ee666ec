"""The plugin `ratelimit-geo`: hands who was seen where to geo.travel and geo.clusters, and what they find to fusion.

    records -> uploads that the keyserver took, rare programs -+
    other plugins -> accounts (`PluginSaid`, topic SIGHTING) --+-> Sighting -> geo.travel -----------> Evidence
    records, verdicts, evidence of others -> who is suspicious ---> geo.clusters -> GroupingJob -----> Evidence, event

Accounts are known only to who authenticates clients. Such a plugin publishes PluginSaid with the topic `sighting` and
data of two texts: `client`, an address, and `principal`, whatever stays the same for an account.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fastpath import client_key, monotonic_ns, parse_address, parse_network
from fastpath.origin import unpack
from fastpath.record import NO_UPSTREAM
from geo.atlas import Atlas, Sources
from geo.clusters import NEWCOMERS, Clusters
from geo.grouping import Terms
from geo.network_kind import ORDER
from geo.rarity import Rarity
from geo.travel import CEILING_KMH, PRINCIPALS, SLACK_S, Sighting, Source, Travel, network_of
from proxy.grouping_job import GroupingJob, JobFailed
from proxy.hkp.classes import OperationClass
from proxy.plugins.contract import Plugin
from proxy.plugins.events import EvidenceFound, PluginSaid, VerdictRaised
from proxy.policy.actions import Action, Reason
from proxy.policy.fusion import MOST_WEIGHT, Evidence
from proxy.policy.ladder import is_client
from proxy.settings.kinds import MINUTE, SECOND
from proxy.telemetry.numbers import SHADOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from geo.clusters import Cluster
    from geo.place import Location
    from proxy.plugins.contract import Heard, Host, Json, Route

TRAVEL, CLUSTERS = "travel", "clusters"  # features
ACCOUNT, CERTIFICATE, PROGRAM = "account", "certificate", "program"  # sources
CLUSTER: Final = "cluster"
SIGHTING: Final = "sighting"
SUSPICIOUS_WEIGHT: Final = 3.0  # log-odds of another detector's evidence
SUSPICIOUS_REASONS: Final = np.array(
    [Reason.LIMIT, Reason.BUDGET, Reason.TRAP, Reason.CANARY, Reason.BANNED, Reason.VERDICT], np.uint8
)
MOST_HEARD: Final = 1024  # sightings that wait for the next look
MOST_SUSPECTS: Final = 256  # located in one look
MOST_SAID: Final = 65_536
SECRET_BYTES: Final = 16
OK, NO_LONGER_OK = 200, 300
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)


class Settings(BaseModel):
    """Its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    speed_kmh: float = Field(CEILING_KMH, ge=100.0, le=100_000.0, description="As fast as anybody travels")
    slack_seconds: float = Field(SLACK_S, ge=1.0, le=3600.0, description="How far clocks may be apart")
    account_weight: float = Field(4.5, ge=0.0, le=MOST_WEIGHT, description="Log-odds of a journey of an account")
    certificate_weight: float = Field(1.5, ge=0.0, le=MOST_WEIGHT, description="Of who uploads a certificate")
    program_weight: float = Field(0.5, ge=0.0, le=MOST_WEIGHT, description="Of a rare program (JA4)")
    program_networks: int = Field(4, ge=2, le=64, description="A program that more networks use is not rare")
    principals: int = Field(PRINCIPALS, ge=256, le=65_536, description="Whose last places are remembered")
    cluster_weight: float = Field(1.0, ge=0.0, le=MOST_WEIGHT, description="Log-odds of being in a cluster; 0: none")
    cluster_networks: int = Field(Terms().least, ge=4, le=1000, description="That make a cluster, at least")
    cluster_times: float = Field(Terms().times, ge=2.0, le=1000.0, description="As frequent there as others are")
    minutes: int = Field(60, ge=1, le=1440, description="How long evidence counts")


class Said:
    """What was said of clients, so that it is neither repeated all the time nor weakened by less."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._said: OrderedDict[tuple[int, str], tuple[float, int]] = OrderedDict()

    def say(self, evidence: Evidence, now_ns: int, lasts_ns: int) -> bool:
        """Return whether evidence is worth saying: it weighs more than what was said, or that is half over."""
        about = evidence.subject, evidence.kind
        weight, until_ns = self._said.get(about, (0.0, 0))
        if evidence.weight <= weight and until_ns - now_ns > lasts_ns // 2:
            return False
        self._said[about] = evidence.weight, evidence.until_ns
        self._said.move_to_end(about)
        if len(self._said) > MOST_SAID:
            self._said.popitem(last=False)
        return True


class RatelimitGeo(Plugin):
    """Finds who is in two places at once, and places that stand out."""

    name = "ratelimit-geo"
    version = version("hkpguard")
    settings = Settings
    features = (TRAVEL, CLUSTERS)

    def __init__(
        self,
        *,
        clock: Callable[[], int] = monotonic_ns,
        job: Callable[[bytes, int], GroupingJob] = GroupingJob,
    ) -> None:
        """Know what is no setting.

        Args:
            clock: CLOCK_MONOTONIC, ns.
            job: Begins to look for clusters in a batch.

        """
        self._clock = clock
        self._begin = job

    def set_up(self, host: Host) -> None:
        """See `Plugin`."""
        assert isinstance(host.config, Settings)  # noqa: S101 - the runner made it of this model
        assert host.common is not None  # noqa: S101 - it is built in
        self._atlas, self._origins = host.common.atlas or Atlas(Sources()), host.common.origins
        self._settings, self._host = host.config, host
        sources = {
            ACCOUNT: Source(host.config.account_weight, personal=True),
            CERTIFICATE: Source(host.config.certificate_weight),
            PROGRAM: Source(host.config.program_weight),
        }
        self._travel = Travel(
            sources,
            os.urandom(SECRET_BYTES),
            ceiling_kmh=host.config.speed_kmh,
            slack_s=host.config.slack_seconds,
            principals=host.config.principals,
        )
        self._rarity = Rarity(host.config.program_networks)
        self._clusters = Clusters(Terms(host.config.cluster_networks, host.config.cluster_times))
        self._found: list[Cluster] = []
        self._told_ns: dict[tuple[str, str], int] = {}  # when the event of a cluster is to be repeated
        self._job: GroupingJob | None = None
        self._problem = ""
        self._said = Said()
        self._heard: deque[Sighting] = deque(maxlen=MOST_HEARD)
        self._unread = 0
        self._minute_ends_ns = 0
        self._newcomers = 0
        self._chance = np.random.default_rng()

    def stop(self) -> None:
        """See `Plugin`."""
        if self._job is not None:
            self._job.end()
            self._job = None

    def detectors(self) -> Sequence[RatelimitGeo]:
        """See `Plugin`."""
        return (self,)

    def subscriptions(self) -> Mapping[str, Heard]:
        """See `Plugin`."""
        return {
            PluginSaid.kind: self._hear_sighting,
            VerdictRaised.kind: self._hear_verdict,
            EvidenceFound.kind: self._hear_evidence,
        }

    def look(self, block: NDArray[np.void], now_ns: int) -> Iterator[Evidence | None]:
        """See `contract.Detector`."""
        for sighting in self._sightings(block):
            if sighting is not None and (found := self._travel.see(sighting)) is not None:
                yield self._worth_saying(found.client, f"{TRAVEL}_{found.source}", found.weight, found.reason, now_ns)
            yield None
        if self._settings.cluster_weight:
            yield from self._watch(block, now_ns)
            yield from self._group(now_ns)

    def _worth_saying(self, client: int, kind: str, weight: float, reason: str, now_ns: int) -> Evidence | None:
        """Return what is to be said, unless it was."""
        lasts_ns = self._settings.minutes * MINUTE
        evidence = Evidence(client, kind, weight, reason, now_ns + lasts_ns)
        return evidence if self._said.say(evidence, now_ns, lasts_ns) else None

    def _locate(self, packed: bytes) -> Location:
        """Return where an address is; lists know of exits and servers what databases do not."""
        location = self._atlas.locate(packed)
        listed = unpack(self._origins.look_up(packed)).kind if self._origins is not None else location.kind
        return location._replace(kind=min(location.kind, listed, key=ORDER.index))

    # Travel.

    def _sightings(self, block: NDArray[np.void]) -> Iterator[Sighting | None]:
        """Yield what was heard, and what is to be seen in records; None for what says nothing."""
        while self._heard:
            yield self._heard.popleft()
        taken = (block["upstream"] != NO_UPSTREAM) & (block["status"] >= OK) & (block["status"] < NO_LONGER_OK)
        for row in block[taken & (block["operation"] == OperationClass.UPLOAD) & (block["subject"] != b"")]:
            yield self._sighting(row["subject"], CERTIFICATE, row) if self._travels(row) else None
        if self._settings.program_weight:
            for row in block[_programs(block)]:
                program = row["fingerprint"].tobytes()
                rare = self._rarity.is_rare(program, network_of(int(row["client"])))
                yield self._sighting(program, PROGRAM, row) if rare and self._travels(row) else None

    def _travels(self, row: np.void) -> bool:
        """Whether the feature is on for a client."""
        return bool(self._host.feature(TRAVEL, np.array([row["client"]], np.uint64))[0])

    def _sighting(self, principal: bytes, source: str, row: np.void) -> Sighting:
        location = self._locate(row["address"].tobytes())
        return Sighting(principal, source, int(row["client"]), location, int(row["time_ns"]))

    def _hear_sighting(self, _kind: str, data: Json) -> None:
        """Take what another plugin knows of an account; what it calls one is its own."""
        if data["topic"] != SIGHTING:
            return
        principal, address = data["data"].get("principal"), data["data"].get("client")
        try:
            packed = parse_address(str(address))
        except ValueError:
            self._unread += 1
            return
        name = f"{data['plugin']}\0{principal}".encode()
        self._heard.append(Sighting(name, ACCOUNT, client_key(packed), self._locate(packed), self._clock()))

    # Clusters.

    def _watch(self, block: NDArray[np.void], now_ns: int) -> Iterator[None]:
        """Take note of who is suspicious, and of some who are not."""
        now_s = now_ns // SECOND
        refused = (block["action"] % SHADOW >= Action.LIMIT) & np.isin(block["reason"], SUSPICIOUS_REASONS)
        for row in _once(block[refused])[:MOST_SUSPECTS]:
            self._clusters.suspect(int(row["client"]), self._locate(row["address"].tobytes()), now_s)
            yield
        if self._newcomers:
            others = _once(block[~refused])
            for row in self._chance.permutation(others)[: self._newcomers]:
                self._newcomers -= 1
                self._clusters.meet(int(row["client"]), self._locate(row["address"].tobytes()), now_s)
                yield

    def _group(self, now_ns: int) -> Iterator[Evidence | None]:
        """Look for clusters each minute; read the answer when it is there."""
        try:
            if self._job is not None and (answer := self._job.answer(now_ns)) is not None:
                self._job, self._problem = None, ""
                yield from self._tell(self._clusters.read(answer), now_ns)
            if now_ns < self._minute_ends_ns:
                return
            self._minute_ends_ns = now_ns + MINUTE
            self._newcomers = NEWCOMERS
            batch = self._clusters.batch(now_ns // SECOND)
            yield None
            if self._job is None and batch is not None:
                self._job = self._begin(batch, now_ns)
        except (JobFailed, ValueError) as error:
            self._job = None
            self._problem = f"no clusters are found: {error}"

    def _tell(self, clusters: list[Cluster], now_ns: int) -> Iterator[Evidence | None]:
        """Say what was found, and let the bus know of each cluster once as long as evidence counts."""
        self._found = clusters
        self._told_ns = {about: at_ns for about, at_ns in self._told_ns.items() if at_ns > now_ns}
        for cluster in clusters:
            if (cluster.about, cluster.where) not in self._told_ns:
                self._told_ns[cluster.about, cluster.where] = now_ns + self._settings.minutes * MINUTE
                self._host.bus.publish(PluginSaid(plugin=self.name, topic=CLUSTER, data=_told(cluster)))
            clients = np.array(cluster.clients, np.uint64)
            for client in clients[self._host.feature(CLUSTERS, clients)].tolist():
                yield self._worth_saying(client, CLUSTER, self._settings.cluster_weight, cluster.reason, now_ns)

    def _hear_verdict(self, _kind: str, data: Json) -> None:
        """Take note of who has earned a standing."""
        self._suspect(data["subject"])

    def _hear_evidence(self, _kind: str, data: Json) -> None:
        """Take note of whom other detectors accuse, also those that are in shadow mode."""
        for found in data["found"]:
            if found["weight"] >= SUSPICIOUS_WEIGHT:
                self._suspect(found["subject"])

    def _suspect(self, text: str) -> None:
        client = parse_network(text)
        if is_client(client):
            location = self._locate(parse_address(text.partition("/")[0]))
            self._clusters.suspect(client, location, self._clock() // SECOND)

    # What operators ask.

    def health(self) -> str:
        """See `Plugin`: what it does without."""
        problems = [self._atlas.problem, self._problem]
        if not self._atlas.of(self._atlas.sources.city):
            problems.append("no database of cities (HKPGUARD_GEOIP_CITY): no travel, no clusters by place")
        if self._settings.cluster_weight and find_spec("sklearn") is None:
            problems.append("scikit-learn is not installed (hkpguard[geo]): no clusters by place")
        return "; ".join(filter(None, problems))

    def metrics(self) -> Mapping[str, float]:
        """See `Plugin`."""
        return {
            "principals": float(len(self._travel)),
            "journeys": float(self._travel.found),
            "unread": float(self._unread),
            "suspicious": float(len(self._clusters.suspicious)),
            "others": float(len(self._clusters.others)),
            "clusters": float(len(self._found)),
        }

    def routes(self) -> Mapping[str, Route]:
        """See `Plugin`."""
        return {"clusters": self._list}

    def _list(self, _query: Mapping[str, str]) -> Json:
        """Tell which clusters there are, the largest first."""
        return {"clusters": [_told(each) for each in sorted(self._found, key=lambda each: -each.networks)]}


def _told(cluster: Cluster) -> dict[str, str | int | float | bool]:
    return {
        "about": cluster.about,
        "where": cluster.where,
        "clients": len(cluster.clients),
        "networks": cluster.networks,
        "share": round(cluster.share, 3),
        "usual_share": round(cluster.usual, 3),
    }


def _once(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Return one record of each client."""
    _, first = np.unique(rows["client"], return_index=True)
    return rows[first]


def _programs(block: NDArray[np.void]) -> NDArray[np.intp]:
    """Return one record of each pair of a client and a program that is known, in the order of time."""
    words = np.ascontiguousarray(block["fingerprint"]).view("<u8").reshape(len(block), 2)
    known = np.flatnonzero(words.any(axis=1))
    pairs = (words[known, 0] * _SPREAD ^ words[known, 1]) * _SPREAD ^ block["client"][known]
    _, first = np.unique(pairs, return_index=True)
    return known[np.sort(first)]
