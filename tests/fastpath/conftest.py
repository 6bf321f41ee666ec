"""Memory that forked children share, and the forking."""

import mmap
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess

import pytest

Start = Callable[[Callable[[int], None], int], list[BaseProcess]]


@pytest.fixture
def shared() -> Callable[[int], memoryview]:
    """Return a maker of zeroed memory of so many bytes that children share with their parent."""
    return lambda size: memoryview(mmap.mmap(-1, size))


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a starter of `count` children that run `work(i)` at once; who lives at the end is killed."""
    children: list[BaseProcess] = []

    def start(work: Callable[[int], None], count: int) -> list[BaseProcess]:
        context = multiprocessing.get_context("fork")
        gate = context.Barrier(count)

        def run(i: int) -> None:
            gate.wait(30)
            work(i)

        mine: list[BaseProcess] = [context.Process(target=run, args=(i,)) for i in range(count)]
        for child in mine:
            child.start()
        children.extend(mine)
        return mine

    yield start
    for child in children:
        child.kill()
        child.join()


@pytest.fixture
def together(start: Start) -> Callable[[Callable[[int], None], int], None]:
    """Return a runner of `count` children that run `work(i)` at once and must all end well."""

    def together(work: Callable[[int], None], count: int) -> None:
        for child in start(work, count):
            child.join(60)
            assert child.exitcode == 0

    return together
