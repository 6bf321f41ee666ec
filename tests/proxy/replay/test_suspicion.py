"""What the models make of a log that is played to a node, and what follows from it.

Whom the model accuses is said in `conftest`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fastpath import NetworkKind, Standing
from fastpath.origin import unpack
from proxy.config import Config
from proxy.plugins.ml_abuse import MlAbuseDetector
from proxy.policy.actions import Action, Reason
from proxy.policy.fusion import MOST_WEIGHT, Evidence
from proxy.replay import suspicion
from proxy.replay.detection import NAME, Detection, detection
from proxy.replay.line import SECOND_NS, Line
from proxy.replay.node import START_NS
from proxy.replay.world import World
from proxy.settings.kinds import HOUR
from tests.geo.databases_for_tests import write
from tests.models.traffic_for_tests import fingerprints

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

BEGIN_NS = 1_700_000_000 * SECOND_NS
SCRAPER, PERSON = bytes([203, 0, 113, 7]), bytes([198, 51, 100, 7])
MODE = "HKPGUARD_PLUGINS__ML_ABUSE_DETECTOR__MODE"
ENFORCED = {MODE: "enforce"}


def _get(second: float, digits: str, address: bytes, *, gpg: bool) -> Line:
    target = f"/pks/lookup?op=get&options=mr&search=0x{digits}"
    at_ns = BEGIN_NS + int(second * SECOND_NS)
    return Line(at_ns, address, "GET", target, 200, 1701, took_us=4000, flags=int(gpg))


SCRAPE = [_get(number / 4, digits, SCRAPER, gpg=False) for number, digits in enumerate(sorted(fingerprints(900)))]
REFRESH = [_get(number / 4, digits, PERSON, gpg=True) for number, digits in enumerate(fingerprints(300))]
BOTH = sorted([*SCRAPE, *REFRESH])


def _world(environ: Mapping[str, str], found: Detection | None = None) -> World:
    config = Config.from_env({"HKPGUARD_TABLE_CLIENTS": "1024"} | dict(environ))
    return World(config, detection=found or detection(config))


def _played(lines: Iterable[Line], environ: Mapping[str, str], found: Detection | None = None) -> World:
    world = _world(environ, found)
    world.play(lines)
    world.end()
    return world


def _accused(world: World) -> dict[int, suspicion.Accusation]:
    assert world.suspicion is not None
    return world.suspicion.accused


def _by_verdict(world: World) -> int:
    return sum(count for (_, reason, _), count in world.tally.verdicts.items() if reason == Reason.VERDICT)


def test_a_scraper_is_accused_and_a_refresh_is_not(accusing: Mapping[str, str]) -> None:
    """With what speaks against it, the weightiest first."""
    accused = _accused(_played(BOTH, accusing))
    assert list(accused) == [_world({}).node.client(SCRAPER).key]
    [accusation] = accused.values()
    assert accusation.standing >= Standing.PRICED
    assert accusation.reasons[0].startswith("behaves like an abuser")
    assert "order 1 (usually" in accusation.reasons[0]


def test_shadow_mode_moves_nobody(accusing: Mapping[str, str]) -> None:
    """It is the usual mode: all that was said to anybody is what it is without models."""
    shadow, without = _played(BOTH, accusing), _played(BOTH, {MODE: "off"})
    assert _accused(shadow)
    assert without.suspicion is None
    assert (shadow.tally.verdicts, shadow.tally.allowed) == (without.tally.verdicts, without.tally.allowed)
    assert shadow.node.tables.verdicts.used(START_NS) == 0


@pytest.mark.parametrize(("most_weight", "standing"), [("4.5", Standing.PRICED), ("7", Standing.LIMITED)])
def test_in_enforce_mode_the_scraper_pays(most_weight: str, standing: Standing, accusing: Mapping[str, str]) -> None:
    """Its requests cost more, or are refused, as in the guard; those of others cost what they cost before."""
    weighed = {**accusing, "HKPGUARD_PLUGINS__ML_ABUSE_DETECTOR__MOST_WEIGHT": most_weight}
    shadow, enforced = _played(BOTH, weighed), _played(BOTH, {**weighed, **ENFORCED})
    scraper, person = (shadow.node.client(address).key for address in (SCRAPER, PERSON))
    assert _accused(shadow)[scraper].standing == _accused(enforced)[scraper].standing == standing
    assert _by_verdict(shadow) == 0
    assert (_by_verdict(enforced) > 0) == (standing >= Standing.DELAYED)
    assert enforced.tally.clients[scraper].fates[0] < shadow.tally.clients[scraper].fates[0]
    assert enforced.tally.clients[person].fates == shadow.tally.clients[person].fates


@pytest.mark.parametrize("environ", [{"HKPGUARD_MODE": "shadow"}, {"HKPGUARD_VERDICTS__MODE": "shadow"}])
def test_what_binds_nobody_refuses_nobody(environ: Mapping[str, str], accusing: Mapping[str, str]) -> None:
    """A verdict that workers do not obey in a live guard is not obeyed here."""
    world = _played(BOTH, {**accusing, **ENFORCED, **environ})
    assert _accused(world)
    assert all(shadow for (_, reason, shadow) in world.tally.verdicts if reason == Reason.VERDICT)


class Sure(MlAbuseDetector):
    """Has one thing to say of everybody in a block, in as many words as it takes to be believed."""

    def look(self, block: np.ndarray, now_ns: int) -> Iterator[Evidence | None]:
        """See `Plugin`."""
        for client in set(block["client"].tolist()):
            yield Evidence(client, "certain", MOST_WEIGHT, "made up", now_ns + HOUR)


@pytest.mark.parametrize(
    ("environ", "bans"),
    [
        ({}, 1),
        ({"HKPGUARD_BANS__MODE": "off"}, 0),
        ({"HKPGUARD_VERDICTS__MODE": "shadow"}, 0),
        ({"HKPGUARD_VERDICTS__MODE": "shadow", "HKPGUARD_BANS__MODE": "shadow"}, 1),
        ({"HKPGUARD_VERDICTS__MODE": "off", "HKPGUARD_BANS__MODE": "shadow"}, 0),
    ],
)
def test_the_worst_verdict_is_an_offence(
    environ: Mapping[str, str], bans: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the warden has it: unless bans are off, or verdicts bind less than bans do."""
    monkeypatch.setattr("proxy.policy.fusion.PRIOR", -3.0)  # else no source bans alone
    world = _played(SCRAPE[:3], environ, Detection("made up", Sure(), mode="enforce"))
    assert world.node.bans.placed == bans


