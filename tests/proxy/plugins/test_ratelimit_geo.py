"""Who is in two places at once, and places that stand out: from records and events to evidence."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from fastpath import address_text, client_key
from fastpath.origin import NetworkKind, Origin
from fastpath.record import NO_UPSTREAM
from geo.atlas import Atlas, Sources
from geo.clusters import LEAST_OTHERS, NEWCOMERS
from geo.grouping import answer
from geo.place import Location, Place
from geo.rarity import ENOUGH
from models.coldness import Coldness
from models.watch import Watch
from proxy.grouping_job import JobFailed
from proxy.hkp.classes import OperationClass
from proxy.plugins import ratelimit_geo
from proxy.plugins.built_in import BUILT_IN
from proxy.plugins.contract import Common, Host
from proxy.plugins.ratelimit_geo import RatelimitGeo, Settings
from proxy.plugins.runner import Notebook
from proxy.policy.actions import Action, Reason
from proxy.telemetry.numbers import SHADOW
from tests.geo.spots_for_tests import FRANKFURT, elsewhere
from tests.models.traffic_for_tests import records

if TYPE_CHECKING:
    from pathlib import Path

    from fastpath import PrefixBook
    from proxy.policy.fusion import Evidence

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
NOW = 10**15
NAME = "ratelimit-geo"
BERLIN = Location(Place("DE", "Berlin", 52.52, 13.405, 20), None, NetworkKind.RESIDENTIAL)
TOKYO = Location(Place("JP", "Tokyo", 35.68, 139.69, 20), None, NetworkKind.RESIDENTIAL)
IN_BERLIN, IN_TOKYO = bytes([192, 0, 2, 1]), bytes.fromhex("20010db8000100020000000000000003")
KEY = b"740D7FE2AB3143E86C8FD12300186602339240CB"
PROGRAM = np.void(bytes(range(16)))


def mapped(packed: bytes) -> np.void:
    """Return an address as records have it."""
    return np.void(packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed)


def by(packed: bytes, at_ns: int = NOW, **fields: Any) -> dict[str, Any]:
    """Return a record of a client."""
    return {"client": client_key(packed), "address": mapped(packed), "time_ns": at_ns, **fields}


def upload(packed: bytes, at_ns: int = NOW, **fields: Any) -> dict[str, Any]:
    """Return a record of an upload that the keyserver took."""
    return by(packed, at_ns, operation=OperationClass.UPLOAD, subject=KEY, **fields)


class FakeAtlas(Atlas):
    """Knows where two clients are, a town of many, and that all others are somewhere else."""

    def __init__(self) -> None:
        """No files, but one for cities."""
        super().__init__(Sources())
        self.asked: list[bytes] = []

    def locate(self, packed: bytes) -> Location:
        """See `Atlas`."""
        packed = packed.removeprefix(bytes(10) + b"\xff\xff")
        self.asked.append(packed)
        known = {IN_BERLIN: BERLIN, IN_TOKYO: TOKYO}
        if packed in known:
            return known[packed]
        return FRANKFURT if packed[0] == 100 else elsewhere(int.from_bytes(packed[1:3]))


class FakeBook:
    """Says one thing of IPv6, and nothing of IPv4."""

    def __init__(self, word: int) -> None:
        """`word`: see `fastpath.origin`."""
        self._word = word

    def look_up(self, packed: bytes) -> int:
        """See `PrefixBook`."""
        return self._word if packed[:4] == IN_TOKYO[:4] else 0


class FakeJob:
    """Answers when it is told to."""

    def __init__(self, batch: bytes, now_ns: int) -> None:
        """Begin."""
        self.batch, self.now_ns = batch, now_ns
        self.done = self.ended = False
        self.error: Exception | None = None

    def answer(self, now_ns: int) -> bytes | None:
        """See `GroupingJob`."""
        assert now_ns >= self.now_ns
        if self.error:
            raise self.error
        return answer(self.batch) if self.done else None

    def end(self) -> None:
        """See `GroupingJob`."""
        self.ended = True


class Running:
    """The plugin with a clock and processes of the test."""

    def __init__(self, folder: Path, features: dict[str, int] | None = None, listed: int = 0, **settings: Any) -> None:
        """Set it up."""
        self.now_ns = NOW
        self.jobs: list[FakeJob] = []
        self.atlas = FakeAtlas()
        self.notebook = Notebook()
        self.plugin = RatelimitGeo(clock=lambda: self.now_ns, job=self._begin)  # type: ignore[arg-type]  # a fake
        self.plugin.set_up(
            Host(
                config=Settings(**settings),
                log=self.notebook,
                bus=self.notebook,
                state_dir=folder,
                features=features or {},
                common=Common(Coldness(bytes(16)), Watch(), self.atlas, cast("PrefixBook", FakeBook(listed))),
            )
        )

    def _begin(self, batch: bytes, now_ns: int) -> FakeJob:
        self.jobs.append(FakeJob(batch, now_ns))
        return self.jobs[-1]

    def look(self, *rows: dict[str, Any], after_ns: int = 0) -> list[Evidence]:
        """Show it records some time later."""
        self.now_ns += after_ns
        [detector] = self.plugin.detectors()
        return [each for each in detector.look(records(*rows), self.now_ns) if each is not None]

    def hear(self, kind: str, **data: Any) -> None:
        """Tell it of an event."""
        self.plugin.subscriptions()[kind](kind, data)


@pytest.fixture
def running(tmp_path: Path) -> Running:
    """Return the plugin as it is by default."""
    return Running(tmp_path)


# Travel.


def test_certificate_that_is_uploaded_on_two_continents(running: Running) -> None:
    """One piece of evidence against who came second, which is weak by itself, for an hour."""
    assert running.look(upload(IN_BERLIN)) == []
    [found] = running.look(upload(IN_TOKYO, NOW + 10 * SECOND), after_ns=10 * SECOND)
    assert (found.subject, found.kind, found.weight) == (client_key(IN_TOKYO), "travel_certificate", 1.5)
    assert found.until_ns == NOW + 10 * SECOND + 60 * MINUTE
    assert found.reason.endswith("certificate seen in Berlin (DE) and in Tokyo (JP)")
    assert running.plugin.metrics() | {"journeys": 1.0, "principals": 1.0} == running.plugin.metrics()


@pytest.mark.parametrize(
    "other",
    [
        {"status": 422, "upstream": NO_UPSTREAM},
        {"status": 200, "upstream": NO_UPSTREAM},
        {"status": 422},
        {"subject": b""},
        {"operation": OperationClass.CERT},
    ],
    ids=["refused", "not sent", "not taken", "many certificates", "a get"],
)
def test_what_is_no_update_of_a_certificate(running: Running, other: dict[str, Any]) -> None:
    """Only what the keyserver took, of one certificate, counts."""
    assert running.look({**upload(IN_BERLIN), **other}, {**upload(IN_TOKYO), **other}) == []
    assert running.plugin.metrics()["principals"] == 0


def test_two_certificates(running: Running) -> None:
    """One of them was here, the other one there: nobody has travelled."""
    assert running.look(upload(IN_BERLIN), {**upload(IN_TOKYO), "subject": KEY[::-1]}) == []


def test_rare_program(running: Running) -> None:
    """What hardly anybody uses, in two places: a hint, as soon as it is known what is rare."""
    usual = [
        by(bytes([10, *divmod(number, 256), 1]), fingerprint=np.void(b"usual".ljust(16))) for number in range(ENOUGH)
    ]
    rare = [by(packed, NOW + number, fingerprint=PROGRAM) for number, packed in enumerate((IN_BERLIN, IN_TOKYO))]
    assert running.look(*rare) == []
    [found] = running.look(*usual, *rare)
    assert (found.subject, found.kind, found.weight) == (client_key(IN_TOKYO), "travel_program", 0.5)
    assert [each.subject for each in running.look(*rare, *rare)] == [client_key(IN_BERLIN)]  # it acts again
    assert running.look(*rare, *rare) == []


def test_program_is_looked_at_once_in_a_block(running: Running) -> None:
    """However many requests a client makes; and those without TLS are not looked at."""
    block = records(*[by(IN_BERLIN, fingerprint=PROGRAM)] * 3, by(IN_BERLIN), by(IN_TOKYO, fingerprint=PROGRAM))
    assert ratelimit_geo._programs(block).tolist() == [0, 4]
    assert ratelimit_geo._programs(records(by(IN_BERLIN))).tolist() == []
    assert running.look(by(IN_BERLIN)) == []


def test_account_that_another_plugin_knows(running: Running) -> None:
    """Its sightings weigh most; those of another plugin are other accounts, and rubbish harms nobody."""
    for plugin, packed in (("one", IN_BERLIN), ("two", IN_TOKYO)):
        data = {"principal": "alice", "client": address_text(packed)}
        running.hear("plugin.said", plugin=plugin, topic="sighting", data=data)
    assert running.look(by(IN_BERLIN)) == []
    running.hear("plugin.said", plugin="one", topic="sighting", data=data)
    running.hear("plugin.said", plugin="one", topic="another", data={})
    for rubbish in ({}, {"principal": 1, "client": 2.5}, {"principal": "alice", "client": "nowhere"}):
        running.hear("plugin.said", plugin="one", topic="sighting", data=rubbish)
    [found] = running.look(by(IN_BERLIN))
    assert (found.subject, found.kind, found.weight) == (client_key(IN_TOKYO), "travel_account", 4.5)
    assert running.plugin.metrics()["unread"] == 3


def test_evidence_is_neither_repeated_nor_weakened(running: Running) -> None:
    """What weighs less is said again when what was said is half over."""
    later = [30 * SECOND, 31 * SECOND, 5 * MINUTE, 5 * MINUTE + SECOND]
    there_and_back = [upload(packed, NOW + at) for packed, at in zip([IN_BERLIN, IN_TOKYO] * 2, later, strict=True)]
    found = running.look(*there_and_back, after_ns=6 * MINUTE)
    assert [each.subject for each in found] == [client_key(IN_TOKYO), client_key(IN_BERLIN)]
    slow = [upload(packed, NOW + hours * 60 * MINUTE) for packed, hours in ((IN_BERLIN, 30), (IN_TOKYO, 33))]
    [weaker] = running.look(*slow, after_ns=33 * 60 * MINUTE)
    assert weaker.weight < 1.5


@pytest.mark.parametrize("name", ["certificate_weight", "program_weight"])
def test_source_without_weight(tmp_path: Path, name: str) -> None:
    """It is not listened to."""
    running = Running(tmp_path, **{name: 0.0})
    found = running.look(upload(IN_BERLIN), upload(IN_TOKYO))
    assert bool(found) == (name != "certificate_weight")


@pytest.mark.parametrize("kind", [NetworkKind.TOR, NetworkKind.MOBILE, NetworkKind.RESIDENTIAL, NetworkKind.UNKNOWN])
def test_lists_know_more_than_databases(tmp_path: Path, kind: NetworkKind) -> None:
    """What a list calls an exit is one, wherever it is said to be; what it does not know does no harm."""
    running = Running(tmp_path, listed=Origin(64_500, kind, 0).pack())
    found = [each.weight for each in running.look(upload(IN_BERLIN), upload(IN_TOKYO))]
    assert found == {NetworkKind.TOR: [], NetworkKind.MOBILE: [1.5 / 4]}.get(kind, [1.5])


def test_feature_that_is_off(tmp_path: Path) -> None:
    """Clients that are not among the percentage are not watched."""
    assert Running(tmp_path, {"travel": 0}).look(upload(IN_BERLIN), upload(IN_TOKYO)) == []


# Clusters.


def town(number: int) -> bytes:
    """Return an address in the town of many."""
    return bytes([100, 0, number, 1])


def refused(packed: bytes, **fields: Any) -> dict[str, Any]:
    """Return a record of a request that a limit refused."""
    return by(
        packed, **{"action": Action.LIMIT, "reason": Reason.LIMIT, "status": 429, "upstream": NO_UPSTREAM} | fields
    )


def meet_others(running: Running) -> None:
    """Let it learn where people are."""
    for minute in range(2 + LEAST_OTHERS // NEWCOMERS):
        some = [
            by(bytes([10, number, minute, 1])) for number in range(250)
        ]  # others each time: chance draws no one twice
        running.look(*some, after_ns=MINUTE)
        running.look(*some)


def test_cluster_becomes_evidence_and_an_event(running: Running) -> None:
    """Once a minute, in a process of its own; a piece for each member, and one event of each cluster."""
    meet_others(running)
    assert running.jobs == []
    running.look(*(refused(town(number)) for number in range(9)), after_ns=MINUTE)
    [job] = running.jobs
    assert running.look(by(IN_BERLIN), after_ns=SECOND) == []
    job.done = True
    found = running.look(by(IN_BERLIN), after_ns=SECOND)
    assert {each.subject for each in found} == {client_key(town(number)) for number in range(9)}
    assert {(each.kind, each.weight) for each in found} == {("cluster", 1.0)}
    assert "9 suspicious clients of 9 networks" in found[0].reason
    said = running.notebook.close(ratelimit_geo_reply()).said
    assert {(each.topic, each.data["about"], each.data["networks"]) for each in said} >= {("cluster", "network", 9)}
    assert running.plugin.routes()["clusters"]({})["clusters"][0]["where"] == "of Some Hosting (AS64500)"
    running.look(by(IN_BERLIN), after_ns=MINUTE)
    running.jobs[1].done = True
    assert running.look(by(IN_BERLIN)) == []  # it was said, for an hour
    assert running.notebook.close(ratelimit_geo_reply()).said == ()
    assert running.plugin.metrics() | {"suspicious": 9.0} == running.plugin.metrics()


def ratelimit_geo_reply() -> Any:
    """Return an empty answer, to which the notebook adds what was said."""
    from proxy.plugins.wire import Reply  # noqa: PLC0415 - a detail of the notebook

    return Reply()


@pytest.mark.parametrize(
    ("fields", "suspicious"),
    [
        ({}, True),
        ({"reason": Reason.TRAP, "action": Action.TARPIT}, True),
        ({"reason": Reason.BANNED, "action": Action.DENY}, True),
        ({"action": Action.LIMIT + SHADOW}, True),
        ({"action": Action.DELAY}, False),
        ({"action": Action.DELAY + SHADOW}, False),
        ({"reason": Reason.BUSY}, False),
        ({"reason": Reason.MALFORMED, "action": Action.DENY}, False),
        ({"reason": Reason.UNKNOWN, "action": Action.DENY}, False),
        ({"reason": Reason.UPSTREAM, "action": Action.ALLOW}, False),
    ],
)
def test_who_is_suspicious(running: Running, fields: dict[str, Any], suspicious: bool) -> None:  # noqa: FBT001 - a row
    """Who was refused for what he does, or would have been; slips and full houses are nobody's fault."""
    running.look(refused(IN_BERLIN, **fields))
    assert running.plugin.metrics()["suspicious"] == suspicious


