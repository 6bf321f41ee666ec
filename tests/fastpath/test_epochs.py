"""Which edition of a thing is the present one."""

from __future__ import annotations

import mmap
import os

import pytest

from fastpath.epochs import EPOCH_BYTES, Epochs


def test_memory_that_does_not_fit() -> None:
    """Too little memory is the caller's error and is named."""
    with pytest.raises(ValueError, match="epochs"):
        Epochs(memoryview(bytearray(EPOCH_BYTES - 8)))


def test_change_begins_an_epoch() -> None:
    """Each change begins another epoch of the thing, and leaves others alone."""
    epochs = Epochs(memoryview(bytearray(EPOCH_BYTES)))
    before = epochs.of(7), epochs.of(8)
    epochs.advance(7)
    assert epochs.of(7) != before[0]
    assert epochs.of(8) == before[1]
    assert epochs.of(2**64 - 1) == 0
    assert epochs.advanced == 1


def test_changes_of_all_processes_count() -> None:
    """Changes made at once by several processes are all told."""
    memory = memoryview(mmap.mmap(-1, EPOCH_BYTES))
    children = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            mine = Epochs(memory)
            for _ in range(100_000):
                mine.advance(5)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    assert Epochs(memory).of(5) == 400_000
