"""One document of a stranger: whole or not at all, bounded, and not from where it must not be."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.intel.web import MOST_REDIRECTS, FetchFailed, Guide, Web, conditions, marks_of
from tests.proxy.http.tls_harness import Pair, make_pair
from tests.proxy.intel.feeds_for_tests import feed_config

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from proxy.intel.web import Answer

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def server(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[TestServer]:
    """Serve one handler for all paths."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    running = TestServer(app, scheme="https" if context else "http")
    await running.start_server(ssl=context)
    try:
        yield running
    finally:
        await running.close()


async def fetched(
    handler: Handler, *, secret: str = "", marks: Mapping[str, str] | None = None, **settings: str
) -> Answer:
    """Return what comes of asking a server once."""
    async with server(handler) as running:
        config = feed_config(url=str(running.make_url("/list")), **{"timeout": "5s", **settings})
        async with Web(config, secret) as asker:
            return await asker.get({}, marks=marks)


def answering(body: bytes = b"1.2.3.4\n", status: int = 200, **headers: str) -> Handler:
    """Return a handler with one answer."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer


async def test_document() -> None:
    """A whole 200 is the document, with what to ask with next time."""
    answer = await fetched(answering(ETag='"7"', Last_Modified="Sat, 01 Jan 2022 00:00:00 GMT"))
    assert answer.body == b"1.2.3.4\n"
    assert answer.marks == {"etag": '"7"', "modified": "Sat, 01 Jan 2022 00:00:00 GMT"}


async def test_not_modified() -> None:
    """What has not changed is not sent again."""

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["If-None-Match"] == '"7"'
        return web.Response(status=304)

    assert (await fetched(answer, marks={"etag": '"7"'})).body is None


@pytest.mark.parametrize("name", ["gzip", "x-gzip", "GZIP"])
async def test_packed_for_the_way(name: str) -> None:
    """What was asked for with gzip is unpacked."""
    assert (await fetched(answering(gzip.compress(b"list"), Content_Encoding=name))).body == b"list"


async def test_packed_document() -> None:
    """A document that is a gzip file stays one: that is for whoever reads it."""
    packed = gzip.compress(b"list")
    assert (await fetched(answering(packed, Content_Type="application/gzip"))).body == packed


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (answering(status=500), "the answer is 500"),
        (answering(status=404), "the answer is 404"),
        (answering(status=206), "the answer is 206"),
        (answering(b"x" * 2000), "more than 1024 bytes"),
        (answering(b"no gzip", Content_Encoding="gzip"), "it is a damaged gzip file"),
        (answering(gzip.compress(b"list")[:-4], Content_Encoding="gzip"), "it is a gzip file that is cut short"),
        (answering(gzip.compress(b"list") * 2, Content_Encoding="gzip"), "something behind it"),
        (answering(gzip.compress(bytes(100_000)), Content_Encoding="gzip"), "once it is unpacked"),
        (answering(b"list", Content_Encoding="br"), "packed in a way"),
        (answering(status=302, Location="https://lists.example/"), "not from https to https"),
        (answering(status=301), "not from https to https"),
    ],
    ids=["500", "404", "206", "large", "gzip none", "gzip cut", "gzip twice", "bomb", "br", "redirect", "nowhere"],
)
async def test_failures(handler: Handler, words: str) -> None:
    """Whatever else comes is a failure that says what happened, and repeats nothing that was sent."""
    with pytest.raises(FetchFailed, match=words):
        await fetched(handler, most_bytes="1KiB")


async def test_large_without_a_length() -> None:
    """Who sends without end is hung up on at the bound."""
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        reply = web.StreamResponse()
        await reply.prepare(request)
        while True:
            await reply.write(bytes(65_536))
            sent += 65_536

    with pytest.raises(FetchFailed, match="more than 1048576 bytes"):
        await fetched(endless, most_bytes="1MiB")
    assert sent < 64 << 20


async def test_cut_short() -> None:
    """An answer that ends before its length is none."""

    async def cut(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Length": "1000"})
        await reply.prepare(request)
        await reply.write(b"1.2.3.4\n")
        assert request.transport is not None
        request.transport.close()
        return reply

    with pytest.raises(FetchFailed, match="no answer of HTTP"):
        await fetched(cut)


async def test_slow() -> None:
    """Who sends a byte now and then has no more time than others."""
    done = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        await reply.write(b"1")
        await done.wait()
        return reply

    async with server(slow) as running:
        asker = Web(feed_config(url=str(running.make_url("/list")), timeout="1s"))
        asker._seconds = 0.05
        async with asker:
            with pytest.raises(FetchFailed, match="no whole answer in"):
                await asker.get({})
        done.set()


async def test_nobody_there() -> None:
    """A refused connection is a failure."""
    async with Web(feed_config(url="http://127.0.0.1:1/", insecure="on")) as asker:
        with pytest.raises(FetchFailed, match="no connection"):
            await asker.get({})


@pytest.mark.parametrize(("given", "seconds"), [("120", 120.0), ("9999999", 86_400.0), ("soon", 0.0), ("-1", 0.0)])
async def test_retry_after(given: str, seconds: float) -> None:
    """A server may say when it wants to be asked again, within reason."""
    with pytest.raises(FetchFailed) as caught:
        await fetched(answering(status=429, Retry_After=given))
    assert caught.value.wait_s == seconds


@pytest.mark.parametrize(
    ("settings", "header"),
    [({}, "Authorization"), ({"format": "crowdsec"}, "X-Api-Key"), ({"header": "OTX-Key"}, "OTX-Key")],
)
async def test_secret(settings: dict[str, str], header: str) -> None:
    """The key goes in the header that the format, or the operator, has."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.headers[header])

    assert (await fetched(answer, secret="hush", **settings)).body == b"hush"  # noqa: S106 - of a test


