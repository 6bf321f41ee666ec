"""TLS on raw descriptors: handshakes good, bad and never finished; what passes through; how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest

from proxy.http.stream import HIGH_WATER_BYTES
from proxy.http.tls import Tls, TlsStream, make_context
from tests.proxy.http.harness import SAFETY_SECONDS, SMALL_BUFFER, ManualLoop, exhaust, turns, until
from tests.proxy.http.tls_harness import HOST, Pair, TlsWire, make_pair, program, trusting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

V2, V3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
RECORD = 16384
HEADER = 5

both_versions = pytest.mark.parametrize("version", [pytest.param(V2, id="1.2"), pytest.param(V3, id="1.3")])


class Notes:
    """A protocol that notes what it is told."""

    def __init__(self, stream: TlsStream) -> None:
        """Nothing yet."""
        self.stream = stream
        self.data = b""
        self.longest = 0
        self.calls: list[str] = []

    def handshake_done(self) -> None:
        """Note it."""
        assert not self.stream.handshaking
        self.calls.append("done")

    def data_received(self, data: bytes) -> None:
        """Note the bytes."""
        assert data
        self.data += data
        self.longest = max(self.longest, len(data))

    def eof_received(self) -> None:
        """Note it."""
        self.calls.append("eof")

    def pause_writing(self) -> None:
        """Note it."""
        self.calls.append("pause")

    def resume_writing(self) -> None:
        """Note it."""
        self.calls.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        """Note it."""
        assert error is None
        self.calls.append("lost")


class Echo(Notes):
    """Sends everything back."""

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        super().data_received(data)
        self.stream.write(data)

    def eof_received(self) -> None:
        """Close."""
        super().eof_received()
        self.stream.close()


class Closing(Notes):
    """Wants nothing."""

    def handshake_done(self) -> None:
        """Close."""
        super().handshake_done()
        self.stream.close()


class OneByOne(Notes):
    """Wants one piece at a time."""

    def data_received(self, data: bytes) -> None:
        """Pause."""
        super().data_received(data)
        self.stream.pause_reading()


class Web(Notes):
    """Answers requests without bodies."""

    def data_received(self, data: bytes) -> None:
        """Answer a whole head."""
        super().data_received(data)
        if self.data.endswith(b"\r\n\r\n"):
            self.stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nkey")


class Line:
    """A connection: the stream and its protocol on our side, a wire on the client's."""

    def __init__(
        self,
        tls: Tls,
        context: ssl.SSLContext,
        *,
        protocol: type[Notes] = Notes,
        unix: bool = False,
        small: bool = False,
        name: str | None = HOST,
        session: ssl.SSLSession | None = None,
        network: int = 0,
    ) -> None:
        """Connect; nothing is read yet.

        Args:
            tls: Ours.
            context: The client's.
            protocol: Its class.
            unix: Over Unix sockets, whose kernel side cannot be told how much to wait for.
            small: As little buffer as the kernel gives; over Unix sockets, where that does not make it slow.
            name: The server that the client asks for.
            session: What the client resumes.
            network: Of the client, in one word.

        """
        near, far = socket.socketpair() if unix or small else _tcp_pair()
        for sock in (near, far) if small else ():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        near.setblocking(False)
        self.wire = TlsWire(far, context, name=name, session=session)
        self.stream = TlsStream(asyncio.get_running_loop(), near.detach(), tls, network)
        self.notes = protocol(self.stream)
        self.stream.protocol = self.notes

    @property
    def calls(self) -> list[str]:
        """What the protocol was told, but for data."""
        return self.notes.calls

    def begin(self) -> None:
        """Do what a connection of a client does first."""
        assert self.stream.read_now() is None
        self.stream.resume_reading()

    async def say_hello(self) -> None:
        """Begin a handshake, as far as may be, and say no more."""
        self.begin()
        await self.wire.raw(self.wire.hello())
        await turns()

    async def shake(self, first: bytes = b"") -> None:
        """Go through with the handshake."""
        self.begin()
        await self.wire.shake(first)
        await until(lambda: not self.stream.handshaking)

    async def lost(self) -> None:
        """Wait for the end on our side."""
        await until(lambda: "lost" in self.calls)

    async def got(self, data: bytes) -> None:
        """Wait until exactly this has been received."""
        await until(lambda: len(self.notes.data) >= len(data))
        assert self.notes.data == data

    def low_water(self) -> int:
        """Return how many bytes the kernel waits for before it wakes us."""
        with socket.socket(fileno=os.dup(self.stream.fd)) as same:
            return same.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)

    def close(self) -> None:
        """End both sides."""
        self.wire.close()
        self.stream.abort()


Connect = Callable[..., Line]
SClient = Callable[..., Awaitable["Dialogue"]]
Serve = Callable[[type[Notes]], tuple[int, list[Notes]]]


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def noise(size: int) -> bytes:
    """Return bytes of which none tells its place."""
    return Random(size).randbytes(size)  # noqa: S311 - nothing secret


def der(pair: Pair) -> bytes:
    """Return a certificate as a client sees it."""
    return ssl.PEM_cert_to_DER_cert(pair.cert.read_text())


