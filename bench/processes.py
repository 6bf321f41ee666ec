"""Starts the programs under test, waits until they listen, and ends them by their ids, whatever happens."""

import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from bench import cpu
from bench.fault import MeasurementError

START_S = 20.0
STOP_S = 8.0
POLL_S = 0.02


class StartError(MeasurementError):
    """A program did not start to listen; carries the end of what it said."""


class Cores(NamedTuple):
    """Which core runs what; None: the machine has one core only."""

    load: int | None
    proxy: int | None


def choose_cores() -> Cores:
    """Return the first allowed core for load and upstream, the last for the proxy; no pinning on one core."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[-1]) if len(allowed) > 1 else Cores(None, None)


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    """Return `command` such that it and all its children run on `core`."""
    return list(command) if core is None else ["taskset", "--cpu-list", str(core), *command]


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a directory that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="hkpguard-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(
    command: Sequence[str], port: int, folder: Path, *, core: int | None, env: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run `command` until the block ends; yields its pid once `port` accepts connections.

    Args:
        command: Program and arguments; must stay in the foreground.
        port: TCP port on 127.0.0.1 that it will open.
        folder: Working directory; its output goes to a file there.
        core: Core for the whole tree, or None.
        env: Additions to the environment.

    Raises:
        StartError: it ended, or did not listen within START_S.

    """
    log = folder / f"output-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned(command, core),
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_listening(process, port, log)
        yield process.pid
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End `process` politely, then by force what is left of it and its descendants."""
    with ExitStack() as stack:
        members = [stack.enter_context(handle) for handle in _handles(process)]
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        for member in members:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(member.fileno(), signal.SIGKILL)
            ended = select.poll()  # readable then; not select, which knows no descriptor above 1023
            ended.register(member, select.POLLIN)
            ended.poll(STOP_S * 1000)
    process.wait()


def _handles(process: subprocess.Popen[bytes]) -> Iterator[FileIO]:
    """Open a pidfd for each member of the tree: unlike a number it never means another process later."""
    for pid in cpu.tree(process.pid) if process.poll() is None else ():
        with suppress(ProcessLookupError):
            yield FileIO(os.pidfd_open(pid))


def _wait_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(POLL_S)
    raise StartError(f"{process.args!r} does not listen on {port}: {log.read_text(errors='replace')[-2000:]}")
