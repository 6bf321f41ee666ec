"""Cohorts become evidence, and the operator can ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.cohorts import LASTS_S, WEIGHT
from models.coldness import Coldness
from models.steps import whole
from models.watch import Watch
from proxy.config import Config
from proxy.plugins.built_in import BUILT_IN
from proxy.plugins.contract import Common, Host, NoSettings
from proxy.plugins.runner import Notebook
from tests.models.cohorts_for_tests import merged, refreshing, uploading

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000
NAME = "ratelimit-ml"


def test_cohort_becomes_evidence(tmp_path: Path) -> None:
    """One piece for each member, for an hour, and a route and figures that tell of it."""
    plugin = BUILT_IN[NAME].make()
    notebook = Notebook()
    common = Common(Coldness(bytes(16)), Watch())
    plugin.set_up(Host(config=NoSettings(), log=notebook, bus=notebook, state_dir=tmp_path, common=common))
    records = merged([*uploading(range(20)), *refreshing(range(200))])
    now_ns = int(records["time_ns"].max())
    [detector] = plugin.detectors()
    whole(common.watch.feed(records))
    evidence = [each for each in detector.look(records, now_ns) if each is not None]
    assert len({each.subject for each in evidence}) == len(evidence) == 20
    assert {(each.kind, each.weight, each.until_ns) for each in evidence} == {
        ("cohort", WEIGHT, now_ns + LASTS_S * SECOND)
    }
    assert plugin.metrics()["members"] == 20
    assert plugin.metrics()["cohorts"] >= 1
    largest = plugin.routes()["cohorts"]({})["cohorts"][0]
    assert (largest["common"], largest["networks"]) == ("upload", 20)
    assert np.isclose(largest["usual_share"], 1 / 202, atol=0.001)


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({}, "off"),
        ({"ADAPT__MODE": "enforce"}, "enforce"),
        ({"ADAPT__MODE": "off"}, "off"),
        ({"ADAPT__MODE": "enforce", "MODE": "shadow"}, "shadow"),
        ({"MODE": "off"}, "off"),
    ],
)
def test_mode_is_that_of_prices(settings: dict[str, str], mode: str) -> None:
    """One switch for both, never stricter than the guard."""
    built_in = BUILT_IN[NAME]
    assert built_in.switch == "HKPGUARD_ADAPT__MODE"
    assert built_in.mode is not None
    assert built_in.mode(Config.from_env({f"HKPGUARD_{name}": value for name, value in settings.items()})) == mode
