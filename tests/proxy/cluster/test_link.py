"""The border to redis-py, against a server that misbehaves."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.cluster.circuit import Cause, Trouble
from proxy.cluster.command import Command, Refusal, Script
from proxy.cluster.link import MOST_TEXT, Link
from tests.proxy.cluster.stub_for_tests import CLOSE, NULL, OK, SILENT, Stub, config_of, stub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

GET = Command("GET", (b"a",))
COUNT = Script("return redis.call('INCR', KEYS[1])")


@asynccontextmanager
async def link_to(answer: Callable[[list[bytes]], Any], **config: str) -> AsyncIterator[tuple[Link, Stub]]:
    """Return a link to a server that answers so."""
    async with stub(answer) as server:
        link = Link(config_of(server.port, **config))
        try:
            yield link, server
        finally:
            await link.close()


async def cause_of(answer: bytes | None) -> Cause:
    """Return what a link makes of an answer to every command."""
    async with link_to(lambda _command: answer) as (link, _):
        with pytest.raises(Trouble) as caught:
            await link.send([GET])
        return caught.value.cause


async def test_answers_are_raw() -> None:
    """Answers come as Redis gives them, whatever the command is."""
    pair = b"*2\r\n$1\r\na\r\n$1\r\n1\r\n"
    said = {b"GET": b"$1\r\nx\r\n", b"SET": OK, b"HGETALL": pair, b"ZSCORE": NULL, b"TTL": b":7\r\n"}
    async with link_to(lambda command: said[command[0]]) as (link, _):
        answers = await link.send([Command(name.decode(), (b"a",)) for name in said])
    assert answers == [b"x", b"OK", [b"a", b"1"], None, 7]


async def test_nothing_is_asked_but_what_is_sent() -> None:
    """A connection says nothing of its own: a user of least privilege may not."""
    async with link_to(lambda _command: NULL) as (link, server):
        await link.send([GET, GET])
        assert server.asked == [[b"GET", b"a"]] * 2


async def test_refused_command() -> None:
    """A command that is refused for its own sake is an answer, and the others are done."""
    wrong = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
    async with link_to(lambda command: wrong if command[0] == b"GET" else OK) as (link, _):
        answers = await link.send([GET, Command("SET", (b"a",), (1,))])
    assert answers == [Refusal("WRONGTYPE Operation against a key holding the wrong kind of value"), b"OK"]


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"-READONLY You can't write against a read only replica.\r\n", Cause.READ_ONLY),
        (b"-LOADING Redis is loading the dataset in memory\r\n", Cause.LOADING),
        (b"-MASTERDOWN Link with MASTER is down\r\n", Cause.MASTER_DOWN),
        (b"-CLUSTERDOWN The cluster is down\r\n", Cause.CLUSTER_DOWN),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", Cause.MEMORY),
        (b"-NOAUTH Authentication required.\r\n", Cause.PASSWORD),
        (b"-WRONGPASS invalid username-password pair or user is disabled.\r\n", Cause.PASSWORD),
        (b"-NOPERM this user has no permissions to run the 'get' command\r\n", Cause.PERMISSION),
        (b"-MISCONF Redis is configured to save RDB snapshots, but\r\n", Cause.NO_WRITES),
        (b"-NOREPLICAS Not enough good replicas to write.\r\n", Cause.NO_WRITES),
        (b"-BUSY Redis is busy running a script.\r\n", Cause.BUSY),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Cause.LOST),
        (b"\0\xff\xfe garbage\r\n", Cause.LOST),
        (b"*-7\r\n", Cause.LOST),
        (CLOSE, Cause.LOST),
    ],
)
async def test_what_answers_mean(answer: bytes | None, cause: Cause) -> None:
    """What a server says of itself is known as that; what is no Redis, or hangs up, is a connection that is lost."""
    assert await cause_of(answer) is cause


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=40))
def test_any_bytes(said: bytes) -> None:
    """No bytes make anything else of it than answers or `Trouble`."""

    async def try_them() -> None:
        first = iter([said + b"\r\n"])
        async with link_to(lambda _command: next(first, CLOSE)) as (link, _):
            with suppress(Trouble, TimeoutError):
                async with asyncio.timeout(0.2):
                    await link.send([GET])

    asyncio.run(try_them())


async def test_nobody_there() -> None:
    """Where nobody listens, or the name is none, the connection is lost."""
    async with stub(lambda _command: OK) as server:
        port = server.port
    for url in (f"redis://127.0.0.1:{port}", "redis://nowhere.invalid"):
        with pytest.raises(Trouble) as caught:
            await Link(config_of(url=url)).send([GET])
        assert caught.value.cause is Cause.LOST


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("{}://u:p@127.0.0.1:{}/1", Cause.LOST),
        ("{}+sentinel://u:p@127.0.0.1:{}/main", Cause.NO_MASTER),
        ("{}+cluster://u:p@127.0.0.1:{}", Cause.LOST),
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
async def test_each_way_can_be_tried(scheme: str, url: str, cause: Cause) -> None:
    """Each form of URL makes a client that can be asked, and heard of, and fails where nobody is."""
    async with stub(lambda _command: OK) as server:
        port = server.port
    link = Link(config_of(url=url.format(scheme, port)))
    with pytest.raises(Trouble) as caught:
        await link.send([GET])
    assert caught.value.cause is cause
    with pytest.raises(Trouble):
        await anext(link.hear([b"a"]))
    await link.drop()
    await link.close()


async def test_mistakes_of_callers() -> None:
    """What cannot be sent is a mistake of the caller, and none of the store."""
    async with link_to(lambda _command: OK) as (link, _):
        with pytest.raises(ValueError, match="Invalid input"):
            await link.send([Command("SET", (b"a",), (None,))])  # type: ignore[arg-type]


async def test_text_of_a_server() -> None:
    """What a server says is repeated in one line, cut, and without the password."""
    said = b"-NOPERM secret-password-here \x1b[31m\x07" + b"x" * 1000 + b"\r\n"
    url = "redis://u:secret-password-here@127.0.0.1"
    async with stub(lambda command: OK if command[0] == b"AUTH" else said) as server:
        link = Link(config_of(url=f"{url}:{server.port}"))
        with pytest.raises(Trouble) as caught:
            await link.send([GET])
        await link.close()
    text = str(caught.value)
    assert "secret-password-here" not in text
    assert text.isprintable()
    assert len(text) <= MOST_TEXT + len(Cause.PERMISSION.value) + 2


class Scripts:
    """A server that knows the scripts that it was taught."""

    def __init__(self) -> None:
        """Know none."""
        self.known: set[bytes] = set()

    def __call__(self, command: list[bytes]) -> bytes:
        """Answer EVAL and EVALSHA."""
        name, what = command[:2]
        if name == b"EVAL":
            self.known.add(COUNT.sha.encode())
        return b":1\r\n" if name == b"EVAL" or what in self.known else b"-NOSCRIPT No matching script.\r\n"


async def test_scripts_are_taught_once() -> None:
    """A script goes by its SHA1; where a server does not know it, once for each shard with its source."""
    commands = [Command(COUNT, (f"p:{{{shard}}}:x".encode(),)) for shard in (1, 2, 1, 2)]
    async with link_to(Scripts()) as (link, server):
        assert await link.send(commands) == [1] * 4
        assert server.names == [b"EVALSHA"] * 4 + [b"EVAL"] * 2 + [b"EVALSHA"] * 2
        assert await link.send(commands) == [1] * 4
        assert server.names[8:] == [b"EVALSHA"] * 4
        assert server.asked[0] == [b"EVALSHA", COUNT.sha.encode(), b"1", b"p:{1}:x"]


async def test_only_unknown_scripts_run_again() -> None:
    """Of a pipeline nothing is done twice."""
    known = Scripts()
    async with link_to(lambda command: OK if command[0] == b"SET" else known(command)) as (link, server):
        assert await link.send([Command("SET", (b"a",), (1,)), Command(COUNT, (b"b",))]) == [b"OK", 1]
        assert server.names == [b"SET", b"EVALSHA", b"EVAL"]


async def test_nothing_is_tried_again() -> None:
    """What got no answer is asked once: nobody knows whether it was done."""
    async with link_to(lambda _command: CLOSE) as (link, server):
        with pytest.raises(Trouble):
            await link.send([Command(COUNT, (b"a",))])
        assert server.names == [b"EVALSHA"]


async def test_late_answers_are_nobodys() -> None:
    """An answer that comes after its caller has left is not taken for that to the next question."""
    release = asyncio.Event()

    async def late(command: list[bytes]) -> bytes:
        if command[1] == b"first":
            await release.wait()
        return b"$%d\r\n%b\r\n" % (len(command[1]), command[1])

    async with link_to(late) as (link, server):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await link.send([Command("GET", (b"first",))])
        release.set()
        assert await link.send([Command("GET", (b"second",))]) == [b"second"]
        assert server.connections == 2


async def test_deadlines_cannot_be_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes through `asyncio.wait_for`, which may swallow a cancellation before Python 3.12."""

    def swallows(*_args: object) -> None:
        raise AssertionError

    monkeypatch.setattr(asyncio, "wait_for", swallows)
    async with link_to(lambda _command: OK) as (link, _):
        assert await link.send([GET]) == [b"OK"]


