"""The web server that onak wants: `python -m bench.recording.keyserver PORT FOLDER`, FOLDER made by `bench.onak`.

onak says "not found" and "no certificate" with 200; here it is 404 and 422, as it is with every other keyserver. What
onak does not have is given as others have it: statistics, Hagrid's paths, WKD, an empty answer to a peer, pages and
files of a front, and a door that guessers of passwords knock at.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote

from aiohttp import web

from bench.onak import Onak, Page
from bench.recording.relay import LOOPBACK

PROGRAMS_AT_A_TIME = 8
MOST_BODY_BYTES = 2**24
WKD_FILE = "wkd.json"  # in FOLDER: user IDs' addresses by their digest
NO_KEYS = b"\0\0\0\0\r\n"
LOOKUPS = frozenset({"get", "index", "vindex"})
NOT_FOUND = (b"Key not found", b"info:1:0\n")
NOTHING_ADDED = b"No OpenPGP packets found"
FRONT = (
    b"<!DOCTYPE html><html><head><title>Keyserver</title><link rel=stylesheet href=/css/style.css></head>"
    b"<body><h1>Keyserver</h1><form action=/pks/lookup><input name=search><input name=op value=index></form>"
    b"<form action=/pks/add method=post><textarea name=keytext></textarea></form>"
    b"<a href=/about>About</a> <a href='/pks/lookup?op=stats'>Statistics</a></body></html>\n"
)
PAGES: Mapping[str, Page] = {
    "/": Page("text/html", FRONT),
    "/index.html": Page("text/html", FRONT),
    "/about": Page("text/html", FRONT),
    "/css/style.css": Page("text/css", b"body { margin: auto }\n"),
    "/favicon.ico": Page("image/x-icon", bytes(318)),
    "/robots.txt": Page("text/plain", b"User-agent: *\nDisallow: /pks/\n"),
    "/login": Page("text/html", b"<html><body>wrong</body></html>\n"),
    "/pks/health": Page("text/plain", b"OK\n"),
    "/pks/hashquery": Page("pgp/keys", NO_KEYS),
    "/pks/stats": Page("application/json", b'{"software": "onak", "total": 1000}\n'),
}
_WKD = "/.well-known/openpgpkey/"
_BASE32 = "ybndrfg8ejkmcpqxot1uwisza345h769"  # z-base-32


def wkd_digest(local: str) -> str:
    """Return the digest by which WKD finds the part of an address before the @."""
    number = int.from_bytes(hashlib.sha1(local.lower().encode()).digest())  # noqa: S324 - as WKD has it
    return "".join(_BASE32[number >> shift & 31] for shift in range(155, -1, -5))


class Server:
    """onak behind the paths that people use."""

    def __init__(self, folder: Path) -> None:
        """Take the onak in `folder`."""
        self._onak = Onak(folder)
        self._pool = ThreadPoolExecutor(PROGRAMS_AT_A_TIME)
        self._room = asyncio.Semaphore(PROGRAMS_AT_A_TIME)
        self._turn = asyncio.Lock()
        file = folder / WKD_FILE
        self._wkd: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        path, query = request.rel_url.path, request.rel_url.raw_query_string
        operation = parse_qs(query).get("op", [""])[0]
        if path == "/pks/add":
            return _added(await self._run("add", request, query, await request.read()))
        if path == "/pks/lookup" and operation in LOOKUPS:
            return _found(await self._run("lookup", request, query))
        if wanted := self._get(path):
            return _found(await self._run("lookup", request, f"op=get&options=mr&search={quote(wanted)}"))
        return _page("/pks/stats" if path == "/pks/lookup" and operation == "stats" else path)

    def _get(self, path: str) -> str:
        """Return what to search for if the path stands for a search; else nothing."""
        *head, last = path.rsplit("/", 1)
        if head in (["/vks/v1/by-fingerprint"], ["/vks/v1/by-keyid"]):
            return f"0x{last}"
        if head == ["/vks/v1/by-email"]:
            return unquote(last)
        return self._wkd.get(last, "") if path.startswith(_WKD) else ""

    async def _run(self, program: str, request: web.Request, query: str, body: bytes = b"") -> Page:
        asked = {
            "REQUEST_METHOD": "POST" if program == "add" else "GET",
            "QUERY_STRING": query,
            "CONTENT_TYPE": request.content_type,
        }
        loop = asyncio.get_running_loop()
        async with self.places(PROGRAMS_AT_A_TIME if program == "add" else 1):
            return await loop.run_in_executor(self._pool, self._onak.page, program, asked, body)

    @asynccontextmanager
    async def places(self, count: int) -> AsyncIterator[None]:
        """Take so many of the places for programs, in turn.

        Look-ups run beside each other, an upload takes all places: beside others it gets into a deadlock over the pages
        of the database now and then, from which onak never comes back, nor anybody after it.
        """
        async with self._turn:
            for _ in range(count):
                await self._room.acquire()
        try:
            yield
        finally:
            for _ in range(count):
                self._room.release()


def _found(page: Page) -> web.Response:
    missing = page.body.startswith(NOT_FOUND) or b"\nKey not found" in page.body
    return web.Response(status=404, text="Not found\n") if missing else _response(page)


def _added(page: Page) -> web.Response:
    return web.Response(status=422, text="No certificate\n") if NOTHING_ADDED in page.body else _response(page)


def _page(path: str) -> web.Response:
    """Answer without onak."""
    if page := PAGES.get(path):
        return _response(page)
    if path == "/pks/lookup":
        return web.Response(status=501, text="Not implemented\n")
    if path.startswith("/admin"):
        return web.Response(status=401, text="Unauthorized\n", headers={"WWW-Authenticate": 'Basic realm="admin"'})
    is_policy = path.startswith(_WKD) and path.endswith("/policy")
    return web.Response(text="") if is_policy else web.Response(status=404, text="Not found\n")


def _response(page: Page) -> web.Response:
    return web.Response(body=page.body, content_type=page.kind)


def application(folder: Path) -> web.Application:
    """Return the web server."""
    made = web.Application(client_max_size=MOST_BODY_BYTES)
    made.router.add_route("*", "/{path:.*}", Server(folder).handle)
    return made


def main() -> None:
    """Serve until told to end."""
    port, folder = sys.argv[1:]
    web.run_app(application(Path(folder)), host=LOOPBACK, port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main()
