"""Steps: all at once or one by one, what comes of them is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.steps import whole

if TYPE_CHECKING:
    from models.steps import Steps


def adding(done: list[int], most: int) -> Steps[int]:
    """Note each step, and return their sum."""
    for number in range(most):
        done.append(number)
        yield
    return sum(done)


def test_whole() -> None:
    """All steps that are left are done, and their result is returned; there may be none."""
    done: list[int] = []
    steps = adding(done, 4)
    next(steps)
    assert (whole(steps), done) == (6, [0, 1, 2, 3])
    assert whole(adding(done, 0)) == 6