def encrypt(key: Path) -> Path:
    """Return a copy of a key that wants a password."""
    copy = key.with_suffix(".encrypted")
    command = (program("openssl"), "pkey", "-in", str(key), "-aes256", "-passout", "pass:x", "-out", str(copy))
    subprocess.run(command, check=True)
    return copy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the files are."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def ec(folder: Path) -> Pair:
    """Return an elliptic-curve certificate."""
    return make_pair(folder, "ec", "first")


@pytest.fixture(scope="module")
def other(folder: Path) -> Pair:
    """Return another one."""
    return make_pair(folder, "ec", "other")


@pytest.fixture(scope="module")
def rsa(folder: Path) -> Pair:
    """Return an RSA certificate."""
    return make_pair(folder, "rsa", "rsa")


@pytest.fixture
def tls(ec: Pair) -> Tls:
    """Return what the connections of one worker share."""
    return Tls(make_context(*ec), most_handshakes=8)


@pytest.fixture
async def connect(tls: Tls, ec: Pair) -> AsyncIterator[Connect]:
    """Return a maker of connections; what raises in a callback fails the test."""
    lines: list[Line] = []

    def connect(context: ssl.SSLContext | None = None, tls: Tls = tls, **how: Any) -> Line:
        lines.append(Line(tls, context or trusting(ec), **how))
        return lines[-1]

    yield connect
    for line in lines:
        line.close()
    await turns()
    assert not cast("ManualLoop", asyncio.get_running_loop()).faults
    assert tls.handshakes == 0


# Handshakes that succeed.


@both_versions
@pytest.mark.parametrize("alpn", [[], ["http/1.1"], ["h2", "http/1.1"], ["h2"]])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
async def test_handshake(
    connect: Connect, request: pytest.FixtureRequest, version: ssl.TLSVersion, alpn: list[str], kind: str
) -> None:
    """Both versions, both kinds of keys, with and without a wish for a protocol; only HTTP/1.1 is granted."""
    pair: Pair = request.getfixturevalue(kind)
    context = trusting(pair, version=version)
    if alpn:
        context.set_alpn_protocols(alpn)
    line = connect(context, Tls(make_context(*pair), most_handshakes=1))
    await line.shake()
    assert line.wire.tls.selected_alpn_protocol() == ("http/1.1" if "http/1.1" in alpn else None)
    assert line.wire.tls.compression() is None
    await line.wire.send(b"request")
    await line.got(b"request")
    line.stream.write(b"reply")
    assert await line.wire.exactly(5) == b"reply"
    assert line.calls == ["done"]


async def test_client_that_names_no_server(connect: Connect, ec: Pair) -> None:
    """Clients without SNI are served."""
    context = trusting(ec)
    context.check_hostname = False
    line = connect(context, name=None)
    await line.shake()
    assert line.calls == ["done"]


async def test_client_like_gnupg_on_windows(connect: Connect, rsa: Pair) -> None:
    """NTBTLS: 1.2, P-256 only, AES-GCM with RSA, no tickets."""
    context = trusting(rsa, version=V2)
    context.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")
    context.set_ecdh_curve("prime256v1")
    context.options |= ssl.OP_NO_TICKET
    line = connect(context, Tls(make_context(*rsa), most_handshakes=1))
    await line.shake(b"request")
    await line.got(b"request")


@both_versions
async def test_request_that_comes_with_the_end_of_the_handshake(
    connect: Connect, ec: Pair, version: ssl.TLSVersion
) -> None:
    """It is delivered after `handshake_done`."""
    line = connect(trusting(ec, version=version))
    await line.shake(b"request")
    await line.got(b"request")
    assert line.calls == ["done"]


async def test_hello_that_came_with_the_connection(connect: Connect) -> None:
    """The first read answers it, without a turn of the loop."""
    line = connect()
    await line.wire.raw(line.wire.hello())
    assert line.stream.read_now() is None
    assert await line.wire.quiet() is False


async def test_hello_byte_by_byte(connect: Connect, tls: Tls) -> None:
    """Until the record is complete there is nothing of OpenSSL, and the kernel is told how much to wait for."""
    line = connect()
    hello = line.wire.hello()
    line.begin()
    for count, octet in enumerate(hello[:-1], 1):
        await line.wire.raw(bytes([octet]))
        assert tls.handshakes == 0
        assert line.low_water() == (HEADER if count < HEADER else len(hello))
    await line.wire.raw(hello[-1:])
    await until(lambda: tls.handshakes == 1)
    assert line.low_water() == 1
    await line.wire.shake()
    await until(lambda: line.calls == ["done"])


async def test_hello_in_two_parts_where_the_kernel_does_not_wait(connect: Connect) -> None:
    """A wake-up without more bytes makes us take what there is, instead of being woken for ever."""
    line = connect(unix=True)
    hello = line.wire.hello()
    line.begin()
    await line.wire.raw(hello[:100])
    await turns()
    assert line.stream.handshaking
    await line.wire.raw(hello[100:])
    await line.wire.shake(b"request")
    await line.got(b"request")


