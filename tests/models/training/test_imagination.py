"""What is imagined: the recorded looks as they were, and what nobody recorded, in its place and with its weight."""

from __future__ import annotations

import numpy as np
import pytest

from models.features import FEATURES, NAMES
from models.training.imagination import BAD, COPIES, PROBE, PROBING, SLIP, imagined
from models.training.table import joined
from tests.models.models_for_tests import ABUSIVE, clients

LOOKS = joined([clients("mail", identity_share=0.6), clients("walker", ABUSIVE), clients("flood", ABUSIVE)])
HONEST, WALKER, FLOOD = 0, 1, 2


def made(upload_share: float = 0.9) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return features, whether abusive, weights, and which of the three each of the looks as recorded is of."""
    features = LOOKS.features.copy()
    which = np.repeat([HONEST, WALKER, FLOOD], 20)
    features[:, [NAMES.index(name) for name in BAD]] = 0.0
    features[:, NAMES.index("upload_share")] = np.where(which == FLOOD, upload_share, 0.0)
    found = imagined(features, LOOKS.abusive, np.ones(len(features)))
    return found.features, found.abusive, found.weight, which


def bad(features: np.ndarray) -> np.ndarray:
    """Return what share of requests is bad, one way or another; of texts a sixth is."""
    shares = features[:, [NAMES.index(name) for name in BAD[:-1]]].sum(axis=1)
    found: np.ndarray = np.maximum(shares, features[:, NAMES.index(BAD[-1])] / 0.16)
    return found


def test_as_recorded() -> None:
    """The first copy is what was recorded; all copies are within the ranges of their features."""
    features, abusive, _, which = made()
    assert np.array_equal(abusive[: len(which)], which != HONEST)
    assert bad(features[: len(which)]).max() == 0
    for place, feature in enumerate(FEATURES):
        assert feature.lowest <= features[:, place].min(), feature.name
        assert features[:, place].max() <= feature.highest + 1e-9, feature.name


def test_slips_and_probes() -> None:
    """Honest looks have slips, and no more; looks with more are at abusers, and weigh a part of what these do."""
    features, abusive, weight, _ = made(upload_share=0.0)
    assert 0 < bad(features[~abusive]).max() <= SLIP
    probing = bad(features) > SLIP
    assert abusive[probing].all()
    assert bad(features[probing]).min() >= PROBE
    assert weight[probing].sum() == pytest.approx(PROBING * weight[abusive].sum())
    assert (weight[abusive].sum(), weight[~abusive].sum()) == pytest.approx((40.0, 20.0))


def test_http_says_nothing() -> None:
    """In all but the recorded looks both versions of HTTP are as frequent, whoever it is."""
    features, abusive, _, which = made(upload_share=0.0)
    version = features[len(which) : COPIES * len(which), NAMES.index("http_1_0_share")]
    kind = abusive[len(which) : COPIES * len(which)]
    assert set(version.tolist()) == {0.0, 1.0}
    assert version[kind].mean() == pytest.approx(0.5, abs=0.1)
    assert version[~kind].mean() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(("upload_share", "both"), [(0.9, True), (0.3, False)])
def test_uploads_say_nothing(upload_share: float, *, both: bool) -> None:
    """Whoever mostly uploads is there as an honest client as well, with the same weight."""
    features, abusive, weight, which = made(upload_share)
    flood = features[:, NAMES.index("upload_share")] > 0.25
    honest = flood & ~abusive & (bad(features) == 0)
    assert bool(honest.any()) == both
    if both:
        assert weight[honest].sum() == pytest.approx(weight[flood & abusive & (bad(features) == 0)].sum())
        assert honest.sum() == COPIES * np.count_nonzero(which == FLOOD)
