"""What a figure was measured on and with: it means nothing without that."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench import precedence, seclusion

PACKAGES = ("uvloop", "aiohttp", "cython", "hkpguard")
PROGRAMS = {
    "haproxy": ("haproxy", "-v"),
    "nginx": ("nginx", "-v"),
    "wrk": ("wrk", "-v"),
    "openssl": ("openssl", "version"),
    "gpg": ("gpg", "--version"),
    "slowhttptest": ("dpkg-query", "--show", "slowhttptest"),
    "commit": ("git", "describe", "--always", "--dirty"),
}


def describe() -> dict[str, object]:
    """Return machine, kernel, versions and the command line, ready for JSON."""
    return {
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "network": "its own" if seclusion.is_secluded() else "the machine's",
        "scheduled": "before all others" if precedence.is_taken() else "as all others",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average_at_start": os.getloadavg()[0],
        **{name: _package(name) for name in PACKAGES},
        **{name: said(command) for name, command in PROGRAMS.items()},
    }


def said(command: Sequence[str]) -> str:
    """Return the first line that a program prints, or why there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except OSError as error:
        return f"not found: {error.strerror}"
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else ""


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
