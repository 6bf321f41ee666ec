"""Fuzzes one target in a plain loop: own mutations, no coverage.

    python -m tests.fuzz.plain TARGET INPUTS SECONDS NUMBER SAVE [CORPUS]

INPUTS and SECONDS: the first of them to be reached ends it; 0: no bound. NUMBER seeds the random numbers. SAVE is the
folder for inputs that fail; CORPUS one with inputs that a guided run has found: they are all tried first, and belong
to the seeds. The last line of the output is a table row for `run.py`.
"""

from __future__ import annotations

import gc
import hashlib
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.mutate import Mutator
from tests.fuzz.target import ACCEPTED, load

if TYPE_CHECKING:
    from tests.fuzz.target import Target

TURN = 1000
FAILED = 77  # the exit status that libFuzzer has for it


def fuzz(target: Target, inputs: int, seconds: float, number: int, save: Path) -> Counter[str]:
    """Try inputs until there were enough; return how many had which outcome."""
    mutator, outcomes = Mutator(target, number), Counter[str]()
    for seed in target.seeds():
        outcomes[attempt(target, seed[: target.longest], save)] += 1
    end = time.monotonic() + (seconds or float("inf"))
    while (not inputs or outcomes.total() < inputs) and time.monotonic() < end:
        for _ in range(TURN):
            data = mutator.next()
            outcome = attempt(target, data, save)
            outcomes[outcome] += 1
            if outcome == ACCEPTED:
                mutator.accepted(data)
    return outcomes


def attempt(target: Target, data: bytes, save: Path) -> str:
    """Try one input; one that fails is saved, and ends the run."""
    try:
        return target.check(data)
    except Exception:  # noqa: BLE001 - whatever it is, it is what we look for
        save.mkdir(parents=True, exist_ok=True)
        path = save / hashlib.sha1(data, usedforsecurity=False).hexdigest()
        path.write_bytes(data)
        traceback.print_exc()
        sys.stderr.write(f"saved as {path}\n")
        sys.exit(FAILED)


def with_corpus(target: Target, corpus: Path) -> Target:
    """Return the target with the inputs of a folder among its seeds."""
    found = [path.read_bytes() for path in sorted(corpus.glob("*"))]
    return target._replace(seeds=lambda: (*target.seeds(), *found))


def main() -> None:
    """Run as the command line says."""
    name, inputs, seconds, number, save, *corpus = sys.argv[1:]
    target = with_corpus(load(name), Path(corpus[0])) if corpus else load(name)
    gc.freeze()
    begin = time.monotonic()
    outcomes = fuzz(target, int(inputs), float(seconds), int(number), Path(save))
    share = 100 * outcomes[ACCEPTED] / outcomes.total()
    sys.stdout.write(f"{outcomes.total()} {time.monotonic() - begin:.1f} {share:.0f}% accepted\n")


if __name__ == "__main__":
    main()
