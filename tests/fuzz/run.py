"""Fuzzes all targets on all cores and prints how many inputs each of them had.

    python -m tests.fuzz.run [--inputs N | --seconds S] [--plain] [--tree FOLDER] [TARGET ...]

With atheris installed, and unless `--plain` is given, libFuzzer guides the search by coverage, in the build `covered`,
which is brought up to date first. Without it a plain loop does what it can. Inputs that fail are saved in
`tests/fuzz/regressions/TARGET`, where a test replays them; the exit status is 1 then. What is found is kept in
`build/fuzz`, and taken up by the next run.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.build import ROOT, built
from tests.fuzz.target import NAMES, load

CORPORA = ROOT / "build" / "fuzz"
SAVED = ROOT / "tests" / "fuzz" / "regressions"
DEFAULT_SECONDS = 120.0
GUIDED_ROW = re.compile(r"DONE +cov: (\d+) ft: (\d+) corp: (\d+)")
GUIDED_INPUTS = re.compile(r"stat::number_of_executed_units: (\d+)")
GUIDED_MEMORY = re.compile(r"stat::peak_rss_mb: +(\d+)")
GUIDED_SECONDS = re.compile(r"Done \d+ runs in (\d+) second")
PLAIN_ROW = re.compile(r"^(\d+) ([\d.]+) (.*)$", re.MULTILINE)
TAIL = 3000


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Plan(NamedTuple):
    """How to run.

    Attributes:
        targets: Their names.
        inputs: Of all targets together; 0: as many as the time allows.
        seconds: For all of them together, all cores at work; 0: no bound.
        guided: By atheris.
        tree: The folder whose modules are tried.

    """

    targets: tuple[str, ...]
    inputs: int
    seconds: float
    guided: bool
    tree: Path


class Part(NamedTuple):
    """What one process of a run is to do."""

    target: str
    inputs: int
    seconds: float
    number: int


class Result(NamedTuple):
    """What came of a part."""

    target: str
    inputs: int
    seconds: float
    remark: str
    failed: bool


def parts(plan: Plan, cores: int) -> list[Part]:
    """Divide the work: a part of each target for each core, the largest first."""
    shares = {name: load(name).share for name in plan.targets}
    whole = sum(shares.values())
    numbers = count(secrets.randbelow(1 << 30))
    return [
        Part(
            name,
            -(-plan.inputs * share // (whole * cores)) if plan.inputs else 0,
            max(1.0, plan.seconds * share / whole) if plan.seconds else 0,
            next(numbers),
        )
        for name, share in sorted(shares.items(), key=lambda item: -item[1])
        for _ in range(cores)
    ]


def run(part: Part, plan: Plan) -> Result:
    """Let a process do its part."""
    module = "tests.fuzz.guided" if plan.guided else "tests.fuzz.plain"
    corpus = CORPORA / part.target
    command = [sys.executable, "-m", module, part.target, part.inputs, part.seconds, part.number, SAVED / part.target]
    if plan.guided or corpus.is_dir():
        command.append(corpus)
    # Bytes that decode differently in another locale, or another order of a set, make nothing reproducible.
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=plan.tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        say(f"--- {part.target}\n{done.stdout[-TAIL:]}")
    return result(part, done.stdout, failed=done.returncode != 0)


def result(part: Part, output: str, *, failed: bool) -> Result:
    """Read what a process has printed."""
    if found := PLAIN_ROW.search(output):
        return Result(part.target, int(found[1]), float(found[2]), found[3], failed)
    row, memory = GUIDED_ROW.search(output), GUIDED_MEMORY.search(output)
    remark = f"{row[1]} edges, {row[2]} features, {row[3]} kept, {memory[1]} MB" if row and memory else ""
    return Result(part.target, _number(GUIDED_INPUTS, output), _number(GUIDED_SECONDS, output), remark, failed)


def _number(pattern: re.Pattern[str], output: str) -> int:
    found = pattern.search(output)
    return int(found[1]) if found else 0


def report(results: list[Result]) -> None:
    """Print a row for each target, and the sum."""
    say(f"{'target':<16}{'inputs':>14}{'core s':>9}{'per s':>9}  last part")
    for name in dict.fromkeys(each.target for each in results):
        own = [each for each in results if each.target == name]
        inputs, seconds = sum(each.inputs for each in own), sum(each.seconds for each in own)
        rate = inputs / seconds if seconds else 0
        failed = "FAILED" if any(each.failed for each in own) else own[-1].remark
        say(f"{name:<16}{inputs:>14,}{seconds:>9.0f}{rate:>9,.0f}  {failed}")
    say(f"{'all':<16}{sum(each.inputs for each in results):>14,}{sum(each.seconds for each in results):>9.0f}")


def plan_of(arguments: list[str]) -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run")
    parser.add_argument("--inputs", type=int, default=0, help="of all targets together")
    parser.add_argument("--seconds", type=float, default=0, help="of the whole run; 120 without both")
    parser.add_argument("--plain", action="store_true", help="without coverage, even if atheris is there")
    parser.add_argument("--tree", type=Path, help="run the modules in this folder")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    given = parser.parse_args(arguments)
    if unknown := set(given.targets) - set(NAMES):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    guided = not given.plain and find_spec("atheris") is not None
    seconds = given.seconds or (0 if given.inputs else DEFAULT_SECONDS)
    tree = given.tree or (built("covered") if guided else ROOT)
    return Plan(tuple(given.targets) or NAMES, given.inputs, seconds, guided, tree.resolve())


def main() -> None:
    """Run as the command line says."""
    plan = plan_of(sys.argv[1:])
    cores = len(os.sched_getaffinity(0))
    say(f"{'guided by atheris' if plan.guided else 'plain'}, {cores} processes, {plan.tree}")
    with ThreadPoolExecutor(cores) as pool:
        results = list(pool.map(lambda part: run(part, plan), parts(plan, cores)))
    report(results)
    sys.exit(any(each.failed for each in results))


if __name__ == "__main__":
    main()
