"""Each fuzz target for a moment: seeds, changed seeds, any bytes, what once failed, and that nothing is left behind.

`make fuzz` does it for longer, guided by coverage; `make sanitize` on modules that check every access.
"""

from __future__ import annotations

import functools
import gc
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import Mutator
from tests.fuzz.target import NAMES, REGRESSIONS, load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fuzz.target import Target

EXAMPLES = settings.default.max_examples if settings.default else 100
TURNS = 400
MOST_BLOCKS = TURNS // 10  # a target that keeps one block of memory for each input keeps TURNS

every_target = pytest.mark.parametrize("name", NAMES)


@functools.cache
def mutator_of(name: str) -> Mutator:
    """Return the mutator of a target."""
    return Mutator(load(name), 0)


@every_target
def test_seeds(name: str) -> None:
    """Every seed passes, and some of them are accepted: they are worth changing."""
    target = load(name)
    outcomes = {target.check(seed[: target.longest]) for seed in target.seeds()}
    assert "accepted" in outcomes


@every_target
@settings(max_examples=EXAMPLES, deadline=None)
@given(number=st.integers(0, 1 << 62))
def test_changed_seeds(name: str, number: int) -> None:
    """What is made of the seeds passes."""
    mutator = mutator_of(name)
    mutator.restart(number)
    for _ in range(10):
        load(name).check(mutator.next())


@every_target
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.binary(max_size=400))
@example(data=b"")
def test_any_bytes(name: str, data: bytes) -> None:
    """What nobody would send passes as well."""
    load(name).check(data)


SAVED = sorted(path for path in REGRESSIONS.rglob("*") if path.is_file() and path.suffix != ".md")


@pytest.mark.parametrize("path", SAVED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_once_failed(path: Path) -> None:
    """An input that once made a target fail passes."""
    load(path.parent.name).check(path.read_bytes())


def test_regressions_have_targets() -> None:
    """No saved input lies where no target would find it."""
    assert {path.parent.name for path in SAVED} <= set(NAMES)


def blocks_left(target: Target, inputs: list[bytes]) -> int:
    """Return how many blocks of memory are left after these inputs."""
    gc.collect()
    before = sys.getallocatedblocks()
    for data in inputs:
        target.check(data)
    gc.collect()
    return sys.getallocatedblocks() - before


@every_target
def test_nothing_is_left_behind(name: str) -> None:
    """Refused, accepted or incomplete: an input that has been dealt with keeps no memory."""
    target, mutator = load(name), mutator_of(name)
    mutator.restart(1)
    inputs = [mutator.next() for _ in range(TURNS)]
    # In some rounds something is made that stays, by NumPy too; what leaks does so in each.
    assert any(blocks_left(target, inputs) < MOST_BLOCKS for _ in range(8))
