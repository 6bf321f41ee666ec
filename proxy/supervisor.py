"""The supervisor: forks, replaces what dies, reloads, drains. It serves nothing and runs no event loop.

Children inherit the listening sockets (`proxy.sockets`). The supervisor keeps its copies open, so the queue of a worker
that died is not reset but served by its replacement.

Signals. They are blocked and taken one by one with `sigtimedwait`, so nothing is ever interrupted:

    SIGTERM, SIGINT   readiness off, grace (none for SIGINT), workers finish what is in flight, exit 0
    SIGHUP            read the configuration again, hand it to all; a bad one is reported and the old one stays. The
                      analyst sends it too, when there is another policy of the cluster
    SIGCHLD           replace who died; two deaths within CALM_SECONDS back off, MOST_DEATHS in a row end it all

A child may show that it works by writing the time into a word of shared memory. If that stands still at MOST_SILENT
looks in a row the child hangs, and is killed and replaced. Looks are counted, not seconds: a node that was stopped as a
whole for an hour (a frozen container) is seen once in that hour, and goes on.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import structlog

from fastpath import Control
from proxy.cluster.kept import forget_policy, kept_policy
from proxy.config import Config, ConfigError
from proxy.renewal import renewed
from proxy.telemetry import log

if TYPE_CHECKING:
    from fastpath import Region

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
CALM_SECONDS = 5.0
MOST_BACKOFF_SECONDS = 8.0
MOST_DEATHS = 10  # of one child, each within CALM_SECONDS of its start
LOOK_SECONDS = 5.0  # between two looks at those who show that they work
MOST_SILENT = 6  # looks: half a minute; nothing that the analyst does in one go takes so long
KILL_AFTER_SECONDS = 2.0  # beyond hard_stop_after
SEND_SECONDS = 1.0  # a child that does not take a message for so long is hung
SETTLE_SECONDS = 0.05  # for connections that are just being made when the sockets are to be closed

Run = Callable[[socket.socket], int]  # a child's life: takes its end of the channel, returns an exit status


class Parent(NamedTuple):
    """The supervisor, as its children know it.

    Args:
        pid: Its process.
        life: Chance, 16 hex digits: this start of the guard.
        environ: The environment that it reads on SIGHUP.

    """

    pid: int
    life: str
    environ: Mapping[str, str]


@dataclass
class Child:
    """A process that must always run.

    Attributes:
        worker: Its index in shared memory, -1 for others.
        heartbeat: The word of `Region.control` that it writes as long as it works; None: it writes none.

    """

    name: str
    run: Run
    worker: int = -1
    heartbeat: Control | None = None
    pid: int = 0
    channel: socket.socket | None = None
    started: float = 0.0
    deaths: int = 0
    due: float = field(default=0.0)  # when it is to be started again
    heard: int = 0  # its last heartbeat
    silent: int = 0  # looks since then

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.pid != 0


class Supervisor:
    """Keeps the children of one node running."""

    def __init__(
        self,
        config: Config,
        region: Region,
        environ: Mapping[str, str],
        *,
        sockets: Callable[[], list[socket.socket]],
    ) -> None:
        """`environ` is read again on SIGHUP; `sockets` returns the listening sockets to close when draining."""
        self.config = config
        self.parent = Parent(os.getpid(), secrets.token_hex(8), environ)
        self._region = region
        self._sockets = sockets
        self._children: list[Child] = []
        self._draining = False
        self._generation = 0
        self._next_look = 0.0
        self._log = structlog.get_logger().bind(process="supervisor")

    def add(self, name: str, run: Run, worker: int = -1, heartbeat: Control | None = None) -> None:
        """Add a child, which `serve` will start; the order of adding is the reverse order of stopping."""
        self._children.append(Child(name, run, worker, heartbeat))

    def serve(self) -> int:
        """Run until told to stop; return the exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._take_up_policy()
        for child in self._children:
            self._start(child)
        while True:
            received = signal.sigtimedwait(SIGNALS, self._until_next_turn())
            number = received.si_signo if received else 0
            if number in (signal.SIGTERM, signal.SIGINT):
                return self._stop(grace=number == signal.SIGTERM)
            if number == signal.SIGHUP:
                self._reload()
            self._bury()
            self._look_after()
            if not self._revive():
                self._log.error("gave up", reason="a process dies again and again")
                self._stop(grace=False)
                return 1

    # Life and death.

    def _start(self, child: Child) -> None:
        ours, theirs = socket.socketpair()
        if child.worker >= 0:
            self._region.generations[child.worker] += 1
        pid = os.fork()
        if pid == 0:
            self._become(child, ours, theirs)
        theirs.close()
        ours.settimeout(SEND_SECONDS)
        child.pid, child.channel, child.started, child.due, child.silent = pid, ours, time.monotonic(), 0.0, 0
        if self._generation:
            self._send(child)
        self._log.info("started", child=child.name, pid=pid)

    def _become(self, child: Child, ours: socket.socket, theirs: socket.socket) -> None:
        """Live as `child`, in the new process; never returns."""
        status = 1
        try:
            ours.close()
            for other in self._children:
                if other.channel is not None:
                    other.channel.close()
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the supervisor decides
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            status = child.run(theirs)
        except BaseException:  # noqa: BLE001 - the last thing this process does is to say why
            structlog.get_logger().exception("died", process=child.name)
        finally:
            os._exit(status)

    def _bury(self) -> None:
        """Take note of the children that ended."""
        for child in self._children:
            if not child.alive:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            now = time.monotonic()
            early = now - child.started < CALM_SECONDS
            child.deaths = child.deaths + 1 if early else 1
            child.due = now + (min(MOST_BACKOFF_SECONDS, 0.5 * 2**child.deaths) if child.deaths > 1 else 0.0)
            child.pid = 0
            if child.channel is not None:
                child.channel.close()
            if not self._draining:
                self._log.warning("ended", child=child.name, status=os.waitstatus_to_exitcode(status))

    def _revive(self) -> bool:
        """Start who is due; False if one dies again and again."""
        now = time.monotonic()
        for child in self._children:
            if child.alive:
                continue
            if child.deaths >= MOST_DEATHS:
                return False
            if child.due <= now:
                self._start(child)
        return True

    def _look_after(self) -> None:
        """Kill who hangs; it is replaced like others that die."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        for child in self._children:
            if child.heartbeat is None or not child.alive:
                continue
            before, child.heard = child.heard, self._region.control[child.heartbeat]
            child.silent = child.silent + 1 if child.heard == before else 0
            if child.silent >= MOST_SILENT:
                self._log.warning("killed", child=child.name, reason="hangs")
                os.kill(child.pid, signal.SIGKILL)

    def _until_next_turn(self) -> float:
        """Return how long nothing is to be done, seconds."""
        times = [self._next_look, *(child.due for child in self._children if not child.alive)]
        return max(0.01, min(times) - time.monotonic())

    # Reload.

    def _take_up_policy(self) -> None:
        """Begin with the policy of the cluster that was in force; one that does not fit any more stops no start."""
        if (kept := kept_policy(self.config)) is None:
            return
        try:
            self.config = renewed(self.parent.environ, self.config, kept.text).config
        except ConfigError as error:
            self._log.error("starting without the policy of the cluster", faults=[str(each) for each in error.faults])
            forget_policy(self.config)
        else:
            self._region.control[Control.RELEASE] = kept.generation

    def _reload(self) -> None:
        kept = kept_policy(self.config)
        try:
            self.config, stays = renewed(self.parent.environ, self.config, kept.text if kept else "")
        except ConfigError as error:
            self._region.control[Control.RELOAD_FAILURES] += 1
            self._region.control[Control.RELOAD_OK] = 0
            self._log.error("configuration refused, the old one stays", faults=[str(each) for each in error.faults])
            return
        log.configure(self.config.log)
        self._generation += 1
        self._region.control[Control.POLICY_GENERATION] = self._generation
        self._region.control[Control.RELOAD_OK] = 1
        self._region.control[Control.RELEASE] = kept.generation if kept else 0
        for child in self._children:
            self._send(child)
        self._log.info("configuration reloaded", generation=self._generation, needs_restart=stays)

    def _send(self, child: Child) -> None:
        """Hand the present configuration to a child."""
        if child.channel is not None:
            message = json.dumps({"generation": self._generation, "environ": self.config.environ()}).encode()
            try:
                child.channel.sendall(len(message).to_bytes(4) + message)
            except TimeoutError:  # it hangs; its replacement starts with the present configuration
                self._log.warning("killed", child=child.name, reason="takes no configuration")
                os.kill(child.pid, signal.SIGKILL)
            except OSError:
                self._log.info("not told", child=child.name, reason="it just died")

    # The end.

    def _stop(self, *, grace: bool) -> int:
        """Drain in the order that lets nobody notice: readiness, workers, the rest."""
        self._draining = True
        self._region.control[Control.DRAINING] = 1
        for sock in self._sockets():
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)  # the kernel would reset who is deferred
        grace_seconds = self.config.grace_ns / 1e9 if grace else 0.0
        self._log.info("draining", grace_seconds=grace_seconds)
        self._wait(lambda: False, max(grace_seconds, SETTLE_SECONDS))
        for sock in self._sockets():
            sock.close()
        patience = self.config.hard_stop_after_ns / 1e9 + KILL_AFTER_SECONDS
        self._end([child for child in self._children if child.worker >= 0], patience)
        self._end([child for child in self._children if child.worker < 0], KILL_AFTER_SECONDS)
        self._log.info("stopped")
        return 0

    def _end(self, children: list[Child], patience: float) -> None:
        for child in children:
            if child.alive:
                os.kill(child.pid, signal.SIGTERM)
        self._wait(lambda: not any(child.alive for child in children), patience)
        for child in children:
            if child.alive:
                self._log.warning("killed", child=child.name)
                os.kill(child.pid, signal.SIGKILL)
        self._wait(lambda: not any(child.alive for child in children), KILL_AFTER_SECONDS)

    def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait until `done`, at most so long; a second SIGTERM or SIGINT ends the waiting."""
        end = time.monotonic() + seconds
        while not done() and (left := end - time.monotonic()) > 0:
            received = signal.sigtimedwait(SIGNALS, left)
            self._bury()
            if received and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                return
