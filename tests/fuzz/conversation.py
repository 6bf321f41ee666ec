"""Conversations through a whole worker in which one side sends what it likes.

`converse`: a client's bytes, and a keyserver that answers each request. `relay`: a keyserver's bytes, and a client
that wants to know what became of its request, and of its next one.

The readers of messages are the tests' own: they take what the guard sends apart by the letter of RFC 9112, and are
stopped by anything that is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.fuzz.corpora import Asked
from tests.proxy.http.harness import exhaust, get, ok

if TYPE_CHECKING:
    import socket

    from tests.proxy.http.harness import Keyserver, Node

LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", re.DOTALL)
STATUS = re.compile(rb"HTTP/1\.1 ([2-5]\d\d) [^\r\n]*\r\n")


@dataclass
class End:
    """What came over one socket; `over`: how it ended, empty as long as it has not."""

    sock: socket.socket
    data: bytes = b""
    over: str = ""

    def step(self) -> bool:
        """Read what is there; return whether there was anything."""
        if self.over:
            return False
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            self.over = "reset"
            return True
        self.data += data
        if not data:
            self.over = "closed"
        return True


@dataclass
class Server:
    """A keyserver that answers whatever is complete."""

    keyserver: Keyserver
    answer: bytes = ok(b"key\n")
    ends: list[End] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def step(self) -> bool:
        """Accept, read and answer; return whether there was anything to do."""
        busy = self._accept()
        for end in self.ends:
            busy |= end.step() | self._answer(end)
        return busy

    def _accept(self) -> bool:
        try:
            sock, _ = self.keyserver._sock.accept()
        except BlockingIOError:
            return False
        sock.setblocking(False)
        self.ends.append(End(sock))
        return True

    def _answer(self, end: End) -> bool:
        found = request_of(end.data)
        if found is None:
            return False
        request, end.data = found
        self.asked.append(request)
        if not end.over:
            end.sock.send(ok(b"") if request.method == "HEAD" else self.answer)
        return True

    @property
    def half_open(self) -> bool:
        """Whether a part of a request stands on a connection that is still good for another one."""
        return any(end.data and not end.over for end in self.ends)

    def close(self) -> None:
        """Close the connections."""
        for end in self.ends:
            end.sock.close()


def request_of(data: bytes) -> tuple[Asked, bytes] | None:
    """Return the request at the start of `data` and what follows it, None if it is not complete."""
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    assert version == "HTTP/1.1"
    fields = tuple(_field(line) for line in lines)
    framing = {name.lower(): value for name, value in fields}
    assert len(framing.keys() & {"content-length", "transfer-encoding"}) <= 1
    body = _chunked(rest) if "transfer-encoding" in framing else _counted(rest, int(framing.get("content-length", 0)))
    return None if body is None else (Asked(method, target, fields, body[0]), body[1])


def _field(line: str) -> tuple[str, str]:
    found = LINE.fullmatch(line)
    assert found is not None, line
    return found[1], found[2]


def _counted(data: bytes, length: int) -> tuple[bytes, bytes] | None:
    return None if len(data) < length else (data[:length], data[length:])


def _chunked(data: bytes) -> tuple[bytes, bytes] | None:
    body = b""
    while found := re.match(rb"([0-9a-f]+)\r\n", data):
        size = int(found[1], 16)
        if len(data) < found.end() + size + 2:
            return None
        piece, end, data = (
            data[found.end() : found.end() + size],
            data[found.end() + size : found.end() + size + 2],
            data[found.end() + size + 2 :],
        )
        assert end == b"\r\n"
        if not size:
            return body, data
        body += piece
    assert re.fullmatch(rb"[0-9a-f]*\r?", data), data
    return None


@dataclass(frozen=True)
class Outcome:
    """What came of some bytes.

    Attributes:
        asked: Complete requests that the keyserver got.
        statuses: Of the replies that the client got.
        refused: The guard closed the connection by itself after a reply with an error.
        dropped: It closed it without a further reply, once the client had said that it sends no more.
        half: A part of a request was left on an upstream connection that is still open.

    """

    asked: tuple[Asked, ...]
    statuses: tuple[int, ...]
    refused: bool
    dropped: bool
    half: bool


async def converse(node: Node, data: bytes) -> Outcome:
    """Send `data` as a client, wait until nothing happens any more, then say that this was all."""
    client = await node.connect()
    end, server = End(client.sock), Server(node.keyserver)
    try:
        await client.push_all(data)
        await exhaust(lambda: end.step() | server.step())
        closed = bool(end.over)
        statuses = tuple(int(status) for status in STATUS.findall(end.data))
        if not closed:
            client.finish()
            await exhaust(lambda: end.step() | server.step())
        later = len(STATUS.findall(end.data)) > len(statuses)
        half = server.half_open
    finally:
        server.close()
    refused = closed and bool(statuses) and statuses[-1] >= 400
    return Outcome(tuple(server.asked), statuses, refused, not closed and bool(end.over) and not later, half)


NEXT = b"the true answer\n"


@dataclass(frozen=True)
class Relayed:
    """What a client got for its request.

    Attributes:
        status: Of the reply.
        body: As far as it came.
        whole: The reply is complete, and looks so.
        after: Bytes behind the reply: there must never be any.
        following: The body of the reply to a second request, on the same connection if that is still open.
        reused: The second request came to the keyserver over the connection of the first.

    """

    status: int
    body: bytes
    whole: bool
    after: bytes
    following: bytes
    reused: bool


async def relay(node: Node, *pieces: bytes, request: bytes = get(), closes: bool = True) -> Relayed:
    """Answer `request` with these bytes, then ask for something else.

    Args:
        node: With one keyserver.
        pieces: What the keyserver sends, with turns of the loop after each.
        request: May be incomplete.
        closes: The keyserver closes the connection after it; else it goes on to serve it.

    """
    client, link = await node.begin(request)
    end, server = End(client.sock), Server(node.keyserver, answer=ok(NEXT))
    for piece in pieces:
        await link.push_all(piece)
        await exhaust(end.step)
    if closes:
        link.sock.close()
    else:
        server.ends.append(End(link.sock))
        await exhaust(server.step)
        server.asked.clear()
    await exhaust(end.step)
    first = reply_of(end, head_only=request.startswith(b"HEAD"))
    before = len(server.ends)
    return Relayed(*first, await _next(node, end, server), reused=len(server.ends) == before)


async def _next(node: Node, end: End, server: Server) -> bytes:
    """Ask once more, on the same connection if it is open; the keyserver answers truthfully on any."""
    if end.over:
        end = End((await node.connect()).sock)
    before = len(end.data)
    end.sock.send(get("/pks/stats"))
    try:
        await exhaust(lambda: end.step() | server.step())
    finally:
        server.close()
    assert [asked.target for asked in server.asked] == ["/pks/stats"]
    end.data = end.data[before:]
    status, body, whole, after = reply_of(end, head_only=False)
    assert (status, whole, after) == (200, True, b"")
    return body


def reply_of(end: End, *, head_only: bool) -> tuple[int, bytes, bool, bytes]:
    """Return (status, body, whether it is complete, what follows) of the reply that came over a socket."""
    head, found, rest = end.data.partition(b"\r\n\r\n")
    assert found, end.data
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status, *_ = first.split(" ")
    assert version == "HTTP/1.1"
    framing = {name.lower(): value for name, value in map(_field, lines)}
    if head_only or status in {"204", "304"}:
        return int(status), b"", True, rest
    if "transfer-encoding" in framing:
        assert "content-length" not in framing
        body = _chunked(rest)
        return (int(status), rest, False, b"") if body is None else (int(status), body[0], True, body[1])
    if "content-length" not in framing:
        return int(status), rest, end.over == "closed", b""
    length = int(framing["content-length"])
    return int(status), rest[:length], len(rest) >= length, rest[length:]
