"""Honest clients at a fixed rate: some over connections that stay, some like gpg with a connection for each request.

Open loop, as in `openloop.py`: the time counts from when a request was due. Unlike there, what goes wrong is counted
and goes on, for this is what an attack is about: an answer that is not 200 or not whole, a connection that is refused
or breaks, no answer within PATIENCE_S. TLS never resumes a session: each connection has a full handshake.

It runs in a process of its own. Python costs 30 us for a request here, 0.5 ms for a handshake: enough for 2000 and
for 500 a second, not for a proxy's maximum. How late it sent is reported; it is no fault of the proxy.
"""

import errno
import gc
import json
import select
import socket
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from ssl import SSLContext, SSLSocket, SSLWantReadError, SSLWantWriteError
from time import monotonic_ns

from bench.certificate import unchecked
from bench.fault import MeasurementError
from bench.load import Client
from bench.openloop import percentile
from bench.processes import pinned
from bench.targets import BODY_END, dirmngr_heads, keepalive_heads

STAYING = 64  # connections that stay
MOST_OPEN = 2048  # what is due beyond that waits
WARM_UP_S = 0.5
PATIENCE_S = 5.0
SPARE_S = 25.0  # how much longer than asked the process may take
ADDRESSES: Mapping[Client, str] = {Client.KEEPALIVE: "127.1.0.1", Client.DIRMNGR: "127.1.0.2"}
NETWORK = "127.1.0.0/24"
READ_BYTES = 65536
EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
OK = b"200"


