"""When the site is under attack, what requests cost then, and who hears of it: in virtual time."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from structlog.testing import capture_logs

from fastpath import BUCKETS, Counters, Region, Tariff
from models.load_history import BIN_S, BINS, DAY, LoadHistory
from proxy import load_outlook
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.load_outlook import FILE, HIGH, LOW, MIDDLE, Outlook
from proxy.load_watch import LoadWatch
from proxy.policy.actions import Action
from proxy.telemetry.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from proxy.plugins.events import Event

SECOND, MS = 1_000_000_000, 1_000_000
NOW_S = 2_000_000_100  # the beginning of a bin
USUAL = 300  # requests in five minutes: one a second
CERT, IDENTITY = OperationClass.CERT, OperationClass.IDENTITY
assert NOW_S % BIN_S == 0


def history(days: int = 3) -> LoadHistory:
    """Return days in which certificates were asked for evenly, and answered within a millisecond."""
    made = LoadHistory(BUCKETS)
    made.last = NOW_S // BIN_S - 1
    made.figures[:, :, BINS - days * DAY :] = 0
    made.figures[:, CERT, BINS - days * DAY :] = np.array([[USUAL], [1000], [0.0]])
    return made


class Site:
    """A node, its counters, and who watches them."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, days: int = 3) -> None:
        """Take settings without HKPGUARD_; so many days are known."""
        (folder / FILE).write_bytes(history(days).to_bytes())
        self._settings = {"STATE_DIR": str(folder), "ADAPT__MODE": "enforce"} | dict(settings or {})
        self.region = Region.create(clients=64, workers=1, upstreams=1)
        self.region.close()
        self._counters = Counters(self.region.counters(0))
        self.tariff = Tariff(self.region.tariff)
        self.events: list[Event] = []
        self.second = 0
        self.watch = LoadWatch(
            self.config(), self.region, publish=self.events.append, wall=lambda: float(NOW_S + self.second)
        )

    def config(self, settings: Mapping[str, str] | None = None) -> Config:
        """Return the configuration, with other settings."""
        chosen = self._settings | dict(settings or {})
        return Config.from_env({f"HKPGUARD_{name}": value for name, value in chosen.items()})

    @property
    def now_ns(self) -> int:
        """The time."""
        return (1_000_000 + self.second) * SECOND

    def pass_by(
        self, seconds: int, each: int = 1, upstream_ns: int = MS, refused: int = 0, status: int = 200
    ) -> list[int]:
        """Let requests for certificates come each second; return what one costs at the end of each."""
        prices = []
        for _ in range(seconds):
            for _ in range(each):
                self._counters.record(CERT, Action.ALLOW, status, 0, 0, upstream_ns, -1)
            for _ in range(refused):
                self._counters.record(CERT, Action.LIMIT, 429, 0, -1, -1, -1)
            self.second += 1
            self.watch.turn(self.now_ns)
            prices.append(self.tariff.times(CERT, self.now_ns))
        return prices


def test_attack_comes_and_goes(tmp_path: Path) -> None:
    """A flood that makes the keyserver slow makes requests dearer, step by step, and less so after it."""
    site = Site(tmp_path)
    with capture_logs() as log:
        assert set(site.pass_by(60)) == {1}
        prices = site.pass_by(120, each=50, upstream_ns=400 * MS)
        assert prices == sorted(prices)
        assert prices[-1] == 4
        assert prices.index(4) < 60
        assert "under attack: cert costs 4 tokens" in site.watch.degraded
        after = site.pass_by(300)
    assert after == sorted(after, reverse=True)
    assert after[-1] == 1
    assert site.watch.degraded == ""
    assert [line["event"] for line in log if line["log_level"] in {"warning", "info"}] == [
        "under attack: requests cost more",
        "the attack is over: requests cost what they did",
    ]
    told = [event.values(addresses=True) for event in site.events]
    assert [event["times"] for event in told] == [2, 3, 4, 3, 2, 1]
    assert [event["stage"] for event in told] == ["attack"] * 5 + ["calm"]
    assert {event["operation"] for event in told} == {"cert"}


