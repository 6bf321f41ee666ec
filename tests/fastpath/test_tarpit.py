"""The tarpit: what is held, what it is sent, what it may weigh, and when it goes."""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath.tarpit import KERNEL_OBJECT_BYTES, MOST_PER_TURN, Tarpit, TarpitMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Make = Callable[[], tuple[socket.socket, socket.socket]]

SECOND: Final = 1_000_000_000
MILLISECOND: Final = 1_000_000
INTERVAL: Final = 4 * SECOND
HOLD: Final = 3_600 * SECOND
SAFETY_MS: Final = 10_000
PLENTY: Final = 1 << 40

_opened: list[socket.socket] = []
_ours: set[str] = set()  # the sockets of a test, as the kernel names them


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close what a test has opened."""
    _ours.clear()
    yield
    while _opened:
        _opened.pop().close()


def tarpit(
    *,
    mode: TarpitMode = TarpitMode.SLOW,
    most: int = 10_000,
    most_kernel_bytes: int = PLENTY,
    interval_ns: int = INTERVAL,
    hold_ns: int = HOLD,
    seed: int = 1,
) -> Tarpit:
    """Return an empty tarpit, with other settings where they are named."""
    return Tarpit(
        mode=mode,
        most=most,
        most_kernel_bytes=most_kernel_bytes,
        interval_ns=interval_ns,
        hold_ns=hold_ns,
        seed=seed,
    )


def local() -> tuple[socket.socket, socket.socket]:
    """Return both sides of a connection within the kernel, ours first."""
    return _ready(*socket.socketpair())


def over_loopback() -> tuple[socket.socket, socket.socket]:
    """Return both sides of a TCP connection, ours first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    return _ready(near, far)


def _ready(*sides: socket.socket) -> tuple[socket.socket, socket.socket]:
    near, far = sides
    for side in sides:
        side.setblocking(False)
        _opened.append(side)
        _ours.add(f"socket:[{os.fstat(side.fileno()).st_ino}]")
    return near, far


def held(pit: Tarpit, now_ns: int = 0, *, make: Make = local, silent: bool = False) -> socket.socket:
    """Return the client's side of a connection that the tarpit holds."""
    near, far = make()
    assert pit.hold(near.detach(), now_ns, silent)
    return far


def watched(pit: Tarpit, *, make: Make = over_loopback) -> tuple[socket.socket, socket.socket]:
    """Return a second descriptor for a connection that the tarpit holds, and the client's side."""
    near, far = make()
    ours, _ = _ready(near.dup(), far)
    assert pit.hold(near.detach(), 0)
    return ours, far


def arrived(ours: socket.socket, events: int) -> None:
    """Wait until the kernel has brought what the client did."""
    poll = select.poll()
    poll.register(ours, events)
    assert poll.poll(SAFETY_MS)


def got(client: socket.socket) -> bytes:
    """Return what a client has been sent since it last looked."""
    try:
        return client.recv(65_536)
    except BlockingIOError:
        return b""


def fill(side: socket.socket, data: bytes) -> None:
    """Send until the kernel takes no more."""
    with suppress(BlockingIOError):
        while side.send(data):
            pass


def looks(pit: Tarpit, count: int, *, start_ns: int = 0, step_ns: int = INTERVAL) -> Iterator[int]:
    """Turn `count` times, one step of time before each, and yield the times."""
    for number in range(1, count + 1):
        pit.turn(start_ns + number * step_ns)
        yield start_ns + number * step_ns