async def test_hello_in_two_records(connect: Connect) -> None:
    """Some clients split it against censors."""
    line = connect()
    hello = line.wire.hello()
    head, body = hello[:3], hello[HEADER:]
    line.begin()
    for part in (body[:40], body[40:]):
        await line.wire.raw(head + struct.pack(">H", len(part)) + part)
    await line.wire.shake()
    await until(lambda: line.calls == ["done"])


@both_versions
async def test_session_is_resumed_by_another_worker(
    connect: Connect, tls: Tls, ec: Pair, version: ssl.TLSVersion
) -> None:
    """Tickets are good wherever the context is the same."""
    context = trusting(ec, version=version)
    first = connect(context)
    await first.shake()
    first.stream.write(b"x")
    assert await first.wire.exactly(1) == b"x"
    second = connect(context, Tls(tls.context, most_handshakes=1), session=first.wire.tls.session)
    await second.shake()
    assert second.wire.tls.session_reused


# Handshakes that fail.


@pytest.mark.parametrize(
    ("version", "ciphers", "alert"),
    [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", "protocol version"),
        (V2, "ECDHE-ECDSA-AES128-SHA256", "handshake failure"),
        (V2, "AES128-GCM-SHA256", "handshake failure"),
    ],
    ids=["TLS 1.1", "CBC", "static RSA"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_client_of_yesterday(
    connect: Connect, tls: Tls, ec: Pair, version: ssl.TLSVersion, ciphers: str, alert: str
) -> None:
    """It is told why, and dropped."""
    context = trusting(ec, version=version)
    context.set_ciphers(ciphers)
    line = connect(context)
    line.begin()
    with pytest.raises(ssl.SSLError, match=alert):
        await line.wire.shake()
    await line.lost()
    assert line.calls == ["lost"]
    assert (tls.handshakes, tls.completed, tls.failed) == (0, 0, 1)


# What comes first, and after how many bytes it is known to be wrong: the kernel wakes us for the header, then for all.
GARBAGE = [
    pytest.param(b"GET / HTTP/1.1\r\n", 1, id="plain HTTP"),
    pytest.param(b"\x80\x2e\x01\x00\x02", 1, id="SSL 2"),
    pytest.param(b"\x17\x03\x03\x00\x20", 1, id="another kind of record"),
    pytest.param(b"\x16\x02", HEADER, id="version too old"),
    pytest.param(b"\x16\x03\x05", HEADER, id="no such version"),
    pytest.param(b"\x16\x03\x01\x00\x00", HEADER, id="empty record"),
    pytest.param(b"\x16\x03\x01\x40\x01", HEADER, id="record too long"),
    pytest.param(b"\x16\x03\x01\x00\x30\x02", HEADER + 0x30, id="another kind of message"),
]


@pytest.mark.parametrize(("data", "known"), GARBAGE)
async def test_garbage_that_came_with_the_connection(connect: Connect, tls: Tls, data: bytes, known: int) -> None:
    """The first read raises, and has allocated nothing."""
    line = connect()
    await line.wire.raw(data.ljust(known, b"\0"))
    with pytest.raises(OSError, match="no TLS"):
        line.stream.read_now()
    line.stream.abort()
    assert line.calls == ["lost"]
    assert (tls.handshakes, tls.failed) == (0, 1)


@pytest.mark.parametrize(("data", "known"), GARBAGE)
async def test_garbage_byte_by_byte(connect: Connect, data: bytes, known: int) -> None:
    """The connection ends as soon as it is known to be wrong, without an answer."""
    line = connect()
    line.begin()
    for octet in data.ljust(known, b"\0")[:known]:
        assert not line.calls
        await line.wire.raw(bytes([octet]))
    await line.lost()
    assert line.calls == ["lost"]
    with pytest.raises(ConnectionResetError):  # nothing was read
        await line.wire.rest()


@pytest.mark.parametrize("size", [0, 1, 5, 100, -1, 10_000])
@pytest.mark.parametrize("end", ["finish", "break_off"])
async def test_handshake_that_breaks_off(connect: Connect, tls: Tls, size: int, end: str) -> None:
    """Wherever a client leaves, its connection ends, and nothing remains."""
    line = connect()
    line.begin()
    hello = line.wire.hello()[:size]
    if hello:
        await line.wire.raw(hello)
    getattr(line.wire, end)()
    await line.lost()
    assert line.calls == ["lost"]
    assert (tls.handshakes, tls.completed, tls.failed) == (0, 0, 1)


async def test_damaged_hellos(connect: Connect, tls: Tls) -> None:
    """Whatever is wrong with it: an end or an answer, and nothing raises."""
    dice = Random(0)  # noqa: S311 - nothing secret
    for _ in range(200):
        line = connect()
        hello = bytearray(line.wire.hello())
        for _ in range(dice.randint(1, 4)):
            hello[dice.randrange(len(hello))] = dice.randrange(256)
        line.wire.push(bytes(hello))
        line.wire.finish()
        try:
            assert line.stream.read_now() is None
        except OSError:
            line.stream.abort()
        line.stream.resume_reading()
        await line.lost()
        line.close()
    assert (tls.handshakes, tls.failed) == (0, 200)


async def test_hello_without_end(connect: Connect) -> None:
    """Who sends a message that never becomes complete is dropped after two records."""
    line = connect()
    line.begin()
    announced = b"\x01\x02\x00\x00"  # a ClientHello of 128 KiB
    await line.wire.raw(b"\x16\x03\x01\x40\x00" + announced + bytes(RECORD - len(announced)))
    await turns()
    assert not line.calls
    await line.wire.raw(b"\x16\x03\x03\x40\x00" + bytes(RECORD))
    await line.lost()


async def test_records_that_say_nothing(connect: Connect) -> None:
    """A flood of them within the handshake ends it."""
    line = connect()
    line.begin()
    await line.wire.raw(line.wire.hello())
    line.wire.push(b"\x14\x03\x03\x00\x01\x01" * 1000)
    await line.lost()
    assert line.calls == ["lost"]


async def test_too_many_handshakes(connect: Connect, ec: Pair) -> None:
    """Beyond the bound the oldest ends for who comes; one that ends makes room, whichever way."""
    tls = Tls(make_context(*ec), most_handshakes=2)
    lines = [connect(tls=tls, network=number) for number in range(5)]
    for line in lines[:3]:
        await line.say_hello()
    assert [line.calls for line in lines[:3]] == [["lost"], [], []]
    assert tls.handshakes == 2
    lines[1].stream.abort()
    assert tls.handshakes == 1
    for line in lines[3:]:
        await line.shake()
    assert lines[2].calls == []
    assert (tls.handshakes, tls.completed, tls.failed) == (1, 2, 2)


async def test_one_handshake_in_a_turn(connect: Connect, tls: Tls) -> None:
    """Whoever came in the same turn waits for the next ones, the last of them shortest."""
    lines = [connect() for _ in range(4)]
    for line in lines:
        await line.wire.raw(line.wire.hello())
    order = []
    for line in lines:
        line.begin()
    while any(line.stream.waiting for line in lines):
        order.append([number for number, line in enumerate(lines) if line.stream.waiting])
        await turns(1)
    assert order == [[1, 2, 3], [1, 2], [1]]
    assert tls.handshakes == 4


async def test_who_waits_is_served(connect: Connect, tls: Tls) -> None:
    """A handshake that did not begin at once goes well, as does one whose client left while it waited: for nothing."""
    first, second, gone = (connect() for _ in range(3))
    hellos = [line.wire.hello() for line in (first, second, gone)]
    for line, hello in zip((first, second, gone), hellos, strict=True):
        await line.wire.raw(hello)
    for line in (first, second, gone):
        line.begin()
    gone.wire.close()
    await second.wire.shake(b"hello")
    await second.got(b"hello")
    await gone.lost()
    assert (tls.handshakes, tls.completed, tls.failed) == (1, 1, 1)


async def test_who_waits_may_be_given_up(connect: Connect, tls: Tls) -> None:
    """Its turn does not come, and it owes nothing."""
    lines = [connect(network=7) for _ in range(3)]
    for line in lines:
        await line.wire.raw(line.wire.hello())
    for line in lines:
        line.begin()
    lines[2].stream.abort()
    await turns()
    assert [line.calls for line in lines] == [[], [], ["lost"]]
    assert (tls.handshakes, tls.failed) == (2, 1)
    assert not tls.standing.in_debt(7)


@pytest.mark.parametrize("end", ["half", "reset"])
async def test_hello_and_nobody_behind_it(connect: Connect, tls: Tls, end: str) -> None:
    """Who has closed already cannot finish a handshake: it does not begin."""
    line = connect(network=7)
    await line.wire.raw(line.wire.hello())
    if end == "half":
        line.wire.sock.shutdown(socket.SHUT_WR)
    else:
        line.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.wire.close()
    with pytest.raises(OSError, match=r"ended during|recv failed"):
        line.stream.read_now()
    assert tls.handshakes == 0
    line.stream.abort()
    assert not tls.standing.in_debt(7)


async def test_debtors_wait_for_a_place(connect: Connect, ec: Pair) -> None:
    """Where half of the places are taken, those who left a handshake unfinished come after those who did not."""
    tls = Tls(make_context(*ec), most_handshakes=4)
    broken, held, also_held, debtor, newcomer, other = (
        connect(tls=tls, network=network) for network in (1, 2, 3, 1, 4, 5)
    )
    await broken.say_hello()
    broken.stream.abort()
    for line in (held, also_held, debtor):
        await line.say_hello()
    assert (tls.handshakes, debtor.stream.waiting, debtor.calls) == (2, True, [])
    await newcomer.shake()
    assert (tls.handshakes, debtor.stream.waiting) == (2, True)
    held.stream.abort()
    await debtor.wire.shake()
    await until(lambda: not debtor.stream.handshaking)
    assert not tls.standing.in_debt(1)
    await other.shake()
    assert (tls.handshakes, tls.completed, tls.failed) == (1, 3, 2)


async def test_debtors_begin_where_there_is_room(connect: Connect, tls: Tls) -> None:
    """While half of the places are free, nobody waits for having been silent."""
    broken, again = connect(network=1), connect(network=1)
    await broken.say_hello()
    broken.stream.abort()
    assert tls.standing.in_debt(1)
    await again.shake()
    assert (tls.completed, tls.failed) == (1, 1)


async def test_half_a_hello_takes_no_place(connect: Connect, ec: Pair) -> None:
    """Who has said too little does not keep others out."""
    tls = Tls(make_context(*ec), most_handshakes=1)
    slow, other = connect(tls=tls), connect(tls=tls)
    slow.begin()
    await slow.wire.raw(slow.wire.hello()[:-1])
    await other.shake()
    assert other.calls == ["done"]


async def test_nothing_is_said_before_the_handshake(connect: Connect) -> None:
    """What is written before is ignored, and a close says nothing."""
    line = connect()
    line.begin()
    line.stream.write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    line.stream.close()
    assert line.calls == ["lost"]
    assert await line.wire.rest() == b""


async def test_protocol_that_closes_at_once(connect: Connect) -> None:
    """Who closes when the handshake is done gets no data."""
    line = connect(protocol=Closing)
    await line.shake(b"request")
    assert line.calls == ["done", "lost"]
    assert line.notes.data == b""


# What passes through.


@both_versions
async def test_big_upload(connect: Connect, ec: Pair, version: ssl.TLSVersion) -> None:
    """A megabyte arrives in order, in bounded pieces."""
    line = connect(trusting(ec, version=version))
    await line.shake()
    data = noise(1 << 20)
    await line.wire.raw(line.wire.sealed(data))
    await line.got(data)
    assert line.notes.longest <= 2 * RECORD
    assert line.calls == ["done"]


@both_versions
@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_upload_in_odd_pieces(connect: Connect, ec: Pair, version: ssl.TLSVersion, step: int) -> None:
    """Records may be cut anywhere."""
    line = connect(trusting(ec, version=version))
    await line.shake()
    pieces = [bytes([number]) * size for number, size in enumerate((1, 200, 0, 3, 900, 1))]
    sealed = b"".join(line.wire.sealed(piece) for piece in pieces)
    for start in range(0, len(sealed), step):
        await line.wire.raw(sealed[start : start + step])
    await line.got(b"".join(pieces))


async def test_many_records_at_once(connect: Connect) -> None:
    """All that came in one turn is told in one call."""
    line = connect()
    await line.shake()
    line.wire.push(b"".join(line.wire.sealed(b"%d," % number) for number in range(300)))
    await line.got(b"".join(b"%d," % number for number in range(300)))
    assert line.notes.longest == len(line.notes.data)


async def test_pause_leaves_bytes_with_the_kernel(connect: Connect) -> None:
    """Nothing is told until reading is resumed, and nothing is lost."""
    line = connect(protocol=OneByOne, small=True)
    await line.shake()
    data = noise(300_000)
    taken = await line.wire.push_all(sealed := line.wire.sealed(data))
    assert taken < len(sealed)
    assert line.notes.longest <= 2 * RECORD

    def step() -> bool:
        nonlocal taken
        taken += line.wire.push(sealed[taken:])
        before = len(line.notes.data)
        line.stream.resume_reading()
        return len(line.notes.data) > before or taken < len(sealed)

    await exhaust(step)
    assert line.notes.data == data


@both_versions
async def test_big_reply_to_a_slow_reader(connect: Connect, ec: Pair, version: ssl.TLSVersion) -> None:
    """A megabyte arrives in order; the protocol is told to pause while the reader is slow."""
    line = connect(trusting(ec, version=version), small=True)
    await line.shake()
    data = noise(1 << 20)
    for start in range(0, len(data), 50_000):
        line.stream.write(data[start : start + 50_000])
    assert line.calls == ["done", "pause"]
    assert line.stream.backlog_bytes > HIGH_WATER_BYTES
    assert await line.wire.exactly(len(data)) == data
    await until(lambda: line.calls == ["done", "pause", "resume"])
    assert line.stream.backlog_bytes == 0


@pytest.mark.parametrize("size", [1, RECORD - 1, RECORD, RECORD + 1, 3 * RECORD])
async def test_sizes_of_writes(connect: Connect, size: int) -> None:
    """Whatever is written is read; nothing is sent for nothing."""
    line = connect()
    await line.shake()
    line.stream.write(b"x" * size)
    line.stream.write(b"")
    assert await line.wire.exactly(size) == b"x" * size
    assert await line.wire.quiet()


async def test_echo(connect: Connect) -> None:
    """Requests and replies by turns, on one connection."""
    line = connect(protocol=Echo)
    await line.shake(b"0")
    assert await line.wire.exactly(1) == b"0"
    for number in range(50):
        await line.wire.send(request := b"%d" % number * 200)
        assert await line.wire.exactly(len(request)) == request


@both_versions
async def test_damaged_record(connect: Connect, ec: Pair, version: ssl.TLSVersion) -> None:
    """The client is told, and dropped; nothing of it is delivered."""
    line = connect(trusting(ec, version=version))
    await line.shake()
    sealed = bytearray(line.wire.sealed(b"request"))
    sealed[-1] ^= 1
    await line.wire.raw(bytes(sealed))
    await line.lost()
    with pytest.raises(ssl.SSLError, match="alert bad record mac"):
        await line.wire.more()
    assert line.calls == ["done", "lost"]
    assert line.notes.data == b""


async def test_write_to_a_peer_that_left_is_told_in_the_next_turn(connect: Connect) -> None:
    """A protocol in the middle of a write is not called back from within; then it is, once."""
    line = connect(unix=True)
    await line.shake()
    line.stream.pause_reading()
    line.wire.close()
    line.stream.write(b"x")
    assert line.calls == ["done"]
    line.stream.write(b"y")
    await turns()
    assert line.calls == ["done", "lost"]


async def test_protocol_that_raises(connect: Connect) -> None:
    """That is our bug, and costs this connection."""
    loop = cast("ManualLoop", asyncio.get_running_loop())
    line = connect()
    await line.shake()
    line.notes.data = cast("bytes", None)
    await line.wire.send(b"request")
    await line.lost()
    assert len(loop.faults) == 1
    loop.faults.clear()


async def test_key_updates(connect: Connect) -> None:
    """Keys may change between requests, on both sides."""
    line = connect(protocol=Echo)
    await line.shake()
    for asked in (False, True, True):
        await line.wire.raw(line.wire.key_update(asked=asked) + line.wire.sealed(b"request"))
        assert await line.wire.exactly(7) == b"request"
    assert line.calls == ["done"]


@pytest.mark.parametrize(
    ("updates", "pause", "calls"), [(1000, 0, ["done"]), (1500, 0, ["done", "lost"]), (5000, 7, ["done"])]
)
async def test_flood_of_key_updates(connect: Connect, updates: int, pause: int, calls: list[str]) -> None:
    """Who sends nothing else is dropped after 32 KiB; a byte of plaintext now and then makes up for some."""
    line = connect()
    await line.shake()
    flood = b""
    for number in range(updates):
        flood += line.wire.key_update(asked=False)
        if pause and number % pause == 0:
            flood += line.wire.sealed(b"1234")
    await line.wire.push_all(flood)
    await turns()
    assert line.calls == calls


# Ends.


@both_versions
async def test_close(connect: Connect, ec: Pair, version: ssl.TLSVersion) -> None:
    """A close is a proper end for the client, at once for us."""
    line = connect(trusting(ec, version=version))
    await line.shake()
    line.stream.write(b"reply")
    line.stream.close()
    assert line.calls == ["done", "lost"]
    assert await line.wire.to_end() == b"reply"


async def test_close_sends_what_is_pending(connect: Connect) -> None:
    """The proper end comes after all that was written before."""
    line = connect(small=True)
    await line.shake()
    line.stream.write(b"x" * 200_000)
    line.stream.close()
    line.stream.write(b"late")
    assert line.calls == ["done", "pause"]
    assert await line.wire.to_end() == b"x" * 200_000
    await line.lost()
    assert line.calls.count("lost") == 1


async def test_abort(connect: Connect) -> None:
    """An abort is no proper end."""
    line = connect()
    await line.shake()
    line.stream.abort()
    assert line.calls == ["done", "lost"]
    with suppress(ssl.SSLEOFError):  # some versions of Python take it for an end all the same
        assert await line.wire.to_end() == b""


async def test_reset(connect: Connect) -> None:
    """A reset is an error."""
    line = connect()
    await line.shake()
    line.stream.reset()
    assert line.calls == ["done", "lost"]
    with pytest.raises(ConnectionResetError):
        await line.wire.to_end()


@both_versions
async def test_shutdown_write(connect: Connect, ec: Pair, version: ssl.TLSVersion) -> None:
    """The client reads a proper end and may still send, and so end in its turn."""
    line = connect(trusting(ec, version=version))
    await line.shake()
    line.stream.write(b"bye")
    line.stream.shutdown_write()
    assert await line.wire.to_end() == b"bye"
    assert await line.wire.rest() == b""
    await line.wire.raw(line.wire.sealed(b"late"))
    await line.got(b"late")
    line.wire.finish()
    await until(lambda: line.calls == ["done", "eof"])
    line.stream.close()
    assert line.calls == ["done", "eof", "lost"]


async def test_write_after_shutdown_write_is_told_in_the_next_turn(connect: Connect) -> None:
    """As on a plain connection, that breaks it; who writes is not called back from within."""
    line = connect()
    await line.shake()
    line.stream.shutdown_write()
    line.stream.write(b"late")
    assert line.calls == ["done"]
    await turns()
    assert line.calls == ["done", "lost"]


@both_versions
async def test_client_that_ends_after_we_did(connect: Connect, ec: Pair, version: ssl.TLSVersion) -> None:
    """Its close_notify after ours is an end like any other."""
    line = connect(trusting(ec, version=version))
    await line.shake()
    line.stream.shutdown_write()
    assert await line.wire.to_end() == b""
    line.wire.tls.unwrap()
    await line.wire.raw(line.wire.pending())
    await until(lambda: line.calls == ["done", "eof"])


@both_versions
async def test_client_that_ends_with_its_request(connect: Connect, ec: Pair, version: ssl.TLSVersion) -> None:
    """A request and a close_notify in one: both are told, and the reply is still read."""
    line = connect(trusting(ec, version=version))
    await line.shake()
    await line.wire.raw(line.wire.sealed(b"request") + line.wire.goodbye())
    await until(lambda: line.calls == ["done", "eof"])
    assert line.notes.data == b"request"
    line.stream.resume_reading()
    line.stream.write(b"reply")
    line.stream.close()
    assert await line.wire.to_end() == b"reply"
    assert line.calls == ["done", "eof", "lost"]


async def test_end_without_close_notify(connect: Connect) -> None:
    """It is told like any other: requests know their length."""
    line = connect()
    await line.shake()
    await line.wire.send(b"request")
    line.wire.finish()
    await until(lambda: line.calls == ["done", "eof"])
    assert line.notes.data == b"request"


async def test_end_within_a_record(connect: Connect) -> None:
    """What is not complete is not told; the end is."""
    line = connect()
    await line.shake()
    await line.wire.raw(line.wire.sealed(b"request")[:-1])
    line.wire.finish()
    await until(lambda: line.calls == ["done", "eof"])
    assert line.notes.data == b""


async def test_end_that_was_read_while_paused(connect: Connect) -> None:
    """It is told when reading is resumed, although the kernel has nothing more to say."""
    line = connect(protocol=OneByOne)
    await line.shake()
    await line.wire.raw(line.wire.sealed(b"request") + line.wire.goodbye())
    await line.got(b"request")
    await turns()
    assert line.calls == ["done"]
    line.stream.resume_reading()
    await until(lambda: line.calls == ["done", "eof"])
    line.stream.resume_reading()
    await turns()
    assert line.calls == ["done", "eof"]


async def test_read_now_after_the_handshake(connect: Connect) -> None:
    """None while nothing is there, plaintext, then b"" for good."""
    line = connect()
    await line.shake()
    line.stream.pause_reading()
    assert line.stream.read_now() is None
    await line.wire.raw(line.wire.sealed(b"request") + line.wire.goodbye())
    assert [line.stream.read_now() for _ in range(3)] == [b"request", b"", b""]
    assert line.calls == ["done"]


async def test_detach(connect: Connect, tls: Tls) -> None:
    """Who detaches the descriptor has it, open, and is told nothing; handshakes are counted out."""
    running, done = connect(), connect()
    await done.shake()
    await running.wire.raw(running.wire.hello())
    assert running.stream.read_now() is None
    for line in (running, done):
        fd = line.stream.detach()
        assert os.fstat(fd)
        os.close(fd)
        assert (line.stream.fd, line.stream.protocol) == (-1, None)
    assert (running.calls, done.calls) == ([], ["done"])
    assert (tls.handshakes, tls.completed, tls.failed) == (0, 1, 1)


# Certificates.


@both_versions
async def test_reload(connect: Connect, tls: Tls, ec: Pair, other: Pair, version: ssl.TLSVersion) -> None:
    """New handshakes see the new certificate; open connections and sessions do not notice."""
    context = trusting(ec, other, version=version)
    before = connect(context, protocol=Echo)
    await before.shake()
    await before.wire.send(b"one")
    assert await before.wire.exactly(3) == b"one"
    tls.reload(*other)
    await before.wire.send(b"two")
    assert await before.wire.exactly(3) == b"two"
    after = connect(context)
    await after.shake()
    assert before.wire.tls.getpeercert(binary_form=True) == der(ec)
    assert after.wire.tls.getpeercert(binary_form=True) == der(other)
    resumed = connect(context, session=before.wire.tls.session)
    await resumed.shake(b"request")
    await resumed.got(b"request")
    assert resumed.wire.tls.session_reused


async def test_reload_to_another_kind_of_key(connect: Connect, ec: Pair, rsa: Pair) -> None:
    """The old certificate is gone, also for clients that would prefer it."""
    tls = Tls(make_context(*rsa), most_handshakes=8)
    context = trusting(rsa, ec, version=V2)
    context.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")
    line = connect(context, tls)
    await line.shake()
    tls.reload(*ec)
    line = connect(context, tls)
    line.begin()
    with pytest.raises(ssl.SSLError, match="handshake failure"):
        await line.wire.shake()


@pytest.mark.parametrize("case", ["foreign key", "swapped", "no such file", "rubbish", "encrypted"])
async def test_bad_pair(connect: Connect, tls: Tls, ec: Pair, other: Pair, folder: Path, case: str) -> None:
    """A reload that cannot be done raises, asks nobody for a password, and leaves what was."""
    rubbish = folder / "rubbish.pem"
    rubbish.write_text("-----BEGIN CERTIFICATE-----\nrubbish\n")
    pairs = {
        "foreign key": (other.cert, ec.key),
        "swapped": (other.key, other.cert),
        "no such file": (folder / "nowhere.pem", other.key),
        "rubbish": (rubbish, other.key),
        "encrypted": (other.cert, encrypt(other.key)),
    }
    with pytest.raises(OSError, match=r"."):
        tls.reload(*pairs[case])
    line = connect()
    await line.shake()
    assert line.wire.tls.getpeercert(binary_form=True) == der(ec)


def test_context(ec: Pair) -> None:
    """Only 1.2 and 1.3, with forward secrecy and authenticated encryption, without renegotiation."""
    context = make_context(*ec)
    assert context.minimum_version == V2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.num_tickets == 1
    for cipher in context.get_ciphers():
        assert cipher["aead"]
        assert cipher["name"].startswith(("TLS_", "ECDHE-"))


# Real programs.


class Dialogue:
    """A program that is talked to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Its standard input is ours, and so are both outputs."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self._heard = b""

    async def say(self, data: bytes) -> None:
        """Send it."""
        self._in.write(data)
        await self._in.drain()

    async def hear(self, words: bytes) -> None:
        """Wait for them."""
        async with asyncio.timeout(SAFETY_SECONDS):
            while words not in self._heard:
                piece = await self._out.read(65536)
                assert piece, self._heard
                self._heard += piece

    async def rest(self) -> bytes:
        """Wait for the end; return all that it said."""
        async with asyncio.timeout(SAFETY_SECONDS):
            return self._heard + await self._out.read()


@pytest.fixture
async def serve(tls: Tls) -> AsyncIterator[Serve]:
    """Return a maker of servers; each returns its port, and the protocols of those who came."""
    loop = asyncio.get_running_loop()
    servers: list[tuple[socket.socket, list[Notes]]] = []

    def accept(listener: socket.socket, protocol: type[Notes], came: list[Notes]) -> None:
        sock, _ = listener.accept()
        sock.setblocking(False)
        stream = TlsStream(loop, sock.detach(), tls)
        stream.protocol = notes = protocol(stream)
        came.append(notes)
        stream.resume_reading()

    def serve(protocol: type[Notes]) -> tuple[int, list[Notes]]:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        servers.append((listener, []))
        loop.add_reader(listener.fileno(), accept, listener, protocol, servers[-1][1])
        return listener.getsockname()[1], servers[-1][1]

    yield serve
    for listener, came in servers:
        loop.remove_reader(listener.fileno())
        listener.close()
        for notes in came:
            notes.stream.abort()
    assert not cast("ManualLoop", loop).faults


@pytest.fixture
async def s_client(ec: Pair) -> AsyncIterator[SClient]:
    """Return a starter of `openssl s_client`, which waits until it is connected; it is ended with the test."""
    started: list[asyncio.subprocess.Process] = []
    pipe = subprocess.PIPE

    async def start(port: int, *options: str) -> Dialogue:
        to_us = ("-brief", "-connect", f"127.0.0.1:{port}", "-servername", HOST, "-CAfile", str(ec.cert))
        command = (program("openssl"), "s_client", *to_us, *options)
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
        started.append(process)
        dialogue = Dialogue(process)
        await dialogue.hear(b"Verification: OK")
        return dialogue

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.integration
@pytest.mark.parametrize(
    "options", [(), ("--http2",), ("--no-alpn",), ("--tls-max", "1.2"), ("--tls-max", "1.2", "--no-alpn")], ids=" ".join
)
async def test_curl(serve: Serve, ec: Pair, options: tuple[str, ...]) -> None:
    """It gets its replies on one connection, which it ends properly."""
    port, lines = serve(Web)
    url = f"https://{HOST}:{port}/"
    to_us = ("--noproxy", "*", "--resolve", f"{HOST}:{port}:127.0.0.1", "--cacert", str(ec.cert))
    command = (program("curl"), "--silent", "--show-error", *to_us, *options, url, url)
    async with asyncio.timeout(SAFETY_SECONDS):
        curl = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out, _ = await curl.communicate()
    assert out == b"keykey"
    (notes,) = lines
    await until(lambda: notes.calls == ["done", "eof"])


@pytest.mark.integration
async def test_renegotiation(serve: Serve, s_client: SClient, tls: Tls) -> None:
    """It is refused: nobody may make us compute for nothing."""
    port, came = serve(Echo)
    client = await s_client(port, "-tls1_2")
    await client.say(b"one\n")
    await client.hear(b"one")
    await client.say(b"R\n")
    assert b"no renegotiation" in await client.rest()
    await until(lambda: came[0].calls == ["done", "lost"])
    assert (came[0].data, tls.completed) == (b"one\n", 1)


@pytest.mark.integration
async def test_key_update_of_openssl(serve: Serve, s_client: SClient) -> None:
    """The conversation goes on."""
    port, came = serve(Echo)
    client = await s_client(port)
    await client.say(b"K\n")
    await client.hear(b"KEYUPDATE")
    await client.say(b"two\n")
    await client.hear(b"two")
    await client.say(b"Q\n")
    await client.rest()
    await until(lambda: came[0].calls == ["done", "eof", "lost"])
    assert came[0].data == b"two\n"