async def test_old_connections_are_found_out() -> None:
    """A connection that the server has closed meanwhile is not used, so that a restart costs nobody a failure."""
    async with link_to(lambda _command: OK) as (link, server):
        await link.send([GET])
        server.hang_up()
        other = Link(config_of(server.port))
        await other.send([GET])  # when this is answered, the other end has been seen, too
        assert await link.send([GET]) == [b"OK"]
        assert server.connections == 3
        await other.close()


def heard(*channels: bytes) -> bytes:
    """Return what Redis says to a subscription."""
    return b"".join(b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (len(each), each) for each in channels)


def told(channel: bytes, data: bytes) -> bytes:
    """Return a message as Redis sends it."""
    return b"*3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(channel), channel, len(data), data)


async def test_hears() -> None:
    """A subscription is told when it holds; then its messages are; when it is lost, that is."""
    answer = lambda command: heard(*command[1:]) + told(b"a", b"1") + told(b"b", b"2")  # noqa: E731 - an answer
    async with link_to(answer) as (link, server), aclosing(link.hear([b"a", b"b"])) as messages:
        assert [await anext(messages) for _ in range(3)] == [None, (b"a", b"1"), (b"b", b"2")]
        server.answer = lambda _command: CLOSE
        server.hang_up()
        with pytest.raises(Trouble):
            await anext(messages)


