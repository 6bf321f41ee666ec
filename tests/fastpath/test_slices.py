"""How long a process works at a stretch while others wait for its core."""

import ctypes
import os
import platform
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastpath.slices import shorten_slice

GETS_ATTRIBUTES = {"x86_64": 315, "aarch64": 275}  # sched_getattr
MS = 1_000_000


def asked(policy: int, ns: int) -> tuple[bool, int, int]:
    """Return what a thread of this class is told, the class it is in then, and how long its slices are, ns."""

    def ask() -> tuple[bool, int, int]:
        os.sched_setscheduler(0, policy, os.sched_param(0))
        answer = shorten_slice(ns)
        attributes = (ctypes.c_uint64 * 6)()
        call = GETS_ATTRIBUTES[platform.machine()]
        assert ctypes.CDLL(None).syscall(call, 0, attributes, ctypes.sizeof(attributes), 0) == 0
        return answer, os.sched_getscheduler(0), attributes[3]

    with ThreadPoolExecutor(1) as thread:  # all this is of the thread alone
        return thread.submit(ask).result()


def test_slices_are_short() -> None:
    """As short as was asked for, in the class in which it was before."""
    if not asked(os.SCHED_OTHER, MS)[2]:
        pytest.skip("Linux before 6.12 has no slices to ask for.")
    assert asked(os.SCHED_OTHER, MS // 2) == (True, os.SCHED_OTHER, MS // 2)


@pytest.mark.parametrize("policy", [os.SCHED_BATCH, os.SCHED_IDLE])
def test_another_class_is_left_alone(policy: int) -> None:
    """Who has put the process there knows why."""
    assert asked(policy, MS // 2)[:2] == (False, policy)
