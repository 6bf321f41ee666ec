"""Closed-loop load with wrk: as many requests as the proxy takes."""

import json
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bench import targets
from bench.fault import MeasurementError
from bench.peers import Setup
from bench.processes import pinned

SCRIPT = Path(__file__).with_name("wrk.lua")
CONNECTIONS = 64
SPARE_S = 15.0  # how much longer than asked wrk may take


class Client(StrEnum):
    """How the clients of a row behave."""

    KEEPALIVE = "keepalive"  # HTTP/1.1, the connection stays
    DIRMNGR = "dirmngr"  # HTTP/1.0 with dirmngr's head, a connection for each request
    HANDSHAKE = "handshake"  # the same over TLS, without resumption: see `bench.handshakes`


class LoadError(MeasurementError):
    """The load did not run as meant: its figures would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the clients saw.

    Attributes:
        requests: Complete answers, of any status.
        refused: Answers with a status of 400 or more.
        bytes: Bytes read, heads and bodies.
        duration_us: Measured time.
        p50_us: Median time from sending to the last byte, closed loop; 0: not measured.
        p99_us: 99th percentile of the same.
        connect: Connections that failed.
        read: Reads that failed.
        write: Writes that failed.
        timeout: Requests without an answer.

    """

    requests: int
    refused: int
    bytes: int
    duration_us: int
    p50_us: int = 0
    p99_us: int = 0
    connect: int = 0
    read: int = 0
    write: int = 0
    timeout: int = 0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests * 1e6 / self.duration_us

    @property
    def faults(self) -> int:
        """Requests that failed below HTTP."""
        return self.connect + self.read + self.write + self.timeout


def drive(
    port: int,
    client: Client,
    seconds: float,
    *,
    core: int | None,
    setup: Setup = Setup.OPEN,
) -> Outcome:
    """Load `port` for `seconds` (rounded up to whole ones, as wrk counts).

    Raises:
        LoadError: wrk failed, requests failed, or answers were not refused (or served) as `setup` says.

    """
    whole = max(1, round(seconds))
    url = f"{'https' if setup is Setup.TLS else 'http'}://127.0.0.1:{port}"
    command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{whole}s"]
    command += ["--timeout", "5s", "--script", str(SCRIPT), url, "--"]
    command += [client.value, str(targets.COUNT)]
    done = subprocess.run(pinned(command, core), capture_output=True, text=True, timeout=whole + SPARE_S, check=False)
    if done.returncode != 0:
        raise LoadError(f"wrk ended with {done.returncode}: {done.stderr or done.stdout}")
    return checked(parse(done.stdout), refused=setup is Setup.REFUSE)


def parse(output: str) -> Outcome:
    """Return the outcome that `wrk.lua` printed as the last line."""
    return Outcome(**json.loads(output.strip().splitlines()[-1]))


def checked(outcome: Outcome, *, refused: bool) -> Outcome:
    """Return `outcome` if it is what the row wants to measure.

    Raises:
        LoadError: faults in one request of a thousand or more, or answers of the wrong kind.

    """
    if outcome.requests == 0 or outcome.faults * 1000 >= outcome.requests:
        raise LoadError(f"too many faults: {outcome}")
    wrong = outcome.requests - outcome.refused if refused else outcome.refused
    if wrong * 100 >= outcome.requests:  # a limit lets its burst pass, so "practically all" is 99 %
        raise LoadError(f"{wrong} answers were not {'refused' if refused else 'served'}: {outcome}")
    return outcome
