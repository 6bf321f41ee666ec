"""The plugin `ml-abuse-detector`: evidence from records, models that change while it runs, and its figures."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydantic import ValidationError

from fastpath import NetworkKind, Origin, PrefixBook, Standing, client_key
from fastpath.prefix_build import Rows, build
from fastpath.prefixes import prefix_bytes
from models.coldness import Coldness
from models.detector import BEHAVIOUR, UNDECIDED_MOST, UNUSUAL_WEIGHT, WRITING, WRITING_WEIGHT, Finding
from models.scorer import MAIN, SHIPPED, Scorer
from models.shelf import Shelf
from models.steps import whole
from models.training.fit import Model
from models.training.shipped import put
from models.watch import Watch
from proxy.plugins.contract import Common, Host
from proxy.plugins.ml_abuse import KINDS, NETWORK, REFRESH_NS, MlAbuseDetector, Settings
from proxy.plugins.runner import Notebook
from proxy.policy.fusion import PRIOR, standing_for
from proxy.settings.kinds import MINUTE
from tests.models.models_for_tests import model
from tests.models.traffic_for_tests import SECOND, fingerprints, visit

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from proxy.policy.fusion import Evidence


class Site:
    """The plugin, and what it looks at."""

    def __init__(self, state: Path, origins: PrefixBook | None = None, **settings: object) -> None:
        """Set it up."""
        self.plugin, notebook = MlAbuseDetector(), Notebook()
        self.common = Common(Coldness(bytes(16)), Watch(), origins=origins)
        folder, config = state / "plugins" / MlAbuseDetector.name, Settings.model_validate(settings)
        self.plugin.set_up(Host(config=config, log=notebook, bus=notebook, state_dir=folder, common=self.common))

    def look(self, records: NDArray[np.void], now_ns: int) -> list[Evidence]:
        """Show records, as the analyst does, and return what is found."""
        whole(self.common.watch.feed(records))
        return [each for each in self.plugin.look(records, now_ns) if each is not None]

    def version(self) -> str:
        """Return that of the main model."""
        return str(self.plugin.routes()["models"]({})[MAIN]["version"])


def eager(version: str = "eager", **known: object) -> Model:
    """Return a model that accuses everybody, of which this is known."""
    made = model()
    scale = made.manifest.calibration
    high = scale.model_copy(update={"log_odds": tuple(tuple(9.0 for _ in row) for row in scale.log_odds)})
    return Model(made.graph, made.manifest.model_copy(update={"version": version, "calibration": high, **known}))


def all_of(kind: NetworkKind) -> PrefixBook:
    """Return a book in which all of IPv4 is of a kind."""
    book = PrefixBook(memoryview(mmap.mmap(-1, prefix_bytes(1))), 1)
    for _ in book.publish(build(Rows.of([(bytes(4), 0, Origin(kind=kind).pack())]))):
        pass
    return book


def test_evidence(tmp_path: Path) -> None:
    """What the detector finds is evidence of its kind, bounded by the settings, for as long as they say."""
    own = tmp_path / "models"
    own.mkdir()
    put(eager(), own)
    site = Site(tmp_path, most_weight=6.0, minutes=3)
    [found] = [each for each in site.look(visit(fingerprints(8)), 5 * SECOND) if each.kind == "behaviour"]
    assert (found.weight, found.until_ns, found.shadow) == (6.0, 5 * SECOND + 3 * MINUTE, False)
    assert "abuse-trees eager" in found.reason
    assert site.plugin.metrics()["looks"] == 1


@pytest.mark.parametrize("kind", NetworkKind)
@pytest.mark.parametrize("network", [True, False])
def test_network_adds_to_what_is_found(tmp_path: Path, kind: NetworkKind, network: bool) -> None:  # noqa: FBT001 - a row
    """Servers for rent and VPNs make an accusation a little weightier, no other network does, and none speaks alone."""
    book = all_of(kind)
    quiet = Site(tmp_path, book, network=network).look(visit(fingerprints(8)), 5 * SECOND)
    assert [each for each in quiet if each.kind == NETWORK] == []
    own = tmp_path / "models"
    own.mkdir()
    put(eager(), own)
    found = Site(tmp_path, book, network=network).look(visit(fingerprints(8)), 5 * SECOND)
    weights = [each.weight for each in found if each.kind == NETWORK]
    assert weights == ([KINDS[kind]] if network and kind in KINDS else [])
    assert len({each.subject for each in found}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_network_is_not_counted_twice(tmp_path: Path, kind: NetworkKind) -> None:
    """To what a model says that has learnt from networks nothing is added for one, of any kind, and what was added
    before it came is taken back.
    """
    own = tmp_path / "models"
    own.mkdir()
    put(eager(), own)
    site = Site(tmp_path, all_of(kind))
    before = site.look(visit(fingerprints(8)), 5 * SECOND)
    assert [each.weight for each in before if each.kind == NETWORK] == [KINDS[kind]]
    put(eager("learnt", networks={"hosting": 0.5}), own)
    after = site.look(visit(fingerprints(7), start_ns=5 * SECOND), REFRESH_NS + 5 * SECOND)
    assert [each.weight for each in after if each.kind == NETWORK] == [0.0]
    assert any(each.weight for each in after if each.kind == BEHAVIOUR)


def test_network_goes_with_what_it_added_to(tmp_path: Path) -> None:
    """What does not hold of a client any more is taken back with what its network added."""
    plugin = Site(tmp_path, all_of(NetworkKind.HOSTING)).plugin
    for weight, added in ((5.0, 0.4), (0.0, 0.0)):
        evidence = plugin._network(Finding(client_key(bytes(4)), BEHAVIOUR, weight, "x"), MINUTE)
        assert evidence is not None
        assert (evidence.weight, evidence.until_ns) == (added, MINUTE)


@pytest.mark.parametrize("weight", KINDS.values())
def test_network_changes_no_standing(weight: float) -> None:
    """What it adds to a doubt moves nobody, and what it adds to an accusation is not the next standing."""
    accusation = Shelf(MAIN, (SHIPPED,), Scorer).model.manifest.weight
    assert standing_for(PRIOR + UNDECIDED_MOST + weight, Standing.WELCOME) == Standing.WELCOME
    assert standing_for(PRIOR + accusation + weight, Standing.WELCOME) == standing_for(
        PRIOR + accusation, Standing.WELCOME
    )


def test_user_ids_in_uploads(tmp_path: Path) -> None:
    """What was shown of uploads is looked at once, and becomes evidence that moves nobody."""
    site = Site(tmp_path)
    site.common.watch.show([(client_key(bytes(4)), b"qzxkvbnmwr tkqjxhzpl")] * 4)
    [found] = site.look(visit(fingerprints(1)), MINUTE)
    assert (found.subject, found.kind, found.weight) == (client_key(bytes(4)), WRITING, WRITING_WEIGHT)
    assert site.look(visit(fingerprints(1)), MINUTE) == []


def test_writing_changes_no_standing() -> None:
    """It is advice: with a doubt, or an accusation and what is unusual, it leads to no other standing."""
    accusation = Shelf(MAIN, (SHIPPED,), Scorer).model.manifest.weight
    for weight in (0.0, UNDECIDED_MOST, accusation, accusation + UNUSUAL_WEIGHT):
        alone, with_it = PRIOR + weight, PRIOR + weight + WRITING_WEIGHT
        assert standing_for(with_it, Standing.WELCOME) == standing_for(alone, Standing.WELCOME)


def test_another_model(tmp_path: Path) -> None:
    """A model that was trained meanwhile is in use within a minute; a damaged one is told of and changes nothing."""
    site = Site(tmp_path)
    first = site.version()
    own = tmp_path / "models"
    own.mkdir()
    path = put(eager("new"), own)
    site.look(visit(fingerprints(1)), REFRESH_NS)
    assert site.version() == "new" != first
    path.write_bytes(b"damaged")
    site.look(visit(fingerprints(1)), 2 * REFRESH_NS + 1)
    assert site.version() == "new"
    assert "SHA-256" in site.plugin.health()


def test_blocks_as_they_come(tmp_path: Path) -> None:
    """A block that may not be written to, as the analyst has them, is looked at."""
    block = np.frombuffer(visit(fingerprints(8)).tobytes(), visit(["A"]).dtype)
    assert Site(tmp_path).look(block, SECOND) == []


@pytest.mark.parametrize("settings", [{"most_weight": 11}, {"minutes": 0}, {"more": 1}])
def test_settings(settings: dict[str, object]) -> None:
    """Settings out of range are refused."""
    with pytest.raises(ValidationError):
        Settings.model_validate(settings)
