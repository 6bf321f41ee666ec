"""The trainer on public sets: what is small there is learnt as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("lightgbm")

from bench import public_sets
from bench.public_sets import CHOICES, USUAL, Choice, _judged

if TYPE_CHECKING:
    from bench.public_sets import Figures, Flags


def test_seventy_sessions_are_enough() -> None:
    """In our tables each look is there several times; where it is not, leaves may be that much smaller."""
    features = np.random.default_rng(5).normal(size=(70, 5))
    bad = features[:, 0] > 0
    assert _judged(features, bad, np.arange(70) % 5 != 0).area > 0.9


def test_what_is_kept_for_the_test_chooses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the rows of the test are, the trees are of the size that does best in the others."""
    made = np.random.default_rng(5)
    features, train = made.normal(size=(300, 4)), np.arange(300) % 3 != 0
    bad = features[:, 0] * features[:, 1] > 0
    grown: list[Choice] = []
    scores = public_sets._scores

    def noted(features: Figures, bad: Flags, others: Figures, choice: Choice) -> Figures:
        grown.append(choice)
        return scores(features, bad, others, choice)

    monkeypatch.setattr(public_sets, "_scores", noted)
    _judged(features, bad, train)
    chosen = grown[-1]
    _judged(np.where(train[:, None], features, made.normal(size=features.shape)), bad ^ ~train, train)
    assert grown[-1] == chosen != USUAL
    assert {*grown} == {*CHOICES}
