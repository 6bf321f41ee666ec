"""Runs tests and fuzz targets on modules that AddressSanitizer and UndefinedBehaviorSanitizer watch.

    python -m tests.fuzz.sanitize [--inputs N] [FOLDER ...]

Cython's checks of bounds and of uninitialised views are on as well; see `build.py`. An access outside of its memory,
undefined arithmetic or memory that nothing refers to any more ends the run with an error and a stack.

- LD_PRELOAD: Python itself is not built for it, so the runtimes have to be there before it.
- PYTHONMALLOC=malloc: else Python's allocator hides from them where one object ends.
- Leaks are looked for at the end of each process. CPython 3.11 itself ends without any. numpy does not, and is imported
  while nobody looks.
- Output of C goes past pytest (`--capture=sys`): a report that it holds back would die with the process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.fuzz.build import built

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = (
    "tests/fastpath",
    "tests/contract",
    "tests/proxy/cluster/test_followed.py",
    "tests/proxy/cluster/test_ledger.py",
    "tests/proxy/cluster/test_ledger_machine.py",
    "tests/proxy/http",
    "tests/proxy/hkp",
    "tests/proxy/policy",
    "tests/proxy/telemetry",
    "tests/fuzz",
)
# Programs that a test starts (curl) are not to have the runtimes.
TESTS = "import os, sys, pytest; del os.environ['LD_PRELOAD']; sys.exit(pytest.main(sys.argv[1:]))"
# In the same order each time: the test that leaks is found by halving the run.
PYTEST = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--capture=sys")
INPUTS = 2_000_000
LIBRARIES = ("libasan.so", "libubsan.so")
# pydantic keeps what it makes at its import. Each look at `SSLSocket.session`, which only tests take, costs CPython
# 3.11 a session of OpenSSL's; we use OpenSSL through Python's `ssl` alone, and its objects are still looked for.
SUPPRESSED = ("_pydantic_core", "libcrypto")
# A suppression would have to find numpy on stacks that end before it. Programs without the runtimes read this as well.
FIRST = """
import ctypes
runtimes = ctypes.CDLL(None)
if hasattr(runtimes, "__lsan_disable"):
    runtimes.__lsan_disable()
    import numpy
    runtimes.__lsan_enable()
"""


def library(name: str) -> str:
    """Return the path of a runtime of the compiler that built the modules."""
    compiler = os.environ.get("CC", "gcc")
    found = subprocess.run([compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def environment(tree: Path) -> dict[str, str]:
    """Return the environment in which the sanitizers run."""
    suppressions = tree / "leaks.txt"
    suppressions.write_text("".join(f"leak:{name}\n" for name in SUPPRESSED))
    (tree / "sitecustomize.py").write_text(FIRST)
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(map(library, LIBRARIES)),
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(tree),
        "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=0",
        "LSAN_OPTIONS": f"suppressions={suppressions}:print_suppressions=0",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(tree / ".hypothesis"),
    }


def main() -> None:
    """Build, test, fuzz; the exit status is that of the first that fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.sanitize")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="of all fuzz targets together; 0: none")
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="of tests; without: all of compiled modules")
    given = parser.parse_args()
    tree = built("sanitized")
    runs = [["-c", TESTS, *PYTEST, *(given.folders or FOLDERS)]]
    if given.inputs:
        runs.append(["-m", "tests.fuzz.run", "--plain", "--inputs", str(given.inputs), "--tree", str(tree)])
    for run in runs:
        status = subprocess.run([sys.executable, *run], cwd=tree, env=environment(tree), check=False).returncode
        if status:
            sys.exit(status)


if __name__ == "__main__":
    main()