async def test_may_not_hear() -> None:
    """A user who may not subscribe is told so."""
    no = b"-NOPERM this user has no permissions to access one of the channels used as arguments\r\n"
    async with link_to(lambda _command: no) as (link, _), aclosing(link.hear([b"a"])) as messages:
        with pytest.raises(Trouble) as caught:
            await anext(messages)
        assert caught.value.cause is Cause.PERMISSION


async def test_silence_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription that does not answer to pings any more is lost."""
    monkeypatch.setattr("proxy.cluster.link.PING_SECONDS", 0.01)
    answer = lambda command: heard(*command[1:]) if command[0] == b"SUBSCRIBE" else SILENT  # noqa: E731 - an answer
    async with link_to(answer) as (link, server), aclosing(link.hear([b"a"])) as messages:
        assert await anext(messages) is None
        with pytest.raises(Trouble) as caught:
            await anext(messages)
        assert caught.value.cause is Cause.SLOW
        assert server.names[:2] == [b"SUBSCRIBE", b"PING"]


async def test_pings_keep_it_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription on which nobody says anything lives as long as it answers to pings."""
    monkeypatch.setattr("proxy.cluster.link.PING_SECONDS", 0.01)
    tenth, pings = asyncio.Event(), 0

    def answer(command: list[bytes]) -> bytes:
        nonlocal pings
        if command[0] == b"SUBSCRIBE":
            return heard(b"a")
        pings += 1
        if pings == 10:
            tenth.set()
        return b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"

    async with link_to(answer) as (link, _), aclosing(link.hear([b"a"])) as messages:
        assert await anext(messages) is None
        waiting = asyncio.ensure_future(anext(messages))
        await asyncio.wait_for(tenth.wait(), 5)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
