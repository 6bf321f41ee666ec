"""A network of one's own.

A program of the machine that walks over all its sockets takes a core for 20 ms when an attack holds 20,000 of them
open. It sees none of another network namespace.
"""

import os
import subprocess
import sys
from shutil import which

ENTERED = "BENCH_SECLUDED"
TRIAL_SECONDS = 5


def seclude() -> None:
    """Start this command again in a network namespace with nothing but a loopback; go on here if that is denied."""
    if ENTERED in os.environ or not _can():
        return
    script = 'ip link set lo up && exec "$@"'
    again = [sys.executable, "-m", "bench", *sys.argv[1:]]
    os.environ[ENTERED] = "1"
    os.execvp("unshare", ["unshare", "--net", "sh", "-c", script, "sh", *again])  # noqa: S606 - its own command line


def is_secluded() -> bool:
    """Whether this process has a network of its own."""
    return ENTERED in os.environ


def _can() -> bool:
    if which("unshare") is None or which("ip") is None:
        return False
    trial = ["unshare", "--net", "ip", "link", "set", "lo", "up"]
    return subprocess.run(trial, capture_output=True, check=False, timeout=TRIAL_SECONDS).returncode == 0
