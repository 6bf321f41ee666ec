"""The order of starting, and what makes it impossible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.plugins.needs import plan

NAMES = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("needs", "order", "problems"),
    [
        ({}, [], {}),
        ({"a": ["b"], "b": ["c"], "c": []}, ["c", "b", "a"], {}),
        ({"a": ["x"], "b": []}, ["b"], {"a": "needs x, which is off or not there"}),
        (
            {"a": ["b"], "b": ["x", "y"]},
            [],
            {"b": "needs x, y, which is off or not there", "a": "needs b, which is off or not there"},
        ),
        ({"a": ["a"]}, [], {"a": "needs itself: a < a"}),
        ({"a": ["b"], "b": ["a"], "c": []}, ["c"], {"a": "needs itself: a < b < a", "b": "needs itself: a < b < a"}),
    ],
)
def test_plan(needs: dict[str, list[str]], order: list[str], problems: dict[str, str]) -> None:
    """Each comes after what it needs; what is missing, and circles, are told in words."""
    assert plan(needs) == (order, problems)


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3)))
def test_plan_is_whole(needs: dict[str, list[str]]) -> None:
    """Everybody is either in the order, after all that it needs, or has a problem."""
    order, problems = plan(needs)
    assert sorted([*order, *problems]) == sorted(needs)
    for place, name in enumerate(order):
        assert set(needs[name]) <= set(order[:place])