def test_who_is_accused_is_suspicious(running: Running) -> None:
    """By a verdict, or by the evidence of another detector if it weighs enough; networks are not clients."""
    running.hear("verdict.raised", subject="192.0.2.1", after="priced")
    running.hear("verdict.raised", subject="192.0.2.0/24", after="priced")
    found = [{"subject": "2001:db8:1:2::/64", "weight": 3.5}, {"subject": "198.51.100.1", "weight": 2.9}]
    running.hear("evidence.found", plugin="other", found=found)
    assert running.plugin.metrics()["suspicious"] == 2
    assert IN_TOKYO[:8].ljust(16, b"\0") in running.atlas.asked


def test_newcomers_are_few(running: Running) -> None:
    """However many clients come in a minute."""
    for _ in range(5):
        running.look(*(by(bytes([10, number, 0, 1])) for number in range(250)))
    assert running.plugin.metrics()["others"] == NEWCOMERS


def test_clusters_that_are_off(tmp_path: Path) -> None:
    """Nobody is watched for them, or nobody is told of."""
    running = Running(tmp_path, cluster_weight=0.0)
    running.look(refused(IN_BERLIN))
    assert running.plugin.metrics()["suspicious"] == 0
    running = Running(tmp_path, {"clusters": 0})
    meet_others(running)
    running.look(*(refused(town(number)) for number in range(9)), after_ns=MINUTE)
    running.jobs[0].done = True
    assert running.look(by(IN_BERLIN)) == []
    assert running.plugin.metrics()["clusters"] == 2


