"""What a fuzz target is, and where they are.

A target is a function of bytes. It raises AssertionError where something is wrong with what is tested, returns a word
that says what became of the input, and is the same for hypothesis, atheris, the plain loop and the sanitizer run.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAMES = (
    "request_head",
    "reply_head",
    "chunks",
    "forwarding",
    "classifier",
    "proxy_header",
    "ja4",
    "shared_memory",
    "uploads",
    "prefixes",
)
REGRESSIONS = Path(__file__).parent / "regressions"
"""A folder for each target, with the inputs that once made it fail; a test replays them."""

ACCEPTED = "accepted"
REFUSED = "refused"
INCOMPLETE = "incomplete"


class Target(NamedTuple):
    """One thing to fuzz.

    Attributes:
        check: Tries an input; returns what became of it.
        seeds: Makes inputs to begin with.
        words: What inputs are made of, for the mutator.
        longest: Bytes of an input.
        share: Of all inputs of a run, parts in a hundred.

    """

    check: Callable[[bytes], str]
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[bytes, ...]
    longest: int
    share: int


def load(name: str) -> Target:
    """Return the target of that name."""
    target: Target = import_module(f"tests.fuzz.targets.{name}").TARGET
    return target
