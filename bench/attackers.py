"""Runs an attack beside the measurement: our own hoard in a process of its own, or slowhttptest.

It is scheduled as SCHED_IDLE: what the attackers' side computes must not be taken for what the guard does to honest
requests, so the honest generator and the upstream on the same core go first. It ends when told, when its parent is
gone, or when its time is over.
"""

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from bench import memory
from bench.fault import MeasurementError
from bench.hoard import Count, Hoard, Orders
from bench.processes import STOP_S, pinned
from bench.sieges import PACE, SCENARIOS, Origin, Scenario

LOOK_S = 0.25
FULL = 0.98
RAMP_SPARE_S = 15.0  # until the attacker is there, on a machine that is busy
RAMP_TIMES = 2.0  # as long as the pace says: others may want the core too
ESTABLISHED = "01"
SLOWHTTPTEST_PIECE_S = 5
TCP = Path("/proc/net/tcp")


class AttackError(MeasurementError):
    """The attack did not run: what was measured meanwhile means nothing."""


def held(port: int, table: Path = TCP) -> int:
    """Return how many connections to `port` of this machine the kernel calls established."""
    end, count = f":{port:04X}", 0
    with table.open() as lines:
        next(lines)
        for line in lines:
            _, local, _, state, _ = line.split(None, 4)
            count += state == ESTABLISHED and local.endswith(end)
    return count


class Force(NamedTuple):
    """How many connections, for how many seconds at most, from which core (None: any)."""

    connections: int
    seconds: float
    core: int | None


class Attack:
    """An attack that is under way."""

    def __init__(self, process: subprocess.Popen[str], port: int, connections: int) -> None:
        """Be about to open `connections` to `port`."""
        self._process = process
        self._port = port
        self._connections = connections
        self._begun = time.monotonic()
        self.count: Count | None = None
        """What became of the connections; known at the end, and of our own hoard only."""
        self.opened_per_s = 0.0
        """How many it opened; likewise."""

    def gather(self) -> int:
        """Wait until all are open, or as long as opening them may take; return how many are.

        Raises:
            AttackError: the attacker has failed.

        """
        deadline = time.monotonic() + RAMP_TIMES * self._connections / PACE + RAMP_SPARE_S
        while (count := held(self._port)) < FULL * self._connections and time.monotonic() < deadline:
            time.sleep(LOOK_S)
            self._check()
        return count

    def held(self) -> int:
        """Return how many are open now."""
        return held(self._port)

    def _check(self) -> None:
        """Raise AttackError if the attacker has failed; slowhttptest ends well when the guard has closed all."""
        if self._process.poll():
            _, errors = self._process.communicate()
            raise AttackError(f"{self._process.args!r} ended early: {errors[-300:]}")

    def end(self) -> None:
        """Let it close all.

        Raises:
            AttackError: it has failed before.

        """
        self._check()
        with suppress(subprocess.TimeoutExpired):
            elapsed_s = time.monotonic() - self._begun
            output, _ = self._process.communicate("", timeout=STOP_S)
            self.count = Count(**json.loads(output))
            self.opened_per_s = self.count.opened / elapsed_s


@contextmanager
def attacking(scenario: Scenario, origin: Origin, port: int, force: Force) -> Iterator[Attack]:
    """Attack `port` until the block ends."""
    if scenario.script is None:
        command = slowhttptest(scenario, port, force)
    else:
        command = [sys.executable, "-m", "bench.attackers", scenario.key, origin.value, str(port)]
        command += [str(force.connections), str(force.seconds)]
    process = subprocess.Popen(
        pinned(["chrt", "--idle", "0", *command], force.core),
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if scenario.script else subprocess.DEVNULL,  # it repeats itself without end
        stderr=subprocess.PIPE,
        text=True,
    )
    attack = Attack(process, port, force.connections)
    try:
        yield attack
        if scenario.script:
            attack.end()
    finally:
        process.kill()
        process.communicate()


def slowhttptest(scenario: Scenario, port: int, force: Force) -> list[str]:
    """Return the command for `scenario`; the last of its options is the target."""
    *options, target = scenario.slowhttptest
    command = ["slowhttptest", "-c", str(force.connections), "-r", str(int(PACE)), "-v", "0"]
    command += ["-l", str(int(force.seconds)), "-i", str(SLOWHTTPTEST_PIECE_S), "-p", "5"]
    return [*command, *options, f"http://127.0.0.1:{port}{target}"]


def main() -> None:
    """Run with KEY ORIGIN PORT CONNECTIONS SECONDS until standard input ends; prints the count as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("key", choices=SCENARIOS)
    parser.add_argument("origin", type=Origin)
    parser.add_argument("port", type=int)
    parser.add_argument("connections", type=int)
    parser.add_argument("seconds", type=float)
    given = parser.parse_args()
    scenario = SCENARIOS[given.key]
    if scenario.script is None:
        parser.error(f"{given.key} is slowhttptest's")
    gc.disable()
    memory.connections_possible()
    orders = Orders(
        port=given.port,
        script=scenario.script,
        source=lambda number: scenario.source(number, given.origin),
        connections=given.connections,
        pace=PACE,
        receive_bytes=scenario.receive_bytes,
    )
    hoard = Hoard(orders)
    hoard.run(given.seconds, sys.stdin.fileno())
    sys.stdout.write(json.dumps(asdict(hoard.count)) + "\n")


if __name__ == "__main__":
    main()
