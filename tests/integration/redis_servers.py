"""Redis as tests need it: one server, one behind a Sentinel, a cluster; and the store of a node, in a thread."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pytest
import redis
import uvloop

from proxy.cluster.command import Command, Script, StoreDown
from proxy.cluster.keys import SHARDS, Family
from proxy.cluster.store import Store
from proxy.config import Config
from tests.integration.programs import LOOPBACK, Program, free_port, run, until

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator

    from proxy.plugins.events import Event

T = TypeVar("T")
SECRET = "the-secret-of-all-nodes-of-a-test"  # noqa: S105
PASSWORD = "a-password-of-a-test"  # noqa: S105
DOCUMENT = Path(__file__).parents[2] / "docs" / "cluster.md"
CLUSTER_COMMANDS = "+command +cluster|slots +asking"
COUNT = Script("return redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000)")
ON_REDIS = pytest.mark.parametrize("store_program", ["redis-server"], indirect=True)  # and not on Valkey as well
PERSISTS_NOTHING = ("--save", "", "--appendonly", "no")


def acl_line() -> str:
    """Return the user of the documentation, with a password."""
    [line] = re.findall(r"^user hkpguard .*$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    return str(line).replace(">PASSWORD", f">{PASSWORD}")


class Server:
    """A server that can be killed, stopped and begun again at its port."""

    def __init__(self, binary: str, folder: Path, *options: str, port: int | None = None) -> None:
        """Start it, without data; its folder is new."""
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self.port = port or free_port()
        self._command = [binary, "--port", str(self.port), "--bind", LOOPBACK, *PERSISTS_NOTHING, *options]
        self.program = self._start()

    def _start(self) -> Program:
        program = Program(self._command, self._folder)
        program.await_port(int(self._command[2]) or self.port)
        return program

    def ask(self, *command: str | int) -> Any:
        """Ask it as its administrator."""
        with redis.Redis(port=self.port, protocol=2, socket_timeout=10) as client:
            client.response_callbacks.clear()  # answers as they come
            return client.execute_command(*command)

    def kill(self) -> None:
        """Kill it; its data is lost."""
        self.program.end(signal.SIGKILL)

    def start(self) -> None:
        """Begin it again."""
        self.program = self._start()

    def end(self) -> None:
        """End it, also if it is stopped."""
        if self.program.running:
            self.program.send(signal.SIGCONT)
        self.program.end(signal.SIGKILL)


@contextmanager
def server(binary: str, folder: Path, *options: str, port: int | None = None) -> Iterator[Server]:
    """Run a server."""
    started = Server(binary, folder, *options, port=port)
    try:
        yield started
    finally:
        started.end()


@contextmanager
def sentinel(binary: str, folder: Path, master: Server) -> Iterator[Server]:
    """Run a Sentinel that watches a master under the name `main`, and makes another one after half a second."""
    folder.mkdir()
    port = free_port()
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind {LOOPBACK}\n"
        f"sentinel monitor main {LOOPBACK} {master.port} 1\n"
        "sentinel down-after-milliseconds main 500\n"
        "sentinel failover-timeout main 3000\n"
    )
    started = Server.__new__(Server)
    started.port = port
    started._folder = folder
    started._command = [binary, str(config), "--sentinel"]
    started.program = Program(started._command, folder)
    try:
        started.program.await_port(port)
        yield started
    finally:
        started.end()


@contextmanager
def cluster(binary: str, cli: str, folder: Path, *options: str) -> Iterator[list[Server]]:
    """Run a cluster of three masters."""
    servers: list[Server] = []
    try:
        for number in range(3):
            own = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", str(free_port()))
            servers.append(Server(binary, folder / str(number), *own, *options))
        places = [f"{LOOPBACK}:{each.port}" for each in servers]
        made = run(cli, "--cluster", "create", *places, "--cluster-yes", seconds=60)
        assert made.returncode == 0, made.stdout + made.stderr
        until(lambda: all(b"cluster_state:ok" in each.ask("CLUSTER", "INFO") for each in servers), "the cluster is up")
        yield servers
    finally:
        for each in servers:
            each.end()


class Relay:
    """Hands on what clients and a server say to each other, after `delay_seconds`."""

    def __init__(self, port: int) -> None:
        """Listen for clients of the server at `port`."""
        self.delay_seconds = 0.0
        self._target = port
        self._socket = socket.create_server((LOOPBACK, 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more clients."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                try:
                    server = socket.create_connection((LOOPBACK, self._target))
                except OSError:
                    client.close()
                    continue
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._hand_on, args=ends, daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                time.sleep(self.delay_seconds / 2)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def relay(port: int) -> Iterator[Relay]:
    """Run a relay to a server."""
    started = Relay(port)
    try:
        yield started
    finally:
        started.close()


class Call(NamedTuple):
    """A call of the load."""

    began_s: float
    seconds: float
    well: bool


class Node:
    """The store of a node, on uvloop as in the analyst, in a thread; the test asks it from outside.

    Attributes:
        calls: What became of the load: a pipeline each 20 ms.
        heard: What a listener to bans heard.

    """

    def __init__(self, url: str, folder: Path, **settings: str) -> None:
        """Begin; see `node`."""
        given = {"REDIS_URL": url, "CLUSTER__SECRET": SECRET, "STATE_DIR": str(folder)} | settings
        config = Config.from_env({f"HKPGUARD_{name}": value for name, value in given.items()})
        self.events: list[Event] = []
        self.calls: list[Call] = []
        self.heard: list[Any] = []
        self._loop = uvloop.new_event_loop()
        self._began: Future[Store] = Future()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(config),))
        self._thread.start()
        self.store = self._began.result(10)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on its loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def writes_everywhere(self) -> bool:
        """Whether a script can write in each shard at this moment."""
        keys = [self.store.keys.key(Family.LIMIT, b"x", shard) for shard in range(SHARDS)]
        try:
            answers = self.do(self.store.pipeline([Command(COUNT, (key,), (1000,)) for key in keys], seconds=2))
        except StoreDown:
            return False
        return answers == [b"OK"] * SHARDS

    def until(self, *, up: bool, seconds: float = 20.0) -> float:
        """Wait until the store is up, or down; return after how many seconds it was."""
        began_s = time.monotonic()
        until(lambda: self.store.up is up, f"the store is {'up' if up else 'down'}", seconds)
        return time.monotonic() - began_s

    def longest_call(self) -> float:
        """Return how long a caller has waited at most."""
        return max(call.seconds for call in self.calls)

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._loop.close()

    async def _run(self, config: Config) -> None:
        self._stop = asyncio.Event()
        store = Store(config, publish=self.events.append)
        work = [asyncio.create_task(each) for each in (store.run(), *self.parts(config, store))]
        self._began.set_result(store)
        await self._stop.wait()
        for task in work:
            task.cancel()
        await asyncio.wait(work)

    def parts(self, _config: Config, store: Store) -> Iterable[Coroutine[Any, Any, None]]:
        """Return what runs beside the store; called on its loop."""
        return self._load(store), self._hear(store.listen(Family.BAN))

    async def _hear(self, listener: Any) -> None:
        async for each in listener:
            self.heard.append(each)

    async def _load(self, store: Store) -> None:
        keys = [store.keys.key(Family.LIMIT, b"load", shard) for shard in range(SHARDS)]
        while True:
            began_s, well = time.monotonic(), False
            with suppress(StoreDown):
                await store.pipeline([Command(COUNT, (key,), (1000,)) for key in keys])
                well = True
            self.calls.append(Call(began_s, time.monotonic() - began_s, well))
            await asyncio.sleep(0.02)


@contextmanager
def node(url: str, folder: Path, **settings: str) -> Iterator[Node]:
    """Run the store of a node."""
    started = Node(url, folder, **{"CLUSTER__TIMEOUT": "250ms"} | settings)
    try:
        yield started
    finally:
        started.close()


def log_of(lines: list[Any], event: str) -> list[str]:
    """Return the reasons that were logged with an event."""
    return [str(line.get("reason", "")) for line in lines if line["event"] == event]