# Redirects.


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Return a certificate for localhost and keys.example."""
    folder: Path = tmp_path_factory.mktemp("tls")
    return make_pair(folder, "ec", "localhost")


def serving(pair: Pair) -> ssl.SSLContext:
    """Return a server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    return context


class Town(Guide):
    """A guide who finds everybody on this machine, and takes some of its addresses for public ones."""

    def __init__(self, named: str, *public: str) -> None:
        """`public`: hosts."""
        super().__init__(named, self._here)
        self._public = public

    async def _here(self, _host: str, _port: int, _family: socket.AddressFamily) -> list[str]:
        return ["127.0.0.1"]

    def allows(self, host: str, address: str) -> bool:
        """See `Guide`."""
        return host in self._public or super().allows(host, address)


async def followed(pair: Pair, to: str, *public: str, secret: str = "") -> tuple[str, list[str]]:
    """Return what is at the end of a redirect from localhost, and the keys that were sent on the way."""
    keys: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        keys.append(request.headers.get("Authorization", ""))
        if request.path == "/list":
            return web.Response(status=302, headers={"Location": to.format(port=request.url.port)})
        if request.path == "/loop":
            return web.Response(status=307, headers={"Location": "/loop"})
        return web.Response(text=request.host)

    async with server(answer, serving(pair)) as running:
        config = feed_config(url=f"https://localhost:{running.port}/list", ca=str(pair.cert), timeout="5s")
        async with Web(config, secret, Town("localhost", *public)) as asker:
            reply = await asker.get({})
    return (reply.body or b"").decode().partition(":")[0], keys


@pytest.mark.parametrize(
    ("to", "public", "host"),
    [
        ("/other", (), "localhost"),
        ("https://localhost:{port}/other", (), "localhost"),
        ("https://keys.example:{port}/other", ("keys.example",), "keys.example"),
    ],
)
async def test_redirect(pair: Pair, to: str, public: tuple[str, ...], host: str) -> None:
    """A redirect is followed to the host that the operator has named, and to public ones."""
    assert (await followed(pair, to, *public))[0] == host


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("https://keys.example:{port}/other", "its addresses are not public"),
        ("https://127.0.0.1:{port}/other", "an address that is not public"),
        ("https://[::1]:{port}/other", "an address that is not public"),
        ("https://[::ffff:127.0.0.1]:{port}/other", "an address that is not public"),
        ("https://169.254.169.254/latest/meta-data", "an address that is not public"),
        ("https://127.1:{port}/other", "not public|InvalidUrl"),
        ("https://2130706433:{port}/other", "not public|InvalidUrl"),
        ("http://localhost:{port}/other", "not from https to https"),
        ("file:///etc/passwd", "not from https to https"),
        ("//keys.example:{port}/", "its addresses are not public"),
        ("/loop", f"more than {MOST_REDIRECTS} redirects"),
        ("https://[/", "no URL"),
    ],
)
async def test_redirect_refused(pair: Pair, to: str, words: str) -> None:
    """Nobody sends us to where only this machine can go, nor out of TLS, nor round in circles."""
    with pytest.raises(FetchFailed, match=words):
        await followed(pair, to)


async def test_key_stays(pair: Pair) -> None:
    """The key goes to the server that was named, and not along with a redirect to another."""
    _, keys = await followed(pair, "https://keys.example:{port}/x", "keys.example", secret="hush")  # noqa: S106
    assert keys == ["hush", ""]


async def test_certificate(pair: Pair) -> None:
    """A server whose certificate nobody vouches for is not believed."""
    async with (
        server(answering(), serving(pair)) as running,
        Web(feed_config(url=f"https://localhost:{running.port}/")) as asker,
    ):
        with pytest.raises(FetchFailed, match="certificate is not believed"):
            await asker.get({})


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_bad_ca(tmp_path: Path, content: str | None) -> None:
    """A file of authorities that is gone, or is none, is a failure of this feed; others are asked all the same."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FetchFailed, match="its CA cannot be used"):
        async with Web(feed_config(ca=str(path))):
            pass


@pytest.mark.parametrize(
    ("host", "address", "allowed"),
    [
        ("named", "10.0.0.1", True),
        ("NAMED", "10.0.0.1", True),
        ("other", "10.0.0.1", False),
        ("other", "8.8.8.8", True),
        ("other", "fe80::1", False),
        ("other", "::ffff:10.0.0.1", False),
        ("other", "2a00::1", True),
        ("other", "no address", False),
    ],
)
def test_guide(host: str, address: str, allowed: bool) -> None:  # noqa: FBT001 - a row
    """Private addresses are for the host that was named."""
    assert Guide("named").allows(host, address) is allowed


def test_marks() -> None:
    """Marks go out as they came in; what is no header value is none."""
    assert conditions(marks_of({"ETag": 'W/"1"', "Last-Modified": "x"})) == {
        "If-None-Match": 'W/"1"',
        "If-Modified-Since": "x",
    }
    assert marks_of({"ETag": "a\tb", "Last-Modified": "x" * 2000}) == {}
