"""One document of a stranger over HTTP, whole or not at all, in bounded time and memory. Part of the collector.

The operator has named a URL, so its host may be anywhere, also in a private network. Wherever that host sends us is its
own word: a redirect is followed from https to https, a few times, and to public addresses only - else whoever serves a
list could have us ask what only this machine can reach. Names are resolved here, and what was checked is what is
connected to, so a name that changes its address in between (DNS rebinding) gains nothing. The key of the operator goes
to the host that was named and to no other. No proxy of the environment is used, and no cookie kept.

What is packed for the way (Content-Encoding) is unpacked here, and not by aiohttp, because a megabyte of gzip can be a
gigabyte of zeros. A document that is a gzip file stays one.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from fastpath import parse_address
from proxy.hkp.peer_list import is_public
from proxy.intel.formats.body import unpacked
from proxy.intel.formats.reading import NotAList

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from proxy.settings.intel import FeedConfig

MOST_REDIRECTS: Final = 5
PIECE_BYTES: Final = 64 * 1024
LONGEST_WAIT_S: Final = 86_400.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_AGENT: Final = "hkpguard"


class FetchFailed(Exception):
    """There is no such document now; the text says why, and repeats nothing of the answer.

    Attributes:
        wait_s: How long the server wants to be left alone; 0: it did not say.

    """

    def __init__(self, text: str, wait_s: float = 0.0) -> None:
        """Keep why."""
        super().__init__(text)
        self.wait_s = wait_s


class Answer(NamedTuple):
    """What a server answered.

    Args:
        body: Unpacked; None: not modified.
        marks: What to ask with next time.
        headers: The others.

    """

    body: bytes | None
    marks: Mapping[str, str]
    headers: Mapping[str, str]


async def look_up(host: str, port: int, family: socket.AddressFamily) -> list[str]:
    """Return the addresses of a name; OSError if it has none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Guide(AbstractResolver):
    """Resolves names, and knows where nobody may be sent to."""

    def __init__(self, named: str, addresses: Callable[..., Awaitable[list[str]]] = look_up) -> None:
        """`named`: the host that the operator has named; `addresses`: as `look_up`."""
        self._named = named
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver`; OSError if all addresses of a host are where nobody may be sent to."""
        found = await self._addresses(host, port, family)
        allowed = [address for address in found if self.allows(host, address)]
        if not allowed:
            raise OSError(None, "its addresses are not public")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in allowed
        ]

    def allows(self, host: str, address: str) -> bool:
        """Tell whether one may be sent to a host that has this address."""
        if host.lower() == self._named:
            return True
        try:
            return is_public(parse_address(address))
        except ValueError:
            return False

    async def close(self) -> None:
        """See `AbstractResolver`."""


class Web:
    """Asks the host of one feed: an async context manager."""

    def __init__(self, feed: FeedConfig, secret: str = "", guide: Guide | None = None) -> None:
        """Open nothing yet.

        Args:
            feed: With a URL.
            secret: What its header says; empty: there is none.
            guide: Where one may be sent to.

        """
        self._url = URL(feed.url or "")
        self._guide = guide or Guide((self._url.host or "").lower())
        self._most_bytes = feed.most_bytes
        self._seconds = feed.timeout_ns / 1e9
        usual = "X-Api-Key" if feed.format == "crowdsec" else "Authorization"
        self._secret = {feed.header or usual: secret} if secret else {}
        self._ca = feed.ca
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open a session; FetchFailed if the file of authorities cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except OSError as error:  # ssl.SSLError is one
            raise FetchFailed(f"its CA cannot be used: {error.strerror}") from None
        connector = aiohttp.TCPConnector(limit=1, resolver=self._guide, use_dns_cache=False, ssl=context)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=PIECE_BYTES,
        )
        return self

    async def __aexit__(self, *_args: object) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()

    async def get(
        self,
        headers: Mapping[str, str],
        *,
        below: str = "",
        query: Mapping[str, str] | None = None,
        marks: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return what the server answers a GET with, if that is a whole 200, or a 304 where `marks` are given.

        Args:
            headers: Besides those of every request.
            below: A path, where it is another than that of the URL.
            query: Of the URL, in place of its own.
            marks: Of the answer before.

        Raises:
            FetchFailed: Anything else happens.

        """
        url = self._url / below if below else self._url
        url = url.with_query(query) if query is not None else url
        asked = {"User-Agent": _AGENT, "Accept-Encoding": "gzip", **headers, **conditions(marks or {})}
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(url, asked)
        except TimeoutError:
            raise FetchFailed(f"no whole answer in {self._seconds:g} s") from None
        except aiohttp.ClientConnectorCertificateError:
            raise FetchFailed("its certificate is not believed") from None
        except ssl.SSLError as error:
            raise FetchFailed(f"no TLS: {error.reason}") from None
        except aiohttp.ClientConnectorError as error:
            raise FetchFailed(f"no connection: {error.os_error.strerror or type(error.os_error).__name__}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchFailed(f"no answer of HTTP: {type(error).__name__}") from None

    async def _follow(self, url: URL, headers: Mapping[str, str]) -> Answer:
        assert self._session is not None  # noqa: S101 - it is entered
        for _ in range(MOST_REDIRECTS + 1):
            secret = self._secret if url.origin() == self._url.origin() else {}
            async with self._session.get(url, headers={**headers, **secret}, allow_redirects=False) as reply:
                if reply.status not in _REDIRECTS:
                    return await self._answer(reply)
                url = self._next(url, reply.headers.get("Location", ""))
        raise FetchFailed(f"more than {MOST_REDIRECTS} redirects")

    def _next(self, url: URL, location: str) -> URL:
        """Return where a redirect leads to; FetchFailed if one does not go there."""
        try:
            target = url.join(URL(location))
        except ValueError:
            raise FetchFailed("a redirect to no URL") from None
        if not location or url.scheme != "https" or target.scheme != "https":
            raise FetchFailed("a redirect that is not from https to https")
        host = (target.host or "").lower()
        if _is_address(host) and not self._guide.allows(host, host):
            raise FetchFailed("a redirect to an address that is not public")
        return target.with_user(None)

    async def _answer(self, reply: aiohttp.ClientResponse) -> Answer:
        if reply.status == HTTPStatus.NOT_MODIFIED:
            return Answer(None, {}, reply.headers)
        if reply.status != HTTPStatus.OK:
            raise FetchFailed(f"the answer is {reply.status}", _wait(reply.headers.get("Retry-After", "")))
        packed = reply.headers.get("Content-Encoding", "identity").strip().lower()
        if packed not in {"identity", "gzip", "x-gzip", ""}:
            raise FetchFailed("it is packed in a way that was not asked for")
        if (reply.content_length or 0) > self._most_bytes:
            raise FetchFailed(f"it has more than {self._most_bytes} bytes")
        body = bytearray()
        async for piece in reply.content.iter_chunked(PIECE_BYTES):
            body += piece
            if len(body) > self._most_bytes:
                raise FetchFailed(f"it has more than {self._most_bytes} bytes")
        whole = self._unpacked(body) if packed in {"gzip", "x-gzip"} else bytes(body)
        return Answer(whole, marks_of(reply.headers), reply.headers)

    def _unpacked(self, body: bytearray) -> bytes:
        try:
            return unpacked(body, self._most_bytes)
        except NotAList as fault:
            raise FetchFailed(f"it is {fault}") from None


def conditions(marks: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that ask for what is newer than marks."""
    found = {"If-None-Match": marks.get("etag", ""), "If-Modified-Since": marks.get("modified", "")}
    return {name: text for name, text in found.items() if text}


def marks_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what tells this answer from a newer one."""
    found = {"etag": headers.get("ETag", ""), "modified": headers.get("Last-Modified", "")}
    return {name: text for name, text in found.items() if 0 < len(text) <= PIECE_BYTES // 64 and text.isprintable()}


def _wait(text: str) -> float:
    """Return what a Retry-After says, if that is seconds."""
    return min(float(text), LONGEST_WAIT_S) if text.isascii() and text.isdigit() and len(text) < 8 else 0.0  # noqa: PLR2004 - digits


def _is_address(host: str) -> bool:
    try:
        return bool(parse_address(host))
    except ValueError:
        return False
