"""Memory: the guard at rest, and what an idle client connection costs each proxy.

Pss (proportional set size) of the whole tree: pages that processes share count once. It is user space only:
what the kernel keeps for a socket is the same for all and in no figure.
"""

import resource
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.table import Table

from bench import cpu
from bench.load import Client, drive
from bench.peers import PROXIES, Launch, Program, Setup, serving, upstream
from bench.processes import Cores, scratch
from bench.targets import BODY_END, keepalive_heads, source

IDLE_CONNECTIONS = 5000
SPARE_FDS = 200
SETTLE_S = 2.0  # until buffers that were used are given back
MILLION_SLOTS = 1_048_576
REST_WORKERS = 2
BYTES_PER_KB = 1024
PAGE_BYTES = 4096


def pss_bytes(pid: int) -> int:
    """Return the proportional set size of the tree of `pid`."""
    return sum(_pss_kb(member) for member in cpu.tree(pid)) * BYTES_PER_KB


def _pss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def kernel_bytes(proc: Path = Path("/proc")) -> int:
    """Return what the kernel of this machine has in slabs and in buffers of TCP."""
    slab = next(line for line in (proc / "meminfo").read_text().splitlines() if line.startswith("Slab:"))
    tcp = next(line for line in (proc / "net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
    return int(slab.split()[1]) * BYTES_PER_KB + int(tcp.split()[-1]) * PAGE_BYTES


def at_rest(cores: Cores) -> int:
    """Return the Pss of hkpguard with two workers and a million slots before its first request, bytes."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        server = stack.enter_context(upstream(folder, cores))
        program = Program("hkpguard", _resting_guard)
        guard = stack.enter_context(serving(program, folder, upstream=server.port, core=None))
        time.sleep(SETTLE_S)
        return pss_bytes(guard.pid)


def _resting_guard(folder: Path, port: int, upstream_port: int, setup: Setup) -> Launch:
    launch = PROXIES["hkpguard"].prepare(folder, port, upstream_port, setup)
    size = {"HKPGUARD_TABLE_CLIENTS": str(MILLION_SLOTS), "HKPGUARD_WORKERS": str(REST_WORKERS)}
    return Launch(command=launch.command, env={**launch.env, **size})


def per_connection(program: Program, cores: Cores, connections: int) -> float:
    """Return what one idle connection costs `program`, bytes of user space.

    It is warmed up first, so that what a first use allocates for good is not counted. Each connection has had
    one answer and stays open.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        server = stack.enter_context(upstream(folder, cores))
        proxy = stack.enter_context(serving(program, folder, upstream=server.port, core=cores.proxy))
        drive(proxy.port, Client.KEEPALIVE, 1, core=cores.load)
        time.sleep(SETTLE_S)
        before = pss_bytes(proxy.pid)
        stack.enter_context(_idle(proxy.port, connections))
        time.sleep(SETTLE_S)
        return (pss_bytes(proxy.pid) - before) / connections


def connections_possible(wanted: int = IDLE_CONNECTIONS) -> int:
    """Raise the limit of open files as far as allowed; return how many `wanted` connections fit into it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - SPARE_FDS)


@contextmanager
def _idle(port: int, connections: int) -> Iterator[None]:
    heads = keepalive_heads()
    with ExitStack() as stack:
        for number in range(connections):
            each = stack.enter_context(_connected(port, source(number)))
            each.sendall(heads[number % len(heads)])
            _read_answer(each)
        yield


def _connected(port: int, address: str) -> socket.socket:
    """Connect from `address`, not all from one: hkpguard has a cap for that."""
    return socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(address, 0))


def _read_answer(connection: socket.socket) -> None:
    answer = b""
    while not answer.endswith(BODY_END):
        part = connection.recv(65536)
        if not part:
            raise ConnectionError(f"closed after {answer[:80]!r}")
        answer += part


def table(rest_bytes: int | None, connection_bytes: Mapping[str, float], connections: int) -> Table:
    """Return the figures as a table."""
    shown = Table(title=f"Memory: Pss, {connections} idle", title_justify="left")
    shown.add_column("what")
    shown.add_column("figure", justify="right")
    if rest_bytes is not None:
        shown.add_row(
            f"hkpguard at rest, {REST_WORKERS} workers, {MILLION_SLOTS} slots", f"{rest_bytes / 2**20:.1f} MB"
        )
    for name, size in connection_bytes.items():
        shown.add_row(f"{name}, an idle connection", f"{size:,.0f} bytes")
    return shown
