"""Runs tests and fuzz targets on modules that AddressSanitizer and UndefinedBehaviorSanitizer watch.

    python -m tests.fuzz.sanitize [--inputs N] [FOLDER ...]

Cython's checks of bounds and of uninitialised views are on as well; see `build.py`. An access outside of its memory,
undefined arithmetic or memory that nothing refers to any more ends the run with an error and a stack.

- LD_PRELOAD: Python itself is not built for it, so the runtimes have to be there before it.
- PYTHONMALLOC=malloc: else Python's allocator hides from them where one object ends.
- Leaks are looked for at the end of each process. CPython 3.11 ends without any; what pydantic keeps is its own, and
  so is what numpy does: pytest-randomly would import it.
- Output of C goes past pytest (`--capture=sys`): a report that it holds back would die with the process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.fuzz.build import build

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = (
    "tests/fastpath",
    "tests/contract",
    "tests/proxy/http",
    "tests/proxy/hkp",
    "tests/proxy/policy",
    "tests/fuzz",
)
PYTEST = ("-p", "no:cacheprovider", "-p", "no:randomly", "--capture=sys")
INPUTS = 2_000_000
LIBRARIES = ("libasan.so", "libubsan.so")
SUPPRESSED = ("_pydantic_core",)


def library(name: str) -> str:
    """Return the path of a runtime of the compiler that built the modules."""
    compiler = os.environ.get("CC", "gcc")
    found = subprocess.run([compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def environment(tree: Path) -> dict[str, str]:
    """Return the environment in which the sanitizers run."""
    suppressions = tree / "leaks.txt"
    suppressions.write_text("".join(f"leak:{name}\n" for name in SUPPRESSED))
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(map(library, LIBRARIES)),
        "PYTHONMALLOC": "malloc",
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
    tree = build("sanitized")
    runs = [["pytest", "-q", *PYTEST, *(given.folders or FOLDERS)]]
    if given.inputs:
        runs.append(["tests.fuzz.run", "--plain", "--inputs", str(given.inputs), "--tree", str(tree)])
    for run in runs:
        status = subprocess.run([sys.executable, "-m", *run], cwd=tree, env=environment(tree), check=False).returncode
        if status:
            sys.exit(status)


if __name__ == "__main__":
    main()