@pytest.mark.parametrize(
    "traffic",
    [
        {"each": 50},
        {"each": 1, "upstream_ns": 900 * MS},
        {"each": 1, "refused": 500},
        {"each": 0, "refused": 500},
        {"each": 13, "refused": 500},
        {"each": 1, "status": 503},
    ],
)
def test_no_attack(tmp_path: Path, traffic: dict[str, int]) -> None:
    """A busy hour that the keyserver bears, one when it is slow, and any flood that is refused raise no price."""
    assert set(Site(tmp_path).pass_by(180, **traffic)) == {1}


@pytest.mark.parametrize("traffic", [{"upstream_ns": 400 * MS}, {"status": 503}, {"refused": 100}])
def test_signs_of_distress(tmp_path: Path, traffic: dict[str, int]) -> None:
    """Late answers, failures, and refusals that are unusual are signs each, together with the load."""
    assert Site(tmp_path).pass_by(60, each=50, **traffic)[-1] > 1


@pytest.mark.parametrize("days", [0, 1])
def test_nothing_rises_before_the_usual_load_is_known(tmp_path: Path, days: int) -> None:
    """With less than two days of history there is no attack."""
    assert set(Site(tmp_path, days=days).pass_by(120, each=50, upstream_ns=400 * MS)) == {1}


def test_price_ends_with_the_analyst(tmp_path: Path) -> None:
    """Nobody says the price again: after five seconds it is one."""
    site = Site(tmp_path)
    site.pass_by(120, each=50, upstream_ns=400 * MS)
    assert site.tariff.times(CERT, site.now_ns + 5 * SECOND - 1) == 4
    assert site.tariff.times(CERT, site.now_ns + 5 * SECOND) == 1


@pytest.mark.parametrize(
    ("settings", "known", "price"),
    [
        ({"ADAPT__MODE": "shadow"}, 4, 1),
        ({"MODE": "shadow"}, 4, 1),
        ({"ADAPT__MODE": "off"}, 1, 1),
        ({"ADAPT__MOST": "2"}, 2, 2),
        ({"ADAPT__MOST": "1"}, 1, 1),
    ],
)
def test_modes(tmp_path: Path, settings: dict[str, str], known: int, price: int) -> None:
    """Shadow mode only tells, off does not look, and the price never exceeds its bound."""
    site = Site(tmp_path, settings)
    assert site.pass_by(120, each=50, upstream_ns=400 * MS)[-1] == price
    assert site.watch.pressures[CERT].times == known


def test_reload_to_shadow_ends_prices_at_once(tmp_path: Path) -> None:
    """An operator who has had enough need not wait."""
    site = Site(tmp_path)
    site.pass_by(120, each=50, upstream_ns=400 * MS)
    site.watch.reload(site.config({"ADAPT__MODE": "shadow"}))
    assert site.tariff.times(CERT, site.now_ns) == 1


