"""How long a process works at a stretch while others wait for its core."""

import os
import subprocess
import sys

import pytest

# `sched_getattr` says in its 25th byte how long slices are, since Linux 6.12 also of ordinary threads.
ASK = """
import ctypes, os, platform, sys
from fastpath.slices import shorten_slice
os.sched_setscheduler(0, int(sys.argv[1]), os.sched_param(0))
asked = shorten_slice(int(sys.argv[2]))
attributes = (ctypes.c_uint64 * 6)()
number = {"x86_64": 315, "aarch64": 275}[platform.machine()]
assert ctypes.CDLL(None).syscall(number, 0, attributes, ctypes.sizeof(attributes), 0) == 0
print(asked, os.sched_getscheduler(0), attributes[3])
"""
MS = 1_000_000


def asked(policy: int, ns: int) -> tuple[bool, int, int]:
    """Return what a process of this class is told, the class it is in then, and how long its slices are, ns."""
    done = subprocess.run([sys.executable, "-c", ASK, str(policy), str(ns)], capture_output=True, text=True, check=True)
    answer, policy_then, slice_ns = done.stdout.split()
    return answer == "True", int(policy_then), int(slice_ns)


def knows_slices() -> bool:
    """Whether this kernel tells of slices."""
    return asked(os.SCHED_OTHER, MS)[2] != 0


def test_slices_are_short() -> None:
    """As short as was asked for, in the class in which it was before."""
    if not knows_slices():
        pytest.skip("Linux before 6.12 has no slices to ask for.")
    assert asked(os.SCHED_OTHER, MS // 2) == (True, os.SCHED_OTHER, MS // 2)


@pytest.mark.parametrize("policy", [os.SCHED_BATCH, os.SCHED_IDLE])
def test_another_class_is_left_alone(policy: int) -> None:
    """Who has put the process there knows why."""
    assert asked(policy, MS // 2)[:2] == (False, policy)