@pytest.mark.parametrize("error", [JobFailed("took too long"), ValueError("broke off")])
def test_process_that_fails(running: Running, error: Exception) -> None:
    """It is told, and tried again the next minute."""
    meet_others(running)
    running.look(*(refused(town(number)) for number in range(9)), after_ns=MINUTE)
    running.jobs[0].error = error
    running.look(by(IN_BERLIN))
    assert str(error) in running.plugin.health()
    running.look(by(IN_BERLIN), after_ns=MINUTE)
    running.jobs[1].done = True
    running.look(by(IN_BERLIN))
    assert str(error) not in running.plugin.health()


def test_stop_ends_the_process(running: Running) -> None:
    """Nothing outlives the plugin."""
    meet_others(running)
    running.look(*(refused(town(number)) for number in range(9)), after_ns=MINUTE)
    running.plugin.stop()
    running.plugin.stop()
    assert running.jobs[0].ended


# Health.


def test_what_it_does_without(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a database of cities, and without the library, and it says so."""
    assert "no database of cities (HKPGUARD_GEOIP_CITY)" in running.plugin.health()
    assert "scikit-learn" not in running.plugin.health()
    monkeypatch.setattr(ratelimit_geo, "find_spec", lambda name: None if name == "sklearn" else importlib.util)
    assert "scikit-learn is not installed (hkpguard[geo])" in running.plugin.health()


def test_it_is_built_in_and_off() -> None:
    """Its mode is set as that of other plugins."""
    built_in = BUILT_IN[NAME]
    assert (built_in.usual, built_in.switch) == ("off", "")
    plugin = built_in.make()
    assert (plugin.name, plugin.features) == (NAME, ("travel", "clusters"))
