"""Whatever is asked in a row, in whatever framing and pieces, each request gets its own reply and nothing else.

A model of a connection: requests are pipelined, cut anywhere; replies come in any framing, cut anywhere. Bodies look
like requests and replies, so that a reader that is a byte off finds something to take for the next message.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import Config
from tests.proxy.http.harness import Keyserver, ManualLoop, Node, Wire, chunked, environ_of

if TYPE_CHECKING:
    from collections.abc import Sequence

BAIT = [
    b"GET /pks/stats?evil HTTP/1.1\r\nHost: evil\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"0\r\n\r\n",
    b"\r\n",
]
BODIES = st.lists(st.one_of(st.sampled_from(BAIT), st.binary(max_size=30)), max_size=4).map(b"".join)


class Turn(NamedTuple):
    """One request and its reply; sizes of chunks are those of the pieces."""

    method: str
    upload: tuple[bytes, ...]  # pieces; more than one is sent chunked
    reply: tuple[bytes, ...]
    framing: str  # of the reply

    @property
    def announces(self) -> bool:
        """Whether the head speaks of a body that must not come: the guard uses no such connection again."""
        chunks_or_bytes = self.framing == "chunked" or (self.framing == "length" and any(self.reply))
        return self.method == "HEAD" and chunks_or_bytes

    def request(self, number: int) -> bytes:
        """Return the request on the wire."""
        path = "/pks/add" if self.method == "POST" else "/pks/stats"
        head = f"{self.method} {path}?n={number} HTTP/1.1\r\nHost: a\r\n".encode()
        if self.method != "POST":
            return head + b"\r\n"
        if len(self.upload) > 1:
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*filter(None, self.upload))
        body = b"".join(self.upload)
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    def answer(self) -> bytes:
        """Return the reply on the wire."""
        body = b"".join(self.reply)
        if self.framing == "none":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        if self.framing == "chunked":
            head, body = b"Transfer-Encoding: chunked\r\n", chunked(*filter(None, self.reply))
        else:
            head = b"Content-Length: %d\r\n" % len(body) if self.framing == "length" else b""
        return b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + (b"" if self.method == "HEAD" else body)

    def expected(self) -> bytes:
        """Return the body that the client is to get."""
        return b"" if self.framing == "none" or self.method == "HEAD" else b"".join(self.reply)


PIECES = st.lists(BODIES, min_size=1, max_size=3).map(tuple)
TURNS = st.builds(
    Turn,
    st.sampled_from(["GET", "POST", "POST", "HEAD"]),
    PIECES,
    PIECES,
    st.sampled_from(["length", "length", "chunked", "chunked", "none", "close"]),
)
CUTS = st.lists(st.integers(0, 10_000), max_size=8)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Cut `data` at these places."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


async def ask(client: Wire, turns: list[Turn], cuts: list[int]) -> None:
    """Send all requests."""
    await client.send(*cut(b"".join(turn.request(number) for number, turn in enumerate(turns)), cuts))


async def serve(keyserver: Keyserver, turns: list[Turn], cuts: list[int]) -> None:
    """Check each request, and answer it."""
    link = None
    for number, turn in enumerate(turns):
        link = link or await keyserver.accept()
        request = await link.request()
        assert request.target.endswith(f"?n={number}")
        assert request.body == (b"".join(turn.upload) if turn.method == "POST" else b"")
        await link.send(*cut(turn.answer(), cuts))
        if turn.framing == "close" and turn.method != "HEAD":
            link.close()
            link = None
        elif turn.announces:
            assert await link.to_end() == b""
            link = None


async def read(client: Wire, turns: list[Turn]) -> None:
    """Check each reply."""
    for turn in turns:
        reply = await client.reply(turn.method)
        assert reply.status == (204 if turn.framing == "none" else 200)
        assert reply.body == turn.expected()
    assert client.buffer == b""


async def play(turns: list[Turn], client_cuts: list[int], keyserver_cuts: list[int]) -> None:
    """Let client and keyserver play their parts at the same time."""
    keyserver = Keyserver()
    node = Node(Config.from_env(environ_of({"MODE": "off"}, [keyserver.port])), [keyserver])
    try:
        client = await node.connect()
        async with asyncio.TaskGroup() as parts:
            parts.create_task(ask(client, turns, client_cuts))
            parts.create_task(serve(keyserver, turns, keyserver_cuts))
            parts.create_task(read(client, turns))
        assert len(node.records()) == len(turns)
    finally:
        await node.close()
    assert node.loop.faults == []


@settings(max_examples=(settings.default.max_examples if settings.default else 100) // 2, deadline=None)
@given(st.lists(TURNS, min_size=1, max_size=6), CUTS, CUTS)
def test_each_request_gets_its_own_reply(turns: list[Turn], client_cuts: list[int], keyserver_cuts: list[int]) -> None:
    """Requests reach the keyserver, and replies the client, whole, in order, and never mixed up."""
    with asyncio.Runner(loop_factory=ManualLoop) as runner:
        runner.run(play(turns, client_cuts, keyserver_cuts))