def test_bins_are_written_down(tmp_path: Path) -> None:
    """What was measured of whole bins is known after a restart, of a flood no more than the forecast's most."""
    site = Site(tmp_path)
    site.pass_by(2 * BIN_S + 10, each=3)
    site.watch.close()
    loads = LoadHistory.from_bytes((tmp_path / FILE).read_bytes(), BUCKETS, NOW_S // BIN_S + 3).figures[0, CERT]
    most = Outlook(str(tmp_path / "none"), NOW_S)
    assert np.isnan(most.expected(NOW_S)).all()
    high = (np.sqrt(USUAL) + 3.5 * 0.5) ** 2
    assert loads[-3:].tolist() == pytest.approx([USUAL, high, high], rel=0.01)


def test_metrics(tmp_path: Path) -> None:
    """The price, whether there is an attack, and what is forecast, never an address."""
    site = Site(tmp_path, {"ADAPT__MODE": "shadow"})
    site.pass_by(120, each=50, upstream_ns=400 * MS)
    values = {
        (metric.name, *sample.labels.values()): sample.value
        for metric in site.watch.collect()
        for sample in metric.samples
    }
    assert values["hkpguard_under_attack", "cert"] == 1
    assert values["hkpguard_under_attack", "words"] == 0
    assert values["hkpguard_price_factor", "cert"] == 1
    assert values["hkpguard_load_forecast", "cert", "low"] < USUAL < values["hkpguard_load_forecast", "cert", "high"]


# The file, and the other process.


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"x" * (9 << 20)])
def test_damaged_file_begins_anew(tmp_path: Path, data: bytes) -> None:
    """What cannot be read is told, and replaced by what is measured from now on."""
    (tmp_path / FILE).write_bytes(data)
    with capture_logs() as log:
        outlook = Outlook(str(tmp_path), NOW_S)
    assert [line["event"] for line in log] == ["the history of load is begun anew"]
    outlook.save()
    assert outlook.problem == ""
    assert LoadHistory.from_bytes((tmp_path / FILE).read_bytes(), BUCKETS, NOW_S // BIN_S).last == 0


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """It is told once, and is no reason to stop; when it can be written again, that is all."""
    blocked = tmp_path / "file"
    blocked.touch()
    with capture_logs() as log:
        outlook = Outlook(str(blocked / "state"), NOW_S)
        outlook.save()
        outlook.save()
    assert [line["log_level"] for line in log].count("error") == 1
    assert outlook.problem.startswith("the history of load is not written down")
    blocked.unlink()
    outlook.save()
    assert outlook.problem == ""


def answer(bounds: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bytes:
    """Return bytes as the other process would."""
    file = io.BytesIO()
    np.save(file, bounds)
    return file.getvalue()


GOOD = np.stack([np.full(DAY, 7.0), np.full(DAY, 5.0), np.full(DAY, 9.0)])[None]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (answer(GOOD), True),
        (answer(GOOD[:, ::-1]), False),
        (answer(GOOD * np.nan), False),
        (answer(GOOD[:, :, 1:]), False),
        (answer(GOOD.astype(np.float32)), False),
        (b"", False),
        (b"x" * (2 << 20), False),
    ],
)
async def test_forecast_of_the_other_process(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: bytes,
    taken: bool,  # noqa: FBT001 - a row of a table
) -> None:
    """It is taken if it makes sense; else the median stays, and that is told."""
    (tmp_path / FILE).write_bytes(history().to_bytes())
    outlook = Outlook(str(tmp_path), NOW_S)
    before = outlook.expected(NOW_S)

    async def run(_counts: bytes) -> bytes:
        return given

    monkeypatch.setattr(load_outlook, "_run_forecaster", run)
    monkeypatch.setattr(load_outlook, "find_spec", lambda _name: object())
    with capture_logs() as log:
        await outlook.foresee_better()
    after = outlook.expected(NOW_S)
    assert bool(log) is not taken
    expected = [7.0, 5.0, 9.0] if taken else before[CERT].tolist()
    assert [after[CERT, bound] for bound in (MIDDLE, LOW, HIGH)] == expected
    np.testing.assert_array_equal(after[IDENTITY], before[IDENTITY])


async def test_other_process_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without statsmodels nothing is asked of it."""

    async def run(_counts: bytes) -> bytes:
        raise AssertionError

    (tmp_path / FILE).write_bytes(history().to_bytes())
    monkeypatch.setattr(load_outlook, "_run_forecaster", run)
    monkeypatch.setattr(load_outlook, "find_spec", lambda _name: None)
    await Outlook(str(tmp_path), NOW_S).foresee_better()


def test_half_a_bin_says_nothing(tmp_path: Path) -> None:
    """A bin that was not measured from its beginning is not known."""
    outlook = Outlook(str(tmp_path), NOW_S)
    zero = np.zeros(BUCKETS)
    outlook.add(NOW_S // BIN_S, Reading(100 * SECOND, zero, zero, np.zeros((BUCKETS, 16)), 0, 0))
    outlook.save()
    assert LoadHistory.from_bytes((tmp_path / FILE).read_bytes(), BUCKETS, NOW_S // BIN_S).last == 0
