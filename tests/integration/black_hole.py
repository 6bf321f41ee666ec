"""A server whose packets can be dropped so that nobody is told: it lives in a network namespace of its own."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from tests.integration.programs import free_port, run, until
from tests.integration.redis_servers import PERSISTS_NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Of the range for measurements (RFC 2544), a part for each process, as tests may run beside others.
BLOCK = ip_address("198.18.0.0") + 8 * (os.getpid() % 2**14)
PEER = str(BLOCK + 1)
ADDRESSES = (str(BLOCK + 2), str(BLOCK + 3))  # of one server: clients of one may be cut off, and not those of the other
CHAIN = "type filter hook input priority 0;"


class FarServer:
    """A server of Redis in a namespace."""

    def __init__(self, inside: tuple[str, ...], nft: str, port: int) -> None:
        """`inside` runs a command where it lives."""
        self._inside, self._nft, self.port = inside, nft, port

    def listens(self) -> bool:
        """Whether it takes connections."""
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex((ADDRESSES[0], self.port)) == 0

    def drop(self, *addresses: str) -> Callable[[], object]:
        """Drop what comes for some of its addresses; return what lets it in again."""
        rules = "".join(f"ip daddr {each} drop\n" for each in addresses)
        hole = f"table inet hole\ndelete table inet hole\ntable inet hole {{\nchain in {{\n{CHAIN}\n{rules}}}\n}}"
        done = run(*self._inside, self._nft, hole)
        assert done.returncode == 0, done.stderr
        return self.drop


@contextmanager
def far_server(binary: str, nft: str, folder: Path, *options: str) -> Iterator[FarServer]:
    """Run a server at both addresses; the test is skipped where no namespace can be made."""
    port = free_port()
    folder.mkdir(exist_ok=True)
    with namespace() as inside:
        places = ("--port", str(port), "--bind", *ADDRESSES, "--protected-mode", "no")
        command = (*inside, binary, *places, *PERSISTS_NOTHING, *options)
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        try:
            started = FarServer(inside, nft, port)
            until(started.listens, "the server listens")
            yield started
        finally:
            process.kill()
            process.wait()


@contextmanager
def namespace() -> Iterator[tuple[str, ...]]:
    """Make a network namespace with the addresses, over a pair of interfaces; return what runs a command in it."""
    name, own = f"hkpguard-{os.getpid()}", f"hg{os.getpid()}"
    if run("ip", "netns", "add", name).returncode:
        pytest.skip("no network namespace can be made here")
    try:
        steps = (
            ("ip", "link", "add", f"{own}o", "type", "veth", "peer", "name", f"{own}i", "netns", name),
            ("ip", "address", "add", f"{PEER}/29", "dev", f"{own}o"),
            ("ip", "link", "set", f"{own}o", "up"),
            *(("ip", "-n", name, "address", "add", f"{each}/29", "dev", f"{own}i") for each in ADDRESSES),
            ("ip", "-n", name, "link", "set", f"{own}i", "up"),
        )
        for step in steps:
            if run(*step).returncode:
                pytest.skip(f"{' '.join(step)} is not possible here")
        yield ("ip", "netns", "exec", name)
    finally:
        run("ip", "link", "delete", f"{own}o")
        run("ip", "netns", "delete", name)