class VisitorsError(MeasurementError):
    """The generator itself failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """What the clients of one kind met.

    Attributes:
        sent: All requests, those of the warm-up too: what the CPU is divided by.
        counted: Requests after the warm-up.
        errors: Of these, those that went wrong, by what went wrong.
        p50_us: Median of the answered ones, from the time when the request was due to the last byte.
        p99_us: 99th percentile of the same.
        late_p99_us: 99th percentile of how late the generator itself was with sending: after the request was due and
            there was a connection for it. To wait for one is the server's fault.

    """

    sent: int
    counted: int
    errors: Mapping[str, int]
    p50_us: float
    p99_us: float
    late_p99_us: float

    @property
    def failed(self) -> int:
        """Requests that went wrong."""
        return sum(self.errors.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """How many requests of each kind a second, and whether they come over TLS."""

    rates: Mapping[Client, float]
    tls: bool = False


def measure(port: int, crowd: Crowd, seconds: float, *, core: int | None) -> dict[Client, Experience]:
    """Send `crowd` to `port`, from a process of its own.

    Raises:
        VisitorsError: see the class.

    """
    rates = [f"{kind.value}={rate}" for kind, rate in crowd.rates.items()]
    command = [sys.executable, "-m", "bench.visitors", str(port), str(seconds), str(int(crowd.tls)), *rates]
    try:
        done = subprocess.run(
            pinned(command, core),
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=seconds + SPARE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise VisitorsError(f"{command} did not end") from error
    if done.returncode != 0:
        raise VisitorsError(f"{command}: {done.stderr.strip()[-300:]}")
    return {Client(kind): Experience(**each) for kind, each in json.loads(done.stdout).items()}


class Tally:
    """What happened to the requests of one kind, in the order of sending."""

    def __init__(self, start_ns: int, rate: float, seconds: float) -> None:
        """Expect `rate` requests a second from `start_ns` on, for `seconds` and the warm-up."""
        self.interval_ns = int(1e9 / rate)
        self.total = max(1, int(rate * (seconds + WARM_UP_S)))
        self._skip = int(rate * WARM_UP_S)
        self._start_ns = start_ns
        self.sent = 0
        self._late_us: list[float] = []
        self._waited_us: list[float] = []
        self._errors: Counter[str] = Counter()

    @property
    def due_ns(self) -> int | None:
        """When the next request is due; None after the last."""
        return None if self.sent == self.total else self._start_ns + self.sent * self.interval_ns

    def depart(self, now_ns: int, free_ns: int = 0) -> tuple[int, int]:
        """Take note that the next request is sent; return its number and when it was due.

        Args:
            now_ns: Now.
            free_ns: Since when there has been a connection for it.

        """
        number, due_ns = self.sent, self._start_ns + self.sent * self.interval_ns
        self.sent += 1
        if number >= self._skip:
            self._late_us.append((now_ns - max(due_ns, free_ns)) / 1e3)
        return number, due_ns

    def arrive(self, number: int, due_ns: int, now_ns: int) -> None:
        """Take note of a whole answer."""
        if number >= self._skip:
            self._waited_us.append((now_ns - due_ns) / 1e3)

    def fail(self, number: int, why: str) -> None:
        """Take note that a request went wrong."""
        if number >= self._skip:
            self._errors[why] += 1

    def give_up(self) -> None:
        """Take note that what is left will not be sent: no connection became free."""
        while self.sent < self.total:
            self.fail(self.sent, "not sent")
            self.sent += 1

    def experience(self) -> Experience:
        """Return the sums."""
        waited, late = sorted(self._waited_us) or [0.0], sorted(self._late_us) or [0.0]
        return Experience(
            sent=self.sent,
            counted=self.sent - min(self.sent, self._skip),
            errors=dict(self._errors),
            p50_us=percentile(waited, 0.50),
            p99_us=percentile(waited, 0.99),
            late_p99_us=percentile(late, 0.99),
        )


class Visitor:
    """One connection, and the request that is on its way over it."""

    __slots__ = ("_handshaking", "due_ns", "free_ns", "kind", "number", "seen", "sock", "tail", "unsent")

    def __init__(self, kind: Client, sock: socket.socket) -> None:
        """Nothing is asked yet."""
        self.kind = kind
        self.sock = sock
        self._handshaking = isinstance(sock, SSLSocket)
        self.unsent = b""
        self.number = self.due_ns = -1
        self.free_ns = 0
        self.seen = self.tail = b""

    def ask(self, head: bytes, number: int, due_ns: int) -> None:
        """Be about to send `head`."""
        self.unsent, self.number, self.due_ns = head, number, due_ns
        self.seen = self.tail = b""

    def go_on(self) -> str | None:
        """Send and read what can be without waiting; return "" for a whole answer, else what is wrong, if it is over.

        The answer over a connection that stays ends with its body, gpg's with the connection.
        """
        try:
            self._send()
            while part := self.sock.recv(READ_BYTES):
                self.seen = self.seen or part[:12]
                self.tail = (self.tail + part)[-len(BODY_END) :]
        except OSError as error:
            if not _must_wait(error):
                return errno.errorcode.get(error.errno or 0, type(error).__name__)
            return self._verdict() if self.kind is Client.KEEPALIVE and self.tail == BODY_END else None
        return self._verdict() if self.kind is Client.DIRMNGR and self.tail == BODY_END else self._cut_off()

    def gone(self) -> bool:
        """Tell whether the other side has closed while nothing was asked."""
        try:
            return not self.sock.recv(READ_BYTES)
        except OSError as error:
            return not _must_wait(error)

    def _send(self) -> None:
        if self._handshaking:
            self.sock.do_handshake()  # type: ignore[attr-defined]  # an SSLSocket
            self._handshaking = False
        while self.unsent:
            self.unsent = self.unsent[self.sock.send(self.unsent) :]

    def _verdict(self) -> str:
        return "" if self.seen[9:12] == OK else self._cut_off()

    def _cut_off(self) -> str:
        status = self.seen[9:12].decode("latin-1")
        return f"status {status}" if status not in {"", "200"} else "closed"


def _must_wait(error: OSError) -> bool:
    """Tell whether it only says that there is nothing to read, no room to write, or no connection yet."""
    return isinstance(error, BlockingIOError | SSLWantReadError | SSLWantWriteError) or error.errno == errno.ENOTCONN


class Visits:
    """The loop: asks by the clock, reads as answers come."""

    def __init__(self, port: int, crowd: Crowd, seconds: float) -> None:
        """Connect those that stay; the first request is due now."""
        self._port = port
        self._context: SSLContext | None = unchecked() if crowd.tls else None
        self._poll = select.epoll()
        self._open: dict[int, Visitor] = {}
        self._idle: deque[Visitor] = deque()
        start_ns = monotonic_ns()
        self._end_ns = start_ns + int((WARM_UP_S + seconds + PATIENCE_S) * 1e9)
        self.tallies = {kind: Tally(start_ns, rate, seconds) for kind, rate in crowd.rates.items()}
        self._staying = 0
        self._heads = {Client.KEEPALIVE: cycle(keepalive_heads()), Client.DIRMNGR: cycle(dirmngr_heads())}

    def run(self) -> None:
        """Return when the last answer is there, or PATIENCE_S after the last request was due."""
        while (due_ns := self._ask_due()) is not None or self._busy():
            now_ns = monotonic_ns()
            if now_ns > self._end_ns:
                break
            wait_ns = 100_000_000 if due_ns is None else max(0, due_ns - now_ns)
            select.select([self._poll], [], [], wait_ns / 1e9)  # to the us, which epoll is not
            for descriptor, _ in self._poll.poll(0):
                self._progress(self._open[descriptor])
        for visitor in self._open.values():
            if visitor.number >= 0:
                self.tallies[visitor.kind].fail(visitor.number, "no answer")
            visitor.sock.close()
        for tally in self.tallies.values():
            tally.give_up()
        self._poll.close()

    def _busy(self) -> bool:
        return len(self._open) > len(self._idle)

    def _ask_due(self) -> int | None:
        """Send what is due; return when the next one is, None after the last."""
        following: int | None = None
        for kind, tally in self.tallies.items():
            now_ns = monotonic_ns()
            while (due_ns := tally.due_ns) is not None and due_ns <= now_ns and self._ask(kind, tally, now_ns):
                now_ns = monotonic_ns()
            if due_ns is not None:
                due_ns = due_ns if due_ns > now_ns else now_ns + 1_000_000  # no connection is free: look again soon
                following = due_ns if following is None else min(following, due_ns)
        return following

    def _ask(self, kind: Client, tally: Tally, now_ns: int) -> bool:
        """Send a request; false if no connection is free for it."""
        try:
            visitor = self._free(kind)
        except OSError as error:
            number, _ = tally.depart(now_ns)
            tally.fail(number, errno.errorcode.get(error.errno or 0, "connect"))
            return True
        if visitor is None:
            return False
        number, due_ns = tally.depart(now_ns, visitor.free_ns)
        visitor.ask(next(self._heads[kind]), number, due_ns)
        self._progress(visitor)
        return True

    def _free(self, kind: Client) -> Visitor | None:
        if kind is Client.KEEPALIVE and self._staying == STAYING:
            return self._idle.popleft() if self._idle else None  # who was idle longest: none shall be closed for that
        if len(self._open) == MOST_OPEN:
            return None
        visitor = Visitor(kind, self._connect(kind))
        self._staying += kind is Client.KEEPALIVE
        self._open[visitor.sock.fileno()] = visitor
        self._poll.register(visitor.sock, EVENTS)
        return visitor

    def _connect(self, kind: Client) -> socket.socket:
        sock = socket.socket()
        if self._context is not None:  # connected only then: a socket that is on its way cannot be wrapped
            sock = self._context.wrap_socket(sock, do_handshake_on_connect=False)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.bind((ADDRESSES[kind], 0))
            sock.connect_ex(("127.0.0.1", self._port))  # an error comes again with the first byte
        except OSError:
            sock.close()
            raise
        return sock

    def _progress(self, visitor: Visitor) -> None:
        if visitor.number < 0:
            if visitor.gone():
                self._idle.remove(visitor)
                self._forget(visitor)
            return
        wrong = visitor.go_on()
        if wrong is not None:
            self._settle(visitor, wrong)

    def _settle(self, visitor: Visitor, wrong: str) -> None:
        """Count an answer, or what came instead of it."""
        tally = self.tallies[visitor.kind]
        if wrong:
            tally.fail(visitor.number, wrong)
        else:
            tally.arrive(visitor.number, visitor.due_ns, monotonic_ns())
        if wrong or visitor.kind is Client.DIRMNGR:
            self._forget(visitor)
        else:
            visitor.number = -1
            visitor.free_ns = monotonic_ns()
            self._idle.append(visitor)

    def _forget(self, visitor: Visitor) -> None:
        del self._open[visitor.sock.fileno()]
        self._staying -= visitor.kind is Client.KEEPALIVE
        visitor.sock.close()


def _crowd(words: list[str], *, tls: bool) -> Crowd:
    """Read `keepalive=2000.0` and the like."""
    pairs = (word.split("=") for word in words)
    return Crowd(rates={Client(kind): float(rate) for kind, rate in pairs}, tls=tls)


def main() -> None:
    """Run with PORT SECONDS TLS(0 or 1) KIND=RATE...; prints one line of JSON."""
    port, seconds, tls, *words = sys.argv[1:]
    gc.disable()
    with suppress(OSError):  # see `openloop.main`
        Path("/proc/self/timerslack_ns").write_text("1")
    visits = Visits(int(port), _crowd(words, tls=bool(int(tls))), float(seconds))
    visits.run()
    done = {kind.value: asdict(tally.experience()) for kind, tally in visits.tallies.items()}
    sys.stdout.write(json.dumps(done) + "\n")


if __name__ == "__main__":
    main()
