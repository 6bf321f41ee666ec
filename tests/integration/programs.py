"""Starts and ends programs, waits with deadlines, reads /proc. Knows nothing of keyservers."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.01
START_SECONDS = 20.0
STOP_SECONDS = 10.0
# Below the ports that the kernel gives to clients, so that no connection of a test takes one away meanwhile.
SERVER_PORTS = range(10_240, 32_768)
LISTENING = "0A"  # a state in /proc/net/tcp
ENDED = "Z"  # a state in /proc/PID/stat: nobody has waited for it yet


def until(condition: Callable[[], T], what: str, seconds: float = 10.0) -> T:
    """Return the first true value of `condition`; fail the test if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            message = f"not within {seconds:g} s: {what}"
            raise AssertionError(message)
        time.sleep(POLL_SECONDS)
    return value


def free_port() -> int:
    """Return a port of loopback that nobody listens on at this moment."""
    for port in random.SystemRandom().sample(SERVER_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    message = "100 ports in a row are taken"
    raise AssertionError(message)


def listens(port: int) -> bool:
    """Whether somebody accepts connections at a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


class Program:
    """A running program; its two outputs go to files."""

    def __init__(self, command: Sequence[str | Path], folder: Path, environ: Mapping[str, str] | None = None) -> None:
        """Start it in `folder`, which is its own; `environ` is all that it gets, None: what we have."""
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def out(self) -> str:
        """Return what it has written to standard output so far."""
        return self._out.read_text(errors="replace")

    def err(self) -> str:
        """Return what it has written to standard error so far."""
        return self._err.read_text(errors="replace")

    def await_port(self, port: int) -> None:
        """Wait until it listens."""
        until(lambda: listens(port) or not self.running, f"{self.process.args!r} listens", START_SECONDS)
        assert self.running, f"{self.process.args!r} ended: {self.err()[-2000:]}"

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end; return its exit status."""
        return self.process.wait(seconds)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, politely if possible, and whatever it has started."""
        family = [*descendants(self.pid)] if self.running else []
        if self.running:
            self.send(number)
        with suppress(subprocess.TimeoutExpired):
            self.wait()
        if self.running:
            self.process.kill()
            self.process.wait()
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def running(
    command: Sequence[str | Path],
    folder: Path,
    port: int,
    environ: Mapping[str, str] | None = None,
    *,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[Program]:
    """Run a program that listens on `port` of loopback; `stop` asks it to end."""
    program = Program(command, folder, environ)
    try:
        program.await_port(port)
        yield program
    finally:
        program.end(stop)


def run(
    *command: str | Path,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    seconds: float = 20.0,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it said; a test that expects success looks at `returncode`."""
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=seconds, env=environ, cwd=folder
    )


# What the kernel knows.


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes that `pid` started, and theirs."""
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                yield child
                yield from descendants(child)


def alive(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != ENDED
    except OSError:
        return False


def pss_bytes(pid: int) -> int:
    """Return the memory of a process, shared pages counted by their share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return int(value.split()[0]) * 1024
    message = "no Pss in smaps_rollup"
    raise AssertionError(message)


def own_bytes(pid: int) -> int:
    """Return the memory of a process that no file and nobody else's memory stands behind."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "RssAnon":
            return int(value.split()[0]) * 1024
    message = "no RssAnon in status"
    raise AssertionError(message)


def accepted_from(pid: int, port: int) -> set[tuple[str, int]]:
    """Return the other sides (IPv4 address, port) of the connections that `pid` has accepted at `port`."""
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            links.append(str(link.readlink()))
    own = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}
    return {each.peer for each in _tcp_sockets(port) if each.inode in own and each.state != LISTENING}


def unsent_bytes(port: int) -> int:
    """Return how much the connections accepted at `port` of loopback still have to send, in all."""
    return sum(each.unsent_bytes for each in _tcp_sockets(port) if each.state != LISTENING)


class _TcpSocket(NamedTuple):
    """A line of /proc/net/tcp."""

    peer: tuple[str, int]
    state: str
    unsent_bytes: int
    inode: str


def _tcp_sockets(port: int) -> Iterator[_TcpSocket]:
    """Yield the IPv4 sockets whose own port this is."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, own, peer, state, queues, _, _, _, _, inode, *_ = line.split()
        if _endpoint(own)[1] == port:
            yield _TcpSocket(_endpoint(peer), state, int(queues.partition(":")[0], 16), inode)


def _endpoint(text: str) -> tuple[str, int]:
    address, _, port = text.partition(":")
    return socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16)
