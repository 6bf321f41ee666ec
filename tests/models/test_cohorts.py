"""Who belongs together, and who only looks alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.key_arrays import network_keys
from models.cohorts import COLD, LASTS_S, MISSING, STEPS, UPLOADING, WEIGHT, Cohorts, cells
from models.coldness import Coldness
from models.features import FEATURES, NAMES
from models.steps import whole
from models.watch import Watch
from models.windows import Windows
from tests.models.cohorts_for_tests import START, address, merged, refreshing, uploading
from tests.models.traffic_for_tests import IDENTITY, SECOND, fingerprints, visit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.detector import Finding

SECRET = bytes(range(16))


class Site:
    """Cohorts, and what they look at."""

    def __init__(self, *, coldness: Coldness | None = None, rows: int = 65_536) -> None:
        """Know nobody."""
        self._watch = Watch(Windows(rows))
        self._lookout = self._watch.lookout()
        self.cohorts = Cohorts(self._watch.windows, coldness=coldness)

    def look(self, records: NDArray[np.void], now_ns: int) -> list[Finding]:
        """Show records, and return what is said then."""
        whole(self._watch.feed(records))
        for due in self._lookout.take():
            self.cohorts.note(due, now_ns)
        return [each for each in self.cohorts.look(now_ns) if each is not None]


def named(site: Site, records: NDArray[np.void]) -> set[int]:
    """Return who is named once all records were seen."""
    return {finding.client for finding in site.look(records, int(records["time_ns"].max()))}


@pytest.mark.parametrize(("networks", "found"), [(7, False), (8, True), (300, True)])
def test_flood_through_many_networks(networks: int, found: bool) -> None:  # noqa: FBT001 - a row of a table
    """Eight networks that upload in the same manner are a cohort among people who refresh; seven are none."""
    site = Site()
    members = named(site, merged([*uploading(range(networks)), *refreshing(range(200))]))
    assert members == ({address(each) for each in range(networks)} if found else set())
    assert {cohort.about for cohort in site.cohorts.found} == ({UPLOADING} if found else set())


def test_one_network_is_no_cohort() -> None:
    """However many clients of it behave alike: it has a budget."""
    flood = [uploading([1], host=host)[0] for host in range(1, 101)]
    assert named(Site(), merged([*flood, *refreshing(range(200))])) == set()


def test_many_paces_are_many_cells() -> None:
    """Clients that have nothing in common but what they do are no cohort."""
    flood = [uploading([each], pause_ms=10.0 ** (each % 7))[0] for each in range(42)]
    assert named(Site(), merged([*flood, *refreshing(range(200))])) == set()


def test_what_most_do_is_usual() -> None:
    """Where half of all networks upload like that, it says nothing of those who behave alike."""
    others = [uploading([1000 + each], pause_ms=4.0 ** (each % 10))[0] for each in range(200)]
    assert named(Site(), merged([*uploading(range(20)), *others])) == set()


def searching(first: int, count: int, status: int) -> list[NDArray[np.void]]:
    """Return clients that search for ten addresses, all found or none."""
    subjects = [[f"p{each}-{turn}@example.org" for turn in range(10)] for each in range(count)]
    return [
        visit(wanted, start_ns=START + each, client=address(each, first=first), operation=IDENTITY, status=status)
        for each, wanted in enumerate(subjects)
    ]


def test_harvesters() -> None:
    """Those who search for addresses and hardly find any; who finds his is left alone, at the same pace."""
    site = Site()
    members = named(site, merged([*searching(30, 30, 404), *searching(31, 5, 200), *refreshing(range(200))]))
    assert members == {address(each, first=30) for each in range(30)}
    assert {cohort.about for cohort in site.cohorts.found} == {MISSING}


def test_larger_crowd_hides() -> None:
    """Who does it among twice as many honest clients that behave the same way is not found: a known limit."""
    records = merged([*searching(30, 30, 404), *searching(31, 60, 200), *refreshing(range(200))])
    assert named(Site(), records) == set()


def cold_walk(usual_is_cold: bool) -> tuple[Site, NDArray[np.void]]:  # noqa: FBT001 - which world
    """Return people who refresh, a few of them at the pace of walkers of many networks, after hours of people.

    Each of them has keys that many want, or that nobody else wants.
    """
    coldness = Coldness(SECRET)
    keys = np.random.default_rng(1).integers(2, 2**63, 100_000, np.uint64)
    people = [address(each, first=20) for each in range(100)]
    for hour in range(3):
        for number, person in enumerate(people):
            wanted = keys[20 * number :][:20] if usual_is_cold else keys[:20]
            networks = network_keys(np.full(20, person, np.uint64))
            coldness.feed(networks, wanted, START + (3600 * hour - 7200) * SECOND)
    for each in range(50):
        networks = network_keys(np.full(10, address(each), np.uint64))
        coldness.feed(networks, keys[50_000 + 10 * each :][:10], START + SECOND)
    walk = [visit(fingerprints(10, seed=each), start_ns=START, client=address(each)) for each in range(50)]
    slower = [visit(fingerprints(10), start_ns=START, client=person, pause_ms=1000) for person in people[10:]]
    return Site(coldness=coldness), merged([*walk, *slower, *refreshing(range(10))])


def test_walkers_behave_like_people_but_for_what_is_cold() -> None:
    """All of them ask for ten keys at one pace; those are named whose keys nobody else wants."""
    site, records = cold_walk(usual_is_cold=False)
    assert named(site, records) == {address(each) for each in range(50)}
    assert {cohort.about for cohort in site.cohorts.found} == {COLD}


def test_where_all_is_cold_nobody_is_suspicious() -> None:
    """On a small server each key is wanted by one person."""
    site, records = cold_walk(usual_is_cold=True)
    assert named(site, records) == set()


def test_finding() -> None:
    """It weighs less than what moves somebody alone, says why, and comes again before it is over, not sooner."""
    site = Site()
    records = merged([*uploading(range(20)), *refreshing(range(200))])
    now_ns = int(records["time_ns"].max())
    first = site.look(records, now_ns)
    assert len(first) == 20
    assert {finding.weight for finding in first} == {WEIGHT}
    assert "20 clients of 20 networks that behave alike and upload" in first[0].reason
    nothing = records[:0]
    assert site.look(nothing, now_ns + LASTS_S // 3 * SECOND) == []
    assert len(site.look(nothing, now_ns + LASTS_S * SECOND)) == 20
    assert site.look(nothing, now_ns + 7 * 3600 * SECOND) == []
    assert site.cohorts.found == []


def test_few_rows() -> None:
    """Who had to make room for others is not taken for them, and nothing grows."""
    site = Site(rows=1024)
    flood = merged(uploading(range(900)))
    now_ns = int(flood["time_ns"].max())
    site.look(flood, now_ns)
    people = merged(refreshing(range(3000)))
    people["time_ns"] += now_ns - START
    clients = {finding.client for finding in site.look(people, int(people["time_ns"].max()) + 20 * SECOND)}
    assert clients <= {address(each) for each in range(900)}
    assert site.cohorts.members <= {address(each) for each in range(900)}


@given(st.data())
def test_half_a_step_apart_is_in_one_cell(data: Any) -> None:
    """Of any value and one that differs by less than a fifth of a step, one rounding makes no difference."""
    name = data.draw(st.sampled_from([*STEPS]))
    feature = FEATURES[NAMES.index(name)]
    value = data.draw(st.floats(feature.lowest, feature.highest, width=32))
    other = min(feature.highest, value + 0.19 * STEPS[name])
    made = np.zeros((2, len(FEATURES)), np.float32)
    made[:, NAMES.index(name)] = value, other
    one, two = cells(made)
    assert (one == two).any()
