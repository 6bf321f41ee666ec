"""Stretches: how long a worker is at it, without a look at its other connections, while large uploads come.

A stretch is the CPU time of the worker's thread from one wait for events to the next: all that somebody else would have
to wait for. It is measured from outside, by a library that is loaded before the guard's own (`_SHIM`) and notes what
each stretch took; the guard itself is as it is. The goal is 1 ms for what the defaults admit (docs/architecture.md).
"""

import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from rich.table import Table

from bench.fault import MeasurementError
from bench.peers import PROXIES, Launch, Program, Setup, serving, upstream
from bench.planes import Guard, told_apart
from bench.processes import Cores, scratch
from bench.targets import source
from tests.certs_for_tests import PADDING, armored, certificate, flooded, form, packet

UPLOADS: Final = 20
CASES: Final = 5
GOAL_MS: Final = 1.0
SETTLE_S: Final = 0.1  # until the worker has noted the last stretch of an upload
MIB: Final = 1_048_576
_BINARY: Final = "application/pgp-keys"
_FORM: Final = "application/x-www-form-urlencoded"
_FREE: Final = (
    "LIMITS__UPLOAD",
    "LIMITS__TOTAL",
    "BUDGETS__NEW_CERTS",
    "BUDGETS__USER_ID",
)  # hundreds come here at once
_SHIM: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static __thread long begun = -1;

static long cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

static void note(void) {
    static __thread FILE *notes;
    char path[4096];
    long took = cpu_ns() - begun;
    if (begun < 0 || took < 50000) return;
    if (!notes) {
        snprintf(path, sizeof path, "%s/%d", getenv("STRETCHES"), getpid());
        notes = fopen(path, "a");
        if (!notes) return;
        setvbuf(notes, NULL, _IOLBF, 0);
    }
    fprintf(notes, "%ld\n", took);
}

int epoll_pwait(int epoll, struct epoll_event *events, int most, int wait_ms, const sigset_t *mask) {
    static int (*real)(int, struct epoll_event *, int, int, const sigset_t *);
    int found;
    if (!real) real = dlsym(RTLD_NEXT, "epoll_pwait");
    note();
    found = real(epoll, events, most, wait_ms, mask);
    begun = cpu_ns();
    return found;
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int wait_ms) {
    return epoll_pwait(epoll, events, most, wait_ms, NULL);
}
"""


class Case(NamedTuple):
    """One kind of upload, sent again and again; each names other certificates."""

    name: str
    content_type: str
    bodies: tuple[bytes, ...]
    status: int


class Stretches(NamedTuple):
    """The longest stretch of each upload of a case, ms, in the order in which they were sent."""

    case: str
    size: int
    longest_ms: list[float]


def cases(uploads: int = UPLOADS) -> Iterator[Case]:
    """Yield the largest of what the defaults admit, and one that they refuse at its end."""

    def each(name: str, content_type: str, bodies: Iterator[bytes], status: int = 200) -> Case:
        return Case(name, content_type, tuple(bodies), status)

    numbers = range(uploads)
    yield each("1 MiB, binary", _BINARY, (certificate(5000 + k) + _padding(125) for k in numbers))
    wrapped = (armored(certificate(6000 + k) + _padding(86), summed=False) for k in numbers)
    yield each("1 MiB, form", _FORM, (form(text)[:MIB] for text in wrapped))
    both = (flooded(998, number=7000 + k) + flooded(995, number=8000 + k) for k in numbers)
    yield each("2 certificates, 1,993 signatures", _BINARY, both)
    ten = (b"".join(certificate(20_000 + 100 * k + i, signatures=190) for i in range(10)) for k in numbers)
    yield each("10 certificates, 1,900 signatures", _BINARY, ten)
    yield each("8,500 signatures, refused", _BINARY, iter([flooded(8500)[: MIB - 100]] * uploads), 413)


def _padding(packets: int) -> bytes:
    return packet(PADDING, bytes(8000)) * packets


def measure(cores: Cores, uploads: int = UPLOADS) -> Iterator[Stretches]:
    """Yield the stretches of each case; a guard of its own for each, so that each begins with cold tables.

    Raises:
        MeasurementError: an upload was not answered as it should have been.

    """
    for case in cases(uploads):
        with ExitStack() as stack:
            folder = stack.enter_context(scratch())
            keyserver = stack.enter_context(upstream(folder, cores))
            program = Program("hkpguard", partial(_noting, _library(folder)))
            running = stack.enter_context(serving(program, folder, upstream=keyserver.port, core=cores.proxy))
            guard = told_apart(running, cores)
            time.sleep(SETTLE_S)  # the connections that told them apart are closed
            longest = [_longest_ms(guard, folder, case, number) for number in range(uploads)]
            yield Stretches(case.name, len(case.bodies[0]), longest)


def _library(folder: Path) -> Path:
    """Compile the shim into `folder`."""
    source_file, library = folder / "stretches.c", folder / "stretches.so"
    source_file.write_text(_SHIM)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source_file), "-ldl"], check=True)
    return library


def _noting(library: Path, folder: Path, port: int, upstream_port: int, setup: Setup) -> Launch:
    launch = PROXIES["hkpguard"].prepare(folder, port, upstream_port, setup)
    free = {f"HKPGUARD_{name}__MODE": "off" for name in _FREE}
    return Launch(
        command=launch.command,
        env={**launch.env, **free, "LD_PRELOAD": str(library), "STRETCHES": str(library.parent)},
    )


def _longest_ms(guard: Guard, folder: Path, case: Case, number: int) -> float:
    """Send one upload from an address of its own; return the worker's longest stretch meanwhile."""
    notes = folder / str(guard.worker)
    noted = notes.stat().st_size if notes.exists() else 0
    connection = HTTPConnection("127.0.0.1", guard.port, timeout=10, source_address=(source(number), 0))
    connection.request("POST", "/pks/add", case.bodies[number], {"Content-Type": case.content_type})
    status = connection.getresponse().status
    connection.close()
    if status != case.status:
        raise MeasurementError(f"{case.name}: answered with {status}, not {case.status}")
    time.sleep(SETTLE_S)
    with notes.open() as lines:
        lines.seek(noted)
        return max((int(line) / 1e6 for line in lines), default=0.0)


def table(measured: Iterable[Stretches]) -> Table:
    """Return the figures as a table."""
    shown = Table(title="Uploads: longest stretch of a worker, ms of CPU", title_justify="left")
    for column in ("upload", "bytes", "the first", "median", "worst"):
        shown.add_column(column, justify="left" if column == "upload" else "right")
    for each in measured:
        figures = (each.longest_ms[0], median(each.longest_ms), max(each.longest_ms))
        shown.add_row(each.case, f"{each.size:,}", *(f"{figure:.2f}" for figure in figures))
    return shown


def shortfalls(measured: Iterable[Stretches]) -> Iterator[str]:
    """Yield a sentence for each case that is beyond the goal."""
    for each in measured:
        if max(each.longest_ms) > GOAL_MS:
            yield f"{each.case}: {max(each.longest_ms):.2f} ms at a stretch; the goal is {GOAL_MS:g}"


def content(measured: Iterable[Stretches]) -> Mapping[str, object]:
    """Return the figures as they are kept in a file."""
    return {each.case: {"bytes": each.size, "longest_ms": each.longest_ms} for each in measured}
