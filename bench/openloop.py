"""Open-loop load: requests leave by the clock, whether or not earlier ones are answered.

Latency is counted from the time at which a request was *scheduled*, so a stall of the proxy is paid by every
request that fell due meanwhile (no coordinated omission), and so is a delay of the generator itself. That own
error is reported as `late_p99_us`, and is in the figure of the direct upstream too, which stands beside each
measurement. Where somebody else takes the generator's core, it is late by more than what is to be measured:
then the measurement is repeated, chosen by the generator's error and never by what the proxy did.
"""

import json
import select
import socket
import subprocess
import sys
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.fault import MeasurementError
from bench.processes import pinned
from bench.targets import BODY_END, keepalive_heads

CONNECTIONS = 128
WARM_UP_S = 0.3
PATIENCE_S = 8.0  # for the last answers
SPARE_S = 20.0  # how much longer than asked the process may take
ATTEMPTS = 4
PUNCTUAL_US = 250.0

_LOOP = Path(__file__).with_name("_clocked.pyx")


class OpenLoopError(MeasurementError):
    """An answer was missing or not the one expected: the latencies would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What the clients waited, from the scheduled time of sending to the last byte.

    Attributes:
        sent: All requests, those of the warm-up and of repeated runs too: what the CPU is divided by.
        requests: Answers counted: all but those of the warm-up.
        p50_us: Median.
        p99_us: 99th percentile.
        late_p99_us: 99th percentile of how late the generator itself was with sending.

    """

    sent: int
    requests: int
    p50_us: float
    p99_us: float
    late_p99_us: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0..1) of the `ordered` values lie."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def build() -> None:
    """Compile the loop if its source is newer; `setup.py` does not know it: it is no part of the product."""
    compiled = max((path.stat().st_mtime for path in _LOOP.parent.glob("_clocked.*.so")), default=0.0)
    if compiled < _LOOP.stat().st_mtime:
        command = [sys.executable, "-m", "Cython.Build.Cythonize", "--inplace", "--quiet", str(_LOOP)]
        subprocess.run(command, check=True, capture_output=True)


def measure(port: int, rate: float, seconds: float, *, core: int | None, crowd: bool = False) -> Latency:
    """Load `port` with `rate` requests a second; the most punctual of up to ATTEMPTS runs.

    They come from one address, or in the name of a crowd of clients.

    Raises:
        OpenLoopError: see the class.

    """
    runs: list[Latency] = []
    while len(runs) < ATTEMPTS and all(each.late_p99_us > PUNCTUAL_US for each in runs):
        runs.append(_in_own_process(port, rate, seconds, core, crowd=crowd))
    best = min(runs, key=lambda each: each.late_p99_us)
    return replace(best, sent=sum(each.sent for each in runs))


def _in_own_process(port: int, rate: float, seconds: float, core: int | None, *, crowd: bool) -> Latency:
    command = [
        sys.executable,
        "-m",
        "bench.openloop",
        str(port),
        str(rate),
        str(seconds),
        *(["crowd"] if crowd else []),
    ]
    done = subprocess.run(
        pinned(command, core),
        cwd=_LOOP.parent.parent,
        capture_output=True,
        text=True,
        timeout=seconds + SPARE_S,
        check=False,
    )
    if done.returncode != 0:
        raise OpenLoopError(f"{rate:.0f}/s to port {port}: {done.stderr.strip()[-300:]}")
    return Latency(**json.loads(done.stdout))


def run(port: int, rate: float, seconds: float, *, crowd: bool = False) -> Latency:
    """Load `port` from this process; ConnectionError and TimeoutError as `_clocked.drive`."""
    from bench import _clocked  # noqa: PLC0415 - compiled by `build`, which the parent has called

    total = max(1, int(rate * (seconds + WARM_UP_S)))
    waited_us, late_us = array("d", bytes(8 * total)), array("d", bytes(8 * total))
    heads = keepalive_heads(crowd=crowd)
    with _connections(port) as (epoll, descriptors):
        interval_ns, patience_ns = int(1e9 / rate), int(PATIENCE_S * 1e9)
        _clocked.drive(epoll, descriptors, heads, BODY_END, interval_ns, waited_us, late_us, patience_ns)
    return summary(waited_us, late_us, skip=int(rate * WARM_UP_S))


def summary(waited_us: Sequence[float], late_us: Sequence[float], *, skip: int) -> Latency:
    """Return the percentiles of what came after the first `skip` requests."""
    waited, late = sorted(waited_us[skip:]), sorted(late_us[skip:])
    return Latency(
        sent=len(waited_us),
        requests=len(waited),
        p50_us=percentile(waited, 0.50),
        p99_us=percentile(waited, 0.99),
        late_p99_us=percentile(late, 0.99),
    )


@contextmanager
def _connections(port: int) -> Iterator[tuple[int, list[int]]]:
    with ExitStack() as stack, select.epoll() as poll:
        sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(CONNECTIONS)]
        for each in sockets:
            each.settimeout(0)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            poll.register(each, select.EPOLLIN)
        yield poll.fileno(), [each.fileno() for each in sockets]


def main() -> None:
    """Run with PORT RATE SECONDS [crowd]; prints one line of JSON."""
    port, rate, seconds, *crowd = sys.argv[1:]
    with suppress(OSError):  # without it timers are up to 50 us late, for all proxies alike
        Path("/proc/self/timerslack_ns").write_text("1")
    sys.stdout.write(json.dumps(asdict(run(int(port), float(rate), float(seconds), crowd=bool(crowd)))) + "\n")


if __name__ == "__main__":
    main()