def test_looks_are_late_by_a_bounded_number_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look is at FEWEST requests, or at what came in LATE_NS if that is more; at MOST, or LATEST_NS, at most."""
    monkeypatch.setattr(suspicion, "FEWEST", 5)
    monkeypatch.setattr(suspicion, "MOST", 20)
    looks: list[int] = []

    class Counting(Sure):
        def look(self, block: np.ndarray, _now_ns: int) -> Iterator[Evidence | None]:
            looks.append(len(block))
            return iter(())

    spread = [_get(number * 11, "00", PERSON, gpg=True) for number in range(7)]
    dense = [_get(1000 + number / 1000, "00", PERSON, gpg=True) for number in range(48)]
    rare = [_get(2000 + number * 500, "00", PERSON, gpg=True) for number in range(4)]
    _played([*spread, *dense, *rare], {"HKPGUARD_MODE": "shadow"}, Detection("made up", Counting(), mode="shadow"))
    assert looks == [5, 3, 20, 20, 8, 3]


@pytest.mark.parametrize("patient", [True, False])
@pytest.mark.parametrize("waited_us", [0, 50_000])
def test_who_asks_for_one_thing_after_the_other_is_seen_to(waited_us: int, *, patient: bool) -> None:
    """However it was delayed, here or by the guard of the log, and whether it would have waited for that or not."""
    blocks: list[np.ndarray] = []

    class Keeping(Sure):
        def look(self, block: np.ndarray, _now_ns: int) -> Iterator[Evidence | None]:
            blocks.append(block)
            return iter(())

    took_us = 4000 + waited_us
    log = [
        line._replace(start_ns=BEGIN_NS + number * (took_us + 1000) * 1000, took_us=took_us, wait_us=waited_us)
        for number, line in enumerate(REFRESH)
    ]
    config = Config.from_env({"HKPGUARD_TABLE_CLIENTS": "1024"})
    world = World(config, patient=patient, detection=Detection("made up", Keeping(), mode="shadow"))
    world.play(log)
    world.end()
    assert world.tally.verdicts[(Action.DELAY, Reason.LIMIT, 0)]
    records = np.concatenate(blocks)
    records = records[records["action"] <= Action.DELAY]
    begin_ns = records["time_ns"] - records["total_us"].astype(np.int64) * 1000
    assert (begin_ns[1:] >= records["time_ns"][:-1]).all()


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, f"{NAME} is in shadow mode"),
        (ENFORCED, f"{NAME} is in enforce mode"),
        (ENFORCED | {"HKPGUARD_MODE": "shadow"}, f"{NAME} is in shadow mode"),
        (ENFORCED | {"HKPGUARD_VERDICTS__MODE": "off"}, "lets nobody obey"),
        ({MODE: "off"}, f"{NAME} is off"),
    ],
)
def test_the_mode_is_that_of_the_configuration(environ: Mapping[str, str], told: str) -> None:
    """Never stricter than that of the guard."""
    assert told in detection(Config.from_env(environ)).told


def test_a_damaged_model_is_told_of(tmp_path: Path) -> None:
    """The shipped one is used instead."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "abuse-trees.onnx").write_bytes(b"damaged")
    found = detection(Config.from_env({"HKPGUARD_STATE_DIR": str(tmp_path)}))
    assert found.detector is not None
    assert "abuse-trees" in found.told
    assert [each.name for each in tmp_path.iterdir()] == ["models"]


def test_networks_are_looked_up(tmp_path: Path, accusing: Mapping[str, str]) -> None:
    """Where there are databases, what is found of a client has the kind of its network with it, as in a guard; a file
    that cannot be read is told of.
    """
    known = {"192.0.2.0/24": {"autonomous_system_organization": "Some Hosting"}}
    file = write(tmp_path / "asn.mmdb", known)
    found = detection(Config.from_env({**accusing, "HKPGUARD_GEOIP_ASN": f"{file},{tmp_path / 'none'}"}))
    assert found.common is not None
    assert found.common.origins is not None
    assert unpack(found.common.origins.look_up(bytes([192, 0, 2, 1]))).kind is NetworkKind.HOSTING
    assert "none" in found.told
    quiet = {**accusing, "HKPGUARD_GEOIP_ASN": str(file), "HKPGUARD_PLUGINS__ML_ABUSE_DETECTOR__NETWORK": "false"}
    unasked = detection(Config.from_env(quiet))
    assert unasked.common is not None
    assert unasked.common.origins is None


@pytest.mark.parametrize("error", [ImportError("No module named 'onnxruntime'"), ValueError("no model is good")])
def test_without_models_the_log_is_replayed_all_the_same(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the report says why nobody was looked at."""

    def broken(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(MlAbuseDetector, "set_up", broken)
    world = _played(REFRESH[:10], {})
    assert world.suspicion is None
    assert str(error) in world.detection.told
    assert world.tally.allowed == 10