def descriptors() -> int:
    """Return how many descriptors of this test are open; other threads have theirs."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            count += str(descriptor.readlink()) in _ours
    return count


def bounds_of(near: socket.socket) -> int:
    """Return what an idle connection weighs once its buffers are shrunk, to the KiB."""
    names = (socket.SO_RCVBUF, socket.SO_SNDBUF)
    weight = sum(near.getsockopt(socket.SOL_SOCKET, name) for name in names) + KERNEL_OBJECT_BYTES
    return -(-weight // 1024) * 1024


class TestWhatIsSent:
    """The modes."""

    @pytest.mark.parametrize("make", [local, over_loopback])
    def test_slow_drips(self, make: Make) -> None:
        """One to three bytes at each look, never more, never none, of all three sizes."""
        pit = tarpit()
        client = held(pit, make=make)
        sizes = Counter(len(got(client)) for _ in looks(pit, 60))
        assert set(sizes) == {1, 2, 3}

    def test_nothing_is_sent_before_its_time(self) -> None:
        """The second drip comes a whole interval after the first, not a millisecond earlier."""
        pit = tarpit()
        client = held(pit)
        pit.turn(INTERVAL)
        assert got(client)
        pit.turn(2 * INTERVAL - MILLISECOND)
        assert not got(client)
        pit.turn(2 * INTERVAL)
        assert got(client)

    def test_a_late_look_is_not_made_up_for(self) -> None:
        """After an hour without a turn a connection gets one drip, as always."""
        pit = tarpit(hold_ns=24 * HOLD)
        client = held(pit)
        assert [len(got(client)) <= 3 for _ in looks(pit, 3, step_ns=HOLD)] == [True] * 3

    def test_the_reply_is_http_and_never_ends(self) -> None:
        """The head is one of HTTP/1.1 without a length, and the body goes on with the same line for ever."""
        pit = tarpit()
        client = held(pit, silent=False)
        reply = b"".join(got(client) for _ in looks(pit, 800))
        head, body = reply.split(b"\r\n\r\n", 1)
        status, *lines = head.decode("ascii").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines)
        assert status == "HTTP/1.1 200 OK"
        assert fields["content-type"].startswith("text/html")
        assert fields["connection"] == "close"
        assert not fields.keys() & {"content-length", "transfer-encoding"}
        opening, _, rest = body.partition(b"<body>\n")
        again = rest.split(b"\n")
        assert opening.startswith(b"<!DOCTYPE html>")
        assert len(again) > 10
        assert set(again[:-1]) == {again[0]}

    @pytest.mark.parametrize(
        ("mode", "silent"),
        [(TarpitMode.STICKY, False), (TarpitMode.SLOW, True), (TarpitMode.RANDOM, True), (TarpitMode.STICKY, True)],
    )
    def test_silence(self, mode: TarpitMode, silent: bool) -> None:  # noqa: FBT001  # a row
        """A sticky tarpit sends nothing, and none does where TLS is spoken."""
        pit = tarpit(mode=mode)
        clients = [held(pit, silent=silent) for _ in range(16)]
        for _ in looks(pit, 10):
            assert not any(map(got, clients))
        assert pit.held == 16

    def test_random_does_both(self) -> None:
        """Some are sent bytes and some are not, each at its own times, between half and twice the interval."""
        pit = tarpit(mode=TarpitMode.RANDOM)
        clients = [held(pit) for _ in range(64)]
        times: list[list[int]] = [[] for _ in clients]
        for now_ns in looks(pit, 1000, step_ns=INTERVAL // 20):
            for client, mine in zip(clients, times, strict=True):
                if got(client):
                    mine.append(now_ns)
        pauses = [later - earlier for mine in times for earlier, later in pairwise(mine)]
        assert 16 < sum(map(bool, times)) < 48
        assert INTERVAL // 2 <= min(pauses) < INTERVAL * 6 // 10
        assert INTERVAL * 19 // 10 < max(pauses) <= INTERVAL * 2 + INTERVAL // 20

    def test_sends_do_not_bunch(self) -> None:
        """Of 200 that came at once hardly more than a tenth is sent bytes in each tenth of the interval."""
        pit = tarpit()
        clients = [held(pit) for _ in range(200)]
        for _ in looks(pit, 30, step_ns=INTERVAL // 10):
            assert 5 < sum(bool(got(client)) for client in clients) < 40

    def test_the_seed_decides(self) -> None:
        """The same seed gives the same bytes at the same times, another one does not."""

        def story(seed: int) -> list[bytes]:
            pit = tarpit(mode=TarpitMode.RANDOM, seed=seed)
            clients = [held(pit) for _ in range(8)]
            return [got(client) for _ in looks(pit, 40, step_ns=INTERVAL // 4) for client in clients]

        assert story(0) == story(0) != story(2**64 - 1)

    def test_a_full_buffer_is_no_error(self) -> None:
        """Who does not read stays, and when it does the reply goes on where it stopped."""
        pit, undisturbed = tarpit(), tarpit()
        ours, client = watched(pit, make=local)
        other = held(undisturbed)
        before = b"".join(got(client) for _ in looks(pit, 20))
        fill(ours, b"*" * 100)
        for now_ns in looks(pit, 20, start_ns=20 * INTERVAL):
            assert pit.held == 1, now_ns
        assert set(got(client)) == set(b"*")
        while got(client):
            pass
        after = b"".join(got(client) for _ in looks(pit, 20, start_ns=40 * INTERVAL))
        assert b"".join(got(other) for _ in looks(undisturbed, 60)).startswith(before + after[:20])


class TestWhoGoes:
    """Dead peers, and those that have been held long enough."""

    @pytest.mark.parametrize("mode", list(TarpitMode))
    @pytest.mark.parametrize("make", [local, over_loopback])
    @pytest.mark.parametrize("how", ["close", "half", "reset"])
    def test_a_peer_that_is_gone(self, mode: TarpitMode, make: Make, how: str) -> None:
        """A close, a FIN alone and a reset are found at the next look, and their descriptors freed."""
        pit = tarpit(mode=mode)
        stays = held(pit, make=make)
        ours, client = watched(pit, make=make)
        client.send(b"never read")
        if how == "half":
            client.shutdown(socket.SHUT_WR)
        else:
            if how == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        arrived(ours, select.POLLRDHUP)
        ours.close()
        before = descriptors()
        assert pit.turn(2 * INTERVAL) == 1
        assert (pit.held, descriptors()) == (1, before - 1)
        stays.close()

    def test_what_is_sent_is_not_read(self) -> None:
        """The bytes of a client stay where they are, and do not make it look dead."""
        pit = tarpit()
        ours, client = watched(pit)
        client.send(b"GET /.env HTTP/1.1\r\n\r\n")
        arrived(ours, select.POLLIN)
        assert sum(bool(got(client)) for _ in looks(pit, 10)) == 10
        assert ours.recv(100) == b"GET /.env HTTP/1.1\r\n\r\n"

    @pytest.mark.parametrize("mode", list(TarpitMode))
    def test_hold_time(self, mode: TarpitMode) -> None:
        """One is held to the millisecond, whatever its interval, and then reset, so that no state stays behind."""
        pit = tarpit(mode=mode, interval_ns=60 * SECOND, hold_ns=100 * SECOND)
        client = held(pit, 5 * SECOND, make=over_loopback)
        for _ in looks(pit, 999, start_ns=5 * SECOND, step_ns=SECOND // 10):
            assert pit.held == 1
        assert pit.turn(105 * SECOND - MILLISECOND) == 0
        assert pit.turn(105 * SECOND) == 1
        arrived(client, select.POLLHUP)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET

    def test_a_killed_worker_leaves_no_state(self) -> None:
        """That a connection is closed with a reset is set when it comes in, not when it goes."""
        pit = tarpit()
        ours, _client = watched(pit)
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == b"\1\0\0\0\0\0\0\0"

    def test_the_clock_may_be_any(self) -> None:
        """Times in ms do not fit 32 bits for long: the schedule holds where they wrap round."""
        start_ns = (2**32 - 5_000) * MILLISECOND
        pit = tarpit(hold_ns=10 * SECOND)
        client = held(pit, start_ns)
        drips = [len(got(client)) for _ in looks(pit, 9, start_ns=start_ns, step_ns=SECOND)]
        assert pit.held == 1
        assert sum(map(bool, drips)) in {2, 3}
        assert pit.turn(start_ns + 10 * SECOND) == 1

    def test_long_rounds_are_cut(self) -> None:
        """More than MOST_PER_TURN due at once are looked at in several turns, each of them once."""
        pit = tarpit()
        clients = [held(pit) for _ in range(2 * MOST_PER_TURN + 10)]
        served = [sum(bool(got(client)) for client in clients) for _ in looks(pit, 4, start_ns=INTERVAL, step_ns=1)]
        assert served == [MOST_PER_TURN, MOST_PER_TURN, 10, 0]

    def test_nobody_is_forgotten(self) -> None:
        """Where always more are due than a turn looks at, each is served in its turn, and goes in the end."""
        pit = tarpit(interval_ns=MILLISECOND, hold_ns=10 * SECOND)
        clients = [held(pit) for _ in range(2 * MOST_PER_TURN + 10)]
        counts = Counter(i for _ in looks(pit, 12, step_ns=SECOND // 2) for i, it in enumerate(clients) if got(it))
        assert [counts[i] for i in range(len(clients))] == [4] * len(clients)
        assert [pit.turn(10 * SECOND) for _ in range(4)] == [MOST_PER_TURN, MOST_PER_TURN, 10, 0]


class TestBounds:
    """How many, and how much."""

    def test_number(self) -> None:
        """No more than `most` are held; the caller keeps the one too many; a place that is freed can be taken."""
        pit = tarpit(most=2)
        clients = [held(pit), held(pit)]
        near, far = local()
        assert not pit.hold(near.fileno(), 0)
        near.send(b"still ours")
        assert got(far) == b"still ours"
        clients[0].close()
        assert pit.turn(INTERVAL) == 1
        assert pit.hold(near.detach(), INTERVAL)

    def test_none(self) -> None:
        """A tarpit of no places holds nothing and takes no memory."""
        pit = tarpit(most=0)
        near, _far = local()
        assert not pit.hold(near.fileno(), 0)
        assert (pit.turn(0), pit.held, pit.kernel_bytes, pit.user_bytes) == (0, 0, 0, 0)

    @pytest.mark.parametrize("make", [local, over_loopback])
    def test_kernel_bytes(self, make: Make) -> None:
        """Buffers are shrunk to the minimum, and count together with the kernel's objects, until they go."""
        pit = tarpit()
        ours, client = watched(pit, make=make)
        assert pit.kernel_bytes == bounds_of(ours) < 16_384
        other = held(pit, make=make)
        assert pit.kernel_bytes == 2 * bounds_of(ours)
        client.close()
        arrived(ours, select.POLLRDHUP)
        pit.turn(INTERVAL)
        assert pit.kernel_bytes == bounds_of(ours)
        other.close()

    def test_kernel_bytes_are_bounded(self) -> None:
        """One byte less than three connections weigh is room for two."""
        pit = tarpit()
        held(pit)
        weight = pit.kernel_bytes
        pit = tarpit(most_kernel_bytes=3 * weight - 1)
        clients = [held(pit), held(pit)]
        near, _far = local()
        assert not pit.hold(near.fileno(), 0)
        assert pit.kernel_bytes == 2 * weight
        assert len(clients) == pit.held

    def test_what_is_queued_weighs(self) -> None:
        """Bytes that came before a connection was held are not freed, so they count, and may be too many."""
        queued = 50_000
        weights = []
        for most_kernel_bytes in (PLENTY, queued):
            near, far = over_loopback()
            far.setblocking(True)
            far.sendall(bytes(queued))
            far.shutdown(socket.SHUT_WR)  # after the bytes: when it is here, they are
            arrived(near, select.POLLRDHUP)
            pit = tarpit(most_kernel_bytes=most_kernel_bytes)
            weights.append((pit.hold(near.fileno(), 0), pit.kernel_bytes))
            (near.detach if pit.held else near.close)()
        assert weights[0][1] >= queued + KERNEL_OBJECT_BYTES
        assert weights[1] == (False, 0)

    @pytest.mark.parametrize(("room_bytes", "kept"), [(PLENTY, 1), (20_000, 0)])
    def test_a_flood_weighs(self, room_bytes: int, kept: int) -> None:
        """A client that goes on sending is found at the next look: it counts, and goes if that is too much."""
        pit = tarpit(most_kernel_bytes=room_bytes)
        ours, client = watched(pit)
        idle = pit.kernel_bytes
        fill(client, bytes(65_536))
        arrived(ours, select.POLLIN)
        assert pit.turn(INTERVAL) == 1 - kept
        assert pit.held == kept
        assert pit.kernel_bytes > idle + 8_192 if kept else pit.kernel_bytes == 0

    def test_memory_goes_with_the_number(self) -> None:
        """At most 32 bytes for each of more than a few, never room for more than `most`, and little once they go."""
        pit = tarpit(most=300)
        clients = []
        for number in range(1, 301):
            clients.append(held(pit))
            assert 16 * number <= pit.user_bytes <= 32 * max(number, 32)
        assert pit.user_bytes == 16 * 300
        for client in clients[1:]:
            client.close()
        for _ in looks(pit, 6):
            pass
        assert pit.held == 1
        assert pit.user_bytes <= 16 * 64

    def test_ten_thousand(self) -> None:
        """So many are held at 32 bytes each, all are served, those that leave are dropped, and nothing leaks."""
        before = descriptors()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        try:
            taken = len(list(Path("/proc/self/fd").iterdir())) + 1000  # other threads open some meanwhile
            _hold_many(min(10_000, (hard - taken) // 2))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert descriptors() == before


def _hold_many(count: int) -> None:
    """Hold so many, lose every third of them, and close the rest."""
    pit = tarpit()
    fds = []
    for _ in range(count):
        near, far = local()
        assert pit.hold(near.detach(), 0)
        fds.append(far.detach())
    assert pit.held == count
    assert pit.user_bytes <= 32 * count
    rounds = count // MOST_PER_TURN + 1
    for _ in looks(pit, rounds, start_ns=INTERVAL, step_ns=1):
        pass
    for fd in fds:
        assert 1 <= len(os.read(fd, 100)) <= 3
    for fd in fds[::3]:
        os.close(fd)
    gone = sum(pit.turn(3 * INTERVAL) for _ in range(rounds))
    assert gone == len(fds[::3])
    assert pit.held == count - gone
    pit.close()
    for fd in set(fds) - set(fds[::3]):
        os.close(fd)


class TestOwnership:
    """A descriptor is owned from `hold` until it is closed."""

    def test_close(self) -> None:
        """All are closed and the memory is freed; closing twice is well, and so is holding again."""
        pit = tarpit()
        before = descriptors()
        clients = [held(pit) for _ in range(100)]
        pit.close()
        pit.close()
        assert (pit.held, pit.kernel_bytes, pit.user_bytes) == (0, 0, 0)
        assert descriptors() == before + len(clients)
        assert [client.recv(1) for client in clients] == [b""] * 100
        clients.append(held(pit))
        assert pit.held == 1

    def test_a_forgotten_tarpit_closes(self) -> None:
        """Nothing stays open when nobody holds the tarpit any more."""
        pit = tarpit()
        clients = [held(pit) for _ in range(10)]
        del pit
        assert [client.recv(1) for client in clients] == [b""] * 10

    @pytest.mark.parametrize("make_fd", [lambda: -1, lambda: os.open("/dev/null", os.O_RDWR)], ids=["none", "file"])
    def test_what_is_no_socket(self, make_fd: Callable[[], int]) -> None:
        """A descriptor that is none, or of a file, is not taken."""
        pit = tarpit()
        fd = make_fd()
        assert not pit.hold(fd, 0)
        assert pit.held == 0
        if fd >= 0:
            os.close(fd)

    @settings(deadline=None)
    @given(steps=st.lists(st.one_of(st.just("hold"), st.just("wait"), st.integers(0, 30)), max_size=60))
    def test_the_books_are_right(self, steps: list[str | int]) -> None:
        """Whoever comes, leaves and grows old in whatever order: who is held is alive and young, and no other."""
        before = descriptors()
        pit = tarpit(hold_ns=5 * INTERVAL, most=12)
        clients: dict[socket.socket, int] = {}
        now_ns = 0
        for step in steps:
            if step == "hold" and len(clients) < 12:
                clients[held(pit, now_ns)] = now_ns
            elif step == "wait":
                now_ns += INTERVAL
                old = [client for client, since_ns in clients.items() if now_ns - since_ns >= 5 * INTERVAL]
                assert pit.turn(now_ns) == pit_lost(clients, old)
                assert all(got(client) for client in clients)
            elif isinstance(step, int) and step < len(clients):
                list(clients)[step].close()
            assert descriptors() == before + pit.held + sum(client.fileno() >= 0 for client in clients)
        pit.close()
        for client in clients:
            client.close()
        assert descriptors() == before


def pit_lost(clients: dict[socket.socket, int], old: list[socket.socket]) -> int:
    """Forget the clients that have left or are old, and return how many those were."""
    lost = {client for client in clients if client.fileno() < 0}.union(old)
    for client in lost:
        client.close()
        del clients[client]
    return len(lost)


class TestSettings:
    """What may be set, and what a reload changes."""

    @pytest.mark.parametrize(
        ("name", "value", "error"),
        [
            ("mode", 3, "3 is not a valid TarpitMode"),
            ("mode", -1, "-1 is not a valid TarpitMode"),
            ("most", -1, "most -1 not in 0..1048576"),
            ("most", 2**20 + 1, "most 1048577 not in 0..1048576"),
            ("most_kernel_bytes", -1, "most_kernel_bytes -1 is negative"),
            ("interval_ns", MILLISECOND - 1, "interval_ns 999999 not in 1000000..86400000000000"),
            ("interval_ns", 86_400 * SECOND + 1, "interval_ns 86400000000001 not in"),
            ("hold_ns", MILLISECOND - 1, "hold_ns 999999 not in"),
            ("hold_ns", 86_400 * SECOND + 1, "hold_ns 86400000000001 not in"),
        ],
    )
    def test_faults(self, name: str, value: int, error: str) -> None:
        """A setting out of range is named with its bounds, and the old settings hold."""
        good = {"mode": 1, "most": 1, "most_kernel_bytes": PLENTY, "interval_ns": INTERVAL, "hold_ns": HOLD}
        with pytest.raises(ValueError, match=error):
            Tarpit(**{**good, name: value}, seed=1)
        pit = tarpit(most=2)
        with pytest.raises(ValueError, match=error):
            pit.configure(**{**good, name: value})
        clients = [held(pit), held(pit)]
        pit.turn(INTERVAL)
        assert all(map(got, clients))

    @pytest.mark.parametrize("time_ns", [MILLISECOND, 86_400 * SECOND])
    @pytest.mark.parametrize("mode", list(TarpitMode))
    def test_extremes(self, mode: TarpitMode, time_ns: int) -> None:
        """The shortest and the longest times are kept to."""
        pit = tarpit(mode=mode, interval_ns=time_ns, hold_ns=time_ns)
        client = held(pit)
        assert pit.turn(time_ns - MILLISECOND) == 0
        assert pit.turn(time_ns) == 1
        client.close()

    def test_a_reload(self) -> None:
        """New bounds and modes hold for those that come; who is held stays, with the new interval."""
        pit = tarpit()
        first, second = held(pit), held(pit)
        pit.configure(mode=TarpitMode.STICKY, most=1, most_kernel_bytes=0, interval_ns=INTERVAL // 4, hold_ns=SECOND)
        near, _far = local()
        assert not pit.hold(near.fileno(), 0)
        drips = [bool(got(first)) for _ in looks(pit, 8, start_ns=INTERVAL, step_ns=INTERVAL // 4)]
        assert drips == [True] * 8
        assert (pit.held, bool(got(second))) == (2, True)
