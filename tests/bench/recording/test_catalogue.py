"""Who is recorded, and for what."""

from __future__ import annotations

from collections import Counter
from functools import partial
from inspect import signature

import pytest

from bench.recording.catalogue import TOOLS, Family, Split


def test_no_name_occurs_twice() -> None:
    """A tool has one split, so none can be in both."""
    assert max(Counter(tool.name for tool in TOOLS).values()) == 1


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("split", Split)
def test_each_family_has_tools_for_training_and_for_tests(family: Family, split: Split) -> None:
    """What is never trained is tested, and what is tested has something to be learnt from."""
    assert [tool for tool in TOOLS if tool.family is family and tool.split is split]


def test_no_act_is_in_both_splits_unless_the_program_is_another() -> None:
    """The same script with other figures would be the same tool under another name; where scripts differ in who they
    are, or in how, it is by an argument that the other split does not have.
    """
    telling = {"program", "order", "pace", "shape", "agent", "what", "at_a_time", "rate"}
    seen: dict[tuple[object, ...], Split] = {}
    for tool in TOOLS:
        for case in tool.cases:
            assert isinstance(case.act, partial)
            arguments = sorted((name, repr(value)) for name, value in case.act.keywords.items() if name in telling)
            key = (case.act.func.__name__, case.networks, *arguments)
            assert seen.setdefault(key, tool.split) is tool.split, key


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_arguments_fit(tool: object) -> None:
    """An act gets the arguments that it takes, all of them."""
    for case in tool.cases:  # type: ignore[attr-defined]
        signature(case.act).bind(None)


def test_there_are_sixty_runs_of_each_label() -> None:
    """Enough that one in a hundred is not one."""
    runs = Counter[str]()
    for tool in TOOLS:
        runs[tool.family.label] += len(tool.cases) + min(tool.enforced, len(tool.cases))
    assert runs["legitimate"] >= 60
    assert runs["abusive"] >= 60


def test_refreshes_come_in_all_sizes_from_all_distances() -> None:
    """The acceptance test of all limits: no refresh may look like abuse."""
    refreshes = {
        (case.act.keywords["keys"], case.rtt_ms)
        for tool in TOOLS
        if tool.name == "gpg refresh"
        for case in tool.cases
        if isinstance(case.act, partial)
    }
    assert {(keys, rtt_ms) for keys in (5, 30, 300, 1000) for rtt_ms in (0, 20, 200)} <= refreshes


def test_what_a_run_did_can_be_read() -> None:
    """The act and its figures, as they are written into runs.jsonl."""
    assert TOOLS[0].cases[0].what == "refresh keys=5"
