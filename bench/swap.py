"""A million prefixes swapped under full load: what it costs those who ask meanwhile.

One guard, one worker; each request comes over a connection of its own, so each looks up where its client is. As many
come as the guard takes. In turns nothing happens, and about each second a set of a million prefixes takes the place of
another, written by a process that stands in for the analyst: on the worker's core, with the analyst's rests. Composing
a set is no part of it: a process that is nicer than the worker does that, some seconds in an hour.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from rich.table import Table

from bench.fault import MeasurementError
from bench.load import Client, Outcome, drive
from bench.peers import PROXIES, serving, upstream
from bench.processes import Cores, pinned, scratch
from fastpath import PrefixBook, Region
from fastpath.prefix_build import Rows, build

MILLION: Final = 1_000_000
WARM_UP_S: Final = 2.0
PAUSE_S: Final = 1.0  # between two sets; the analyst makes it a minute at least
REST_S: Final = 0.002  # as `proxy.intel.composer`
MOST_RATIO: Final = 1.05  # of the 99th percentiles


class SwapError(MeasurementError):
    """The sets could not be swapped, or were not: the figures would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One measurement.

    Attributes:
        swaps: Sets that took the place of another meanwhile.
        rate: Answers per second.
        faults: Requests that failed.
        p50_us: Median time from sending to the last byte.
        p99_us: 99th percentile of the same.

    """

    swaps: int
    rate: float
    faults: int
    p50_us: int
    p99_us: int


def measure(cores: Cores, rounds: int, seconds: float) -> list[Round]:
    """Return the rounds: a quiet one and one with swaps in turns."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        server = stack.enter_context(upstream(folder, cores))
        guard = stack.enter_context(serving(PROXIES["hkpguard"], folder, upstream=server.port, core=cores.proxy))
        drive(guard.port, Client.DIRMNGR, WARM_UP_S, core=cores.load)
        book = _book(guard.pid)
        measured = []
        for _ in range(rounds):
            measured.append(_round(book, drive(guard.port, Client.DIRMNGR, seconds, core=cores.load), book.generation))
            with _swapping(guard.pid, cores):
                before = book.generation
                measured.append(_round(book, drive(guard.port, Client.DIRMNGR, seconds, core=cores.load), before))
        return measured


def _round(book: PrefixBook, met: Outcome, before: int) -> Round:
    swaps = book.generation - before
    return Round(swaps=swaps, rate=met.rate, faults=met.faults, p50_us=met.p50_us, p99_us=met.p99_us)


def _book(pid: int) -> PrefixBook:
    """Return the book of a running guard, through the descriptor that its supervisor keeps."""
    region = Region.attach(os.open(_memory_of(pid), os.O_RDWR | os.O_CLOEXEC))
    region.close()
    return PrefixBook(region.origins, region.counts.prefixes)


def _memory_of(pid: int) -> Path:
    for each in Path(f"/proc/{pid}/fd").iterdir():
        if re.match(r"/memfd:hkpguard\b", str(each.readlink())):
            return each
    raise SwapError(f"process {pid} has no memory of a node")


@contextmanager
def _swapping(pid: int, cores: Cores) -> Iterator[None]:
    """Have sets swapped until the block ends."""
    command = pinned([sys.executable, "-m", "bench.swap", str(pid)], cores.proxy)
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != b"ready\n":
                raise SwapError("the process that swaps sets did not begin")
            yield
        finally:
            process.kill()


def a_million(seed: int) -> memoryview:
    """Return a set of a million random prefixes, half of them of IPv6."""
    draw = np.random.default_rng(seed)
    networks = draw.integers(0, 256, (MILLION, 16), np.uint8)
    four = np.arange(MILLION) % 2 == 0
    networks[four, :10], networks[four, 10:12] = 0, 255
    networks[~four, 0] = 0x20 | networks[~four, 0] & 0x1F
    lengths = np.where(four, draw.integers(108, 129, MILLION), draw.integers(24, 65, MILLION)).astype(np.uint8)
    asns = draw.integers(1, 1 << 20, MILLION, np.uint32)  # no kinds and no rules: limits stay what they are
    return build(Rows(networks, lengths, asns))


def swap(pid: int) -> None:
    """Swap two sets of the guard whose supervisor is process `pid`, until this process is killed."""
    book, sets = _book(pid), [a_million(1), a_million(2)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        for each in sets:
            for _ in book.publish(each):
                time.sleep(REST_S)
            time.sleep(PAUSE_S)


def table(rounds: Sequence[Round]) -> Table:
    """Return the medians, and what swapping makes of them."""
    shown = Table(title=f"{MILLION:,} prefixes swapped under full load; medians", title_justify="left")
    for name in ("", "swaps", "requests/s", "failed", "p50 us", "p99 us"):
        shown.add_column(name, justify="right")
    quiet, busy = ([each for each in rounds if bool(each.swaps) is swapped] for swapped in (False, True))
    for name, some in (("quiet", quiet), ("swapping", busy)):
        counts = f"{sum(each.swaps for each in some)}", f"{median(each.rate for each in some):,.0f}"
        faults = f"{sum(each.faults for each in some)}"
        shown.add_row(name, *counts, faults, *(f"{figure:,.0f}" for figure in _times(some)))
    shown.add_row("ratio", "", "", "", *(f"{b / q:.3f}" for b, q in zip(_times(busy), _times(quiet), strict=True)))
    return shown


def _times(rounds: Sequence[Round]) -> tuple[float, float]:
    return median(each.p50_us for each in rounds), median(each.p99_us for each in rounds)


def missed(rounds: Sequence[Round]) -> list[str]:
    """Return what is not as it should be."""
    quiet, busy = ([each for each in rounds if bool(each.swaps) is swapped] for swapped in (False, True))
    if not quiet or not busy:
        return ["no set was swapped"]
    failed, ratio = sum(each.faults for each in rounds), _times(busy)[1] / _times(quiet)[1]
    return [
        *([f"{failed} requests failed"] if failed else []),
        *([f"p99 is {ratio:.3f} times as long"] if ratio > MOST_RATIO else []),
    ]


def content(rounds: Sequence[Round]) -> dict[str, object]:
    """Return all that was measured, ready for JSON."""
    return {"rounds": [asdict(each) for each in rounds]}


if __name__ == "__main__":
    swap(int(sys.argv[1]))
