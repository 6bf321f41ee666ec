"""Holds thousands of connections open, each of which follows a script.

A script is a generator. It yields what it wants done next, and is sent the bytes of a `Read` or `Sip`:

    bytes       send them, all of them, however long that takes
    float       do nothing for so many seconds
    Read()      wait until something can be read
    Sip(n)      take up to n bytes if there are any; b"" if not

A connection that the server ends, and one whose script is over, is opened anew, so that the attack stays at its full
strength; not more than `pace` a second are opened. All is bounded: number, pace and time. Connections are closed with
RST, which leaves nothing in the kernel. One thread and an edge-triggered epoll: 20 us for a step.
"""

import errno
import select
import socket
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from struct import pack
from time import monotonic_ns
from typing import NamedTuple

EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
EVENTS_PER_TURN = 512
OPENS_PER_TURN = 16
CATCH_UP_NS = 100_000_000  # how much of its pace an opener that was held up makes good
LONGEST_WAIT_S = 0.1
READ_BYTES = 65536
RESET_ON_CLOSE = pack("ii", 1, 0)
IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h: a port is chosen on connecting, so many connections may share one


class Read(NamedTuple):
    """Wait for bytes."""


class Sip(NamedTuple):
    """Take up to `most` bytes, without waiting."""

    most: int


Step = bytes | float | Read | Sip
Script = Generator[Step, bytes, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a hoard does.

    Attributes:
        port: Of 127.0.0.1.
        script: Makes the script of a connection from its number, 0 .. connections - 1.
        source: The address that this number comes from.
        connections: How many are held.
        pace: How many are opened a second, at most.
        receive_bytes: Size of the buffer for what the server sends; 0: the kernel's choice.

    """

    port: int
    script: Callable[[int], Script]
    source: Callable[[int], str]
    connections: int
    pace: float
    receive_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class Count:
    """What became of the connections: opened, ended by the server, over by themselves, not even opened."""

    opened: int = 0
    ended: int = 0
    over: int = 0
    failed: int = 0


class Held:
    """One connection."""

    __slots__ = ("number", "reading", "script", "sock", "unsent")

    def __init__(self, number: int, sock: socket.socket, script: Script) -> None:
        """Be connecting."""
        self.number = number
        self.sock = sock
        self.script = script
        self.unsent = b""
        self.reading = False


class Hoard:
    """The connections, and the loop that moves them."""

    def __init__(self, orders: Orders) -> None:
        """Open nothing yet."""
        self._orders = orders
        self.count = Count()
        self._poll = select.epoll()
        self._held: dict[int, Held] = {}
        self._missing = deque(range(orders.connections))
        self._sleeping: list[tuple[int, int, Held]] = []  # until when (ns), a number to tell equals apart, who
        self._naps = 0
        self._open_ns = 0

    def run(self, seconds: float, stop: int) -> None:
        """Hold them for `seconds`, or until `stop` (a descriptor) can be read or is at its end; then close all."""
        end_ns = monotonic_ns() + int(seconds * 1e9)
        self._poll.register(stop, select.EPOLLIN)
        while (now_ns := monotonic_ns()) < end_ns:
            self._open_due(now_ns)
            self._wake_due(now_ns)
            for descriptor, events in self._poll.poll(self._pause_s(now_ns), EVENTS_PER_TURN):
                if descriptor == stop:
                    end_ns = 0
                elif held := self._held.get(descriptor):
                    self._happened(held, events)
        for held in self._held.values():
            held.sock.close()
        self._held.clear()
        self._poll.close()

    def _pause_s(self, now_ns: int) -> float:
        """Return how long nothing is due."""
        due_ns = self._open_ns if self._missing else now_ns + int(LONGEST_WAIT_S * 1e9)
        if self._sleeping:
            due_ns = min(due_ns, self._sleeping[0][0])
        return min(max(0.0, (due_ns - now_ns) / 1e9), LONGEST_WAIT_S)

    def _open_due(self, now_ns: int) -> None:
        self._open_ns = max(self._open_ns, now_ns - CATCH_UP_NS)
        for _ in range(OPENS_PER_TURN):
            if not self._missing or self._open_ns > now_ns:
                return
            self._open_ns += int(1e9 / self._orders.pace)
            self._open(self._missing.popleft())

    def _open(self, number: int) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._orders.receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._orders.receive_bytes)
        try:
            sock.bind((self._orders.source(number), 0))
            with suppress(BlockingIOError):
                sock.connect(("127.0.0.1", self._orders.port))
        except OSError:
            sock.close()
            self.count.failed += 1
            self._missing.append(number)
            return
        self.count.opened += 1
        held = self._held[sock.fileno()] = Held(number, sock, self._orders.script(number))
        self._poll.register(sock, EVENTS)
        self._advance(held)

    def _wake_due(self, now_ns: int) -> None:
        while self._sleeping and self._sleeping[0][0] <= now_ns:
            held = heappop(self._sleeping)[2]
            if held.sock.fileno() >= 0:
                self._advance(held)

    def _happened(self, held: Held, events: int) -> None:
        if events & (select.EPOLLERR | select.EPOLLHUP):
            self._end(held)
        elif held.reading:
            if data := self._read(held):
                self._advance(held, data)
        elif events & select.EPOLLRDHUP:
            self._end(held)
        elif held.unsent and self._sent(held):
            self._advance(held)

    def _sent(self, held: Held) -> bool:
        """Send what is left; false if not all of it could be."""
        try:
            held.unsent = held.unsent[held.sock.send(held.unsent) :]
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                self._end(held)
            return False
        return not held.unsent

    def _advance(self, held: Held, data: bytes | None = None) -> None:
        """Follow the script until it has to wait."""
        while True:
            try:
                step = next(held.script) if data is None else held.script.send(data)
            except StopIteration:
                self.count.over += 1
                self._close(held)
                return
            data = None
            if isinstance(step, bytes):
                held.unsent = step
                if not self._sent(held):
                    return
            elif isinstance(step, Sip):
                data = self._sip(held, step.most)
            elif isinstance(step, Read):
                if not (data := self._read(held)):
                    return
            else:
                self._naps += 1
                heappush(self._sleeping, (monotonic_ns() + int(step * 1e9), self._naps, held))
                return

    def _read(self, held: Held) -> bytes:
        """Return what is there; b"" if that is still to come, or never will."""
        held.reading = False
        try:
            if data := held.sock.recv(READ_BYTES):
                return data
        except BlockingIOError:
            held.reading = True
            return b""
        except OSError:
            pass
        self._end(held)
        return b""

    def _sip(self, held: Held, most: int) -> bytes:
        try:
            return held.sock.recv(most)
        except OSError:  # what is broken is told by epoll
            return b""

    def _end(self, held: Held) -> None:
        self.count.ended += 1
        self._close(held)

    def _close(self, held: Held) -> None:
        del self._held[held.sock.fileno()]
        held.sock.close()
        held.script.close()
        self._missing.append(held.number)
