"""Work in steps: a generator that may be left alone for a while after each `yield`.

A step takes some tenths of a millisecond at most. Whoever shares a core with others lets them go first between steps
(`proxy.courtesy`), and whoever does not does all of them at once (`whole`). What comes of it is the same.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")
Steps = Generator[None, None, Result]


def whole(steps: Generator[object, None, Result]) -> Result:
    """Do all steps; return what comes of them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
