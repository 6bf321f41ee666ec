"""A small HKP keyserver of made-up certificates, for `hkpguard demo` and for tests. Not for the public.

It speaks what gpg, sq and browsers use of HKP version 1 (HKP.md, section 1). All it knows is in memory,
bounded, and gone when it stops.
"""

import asyncio
import json
import logging
import signal
import socket
from collections.abc import Sequence
from html import escape
from typing import Final

from aiohttp import web

from proxy.demo_certs import BadUploadError, Entry, FullError, Keyring, armored, demo_certs, demo_fingerprints

__all__ = ["KEYRING", "build_app", "demo_fingerprints", "run"]

SERVER: Final = "hkpguard-demo"
MOST_CERTS: Final = 1000
MOST_CERT_BYTES: Final = 64 * 1024
MOST_BODY_BYTES: Final = 1024 * 1024
MOST_FOUND: Final = 100  # as Hockeypuck: certificates in one answer
SHUTDOWN_SECONDS: Final = 3.0
READ_BYTES: Final = 65536

KEYRING: Final = web.AppKey("keyring", Keyring)


def build_app(keyring: Keyring | None = None) -> web.Application:
    """Return the keyserver as an application, with the made-up certificates unless others are given."""
    app = web.Application(client_max_size=MOST_BODY_BYTES)
    app[KEYRING] = (
        Keyring(demo_certs(), most_certs=MOST_CERTS, most_cert_bytes=MOST_CERT_BYTES) if keyring is None else keyring
    )
    app.on_response_prepare.append(_sign_response)
    app.router.add_get("/", _home)
    app.router.add_get("/pks/lookup", _lookup)
    app.router.add_get("/pks/health", _health)
    app.router.add_get("/pks/stats", _stats)
    app.router.add_post("/pks/add", _add)
    return app


def run(sock: socket.socket, until_eof: socket.socket | None = None) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT; then finish what is in flight, 3 s at most.

    Args:
        sock: Listens already.
        until_eof: Its other end belongs to the parent; when that is gone, so are we.

    """
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # clients that leave are no news
    app = build_app()

    def parent_spoke(channel: socket.socket) -> None:
        if not channel.recv(READ_BYTES):  # what it says (a new configuration) is not for us
            signal.raise_signal(signal.SIGTERM)

    async def watch_parent(_app: web.Application) -> None:
        if until_eof is not None:
            asyncio.get_running_loop().add_reader(until_eof, parent_spoke, until_eof)

    app.on_startup.append(watch_parent)
    web.run_app(
        app,
        sock=sock,
        print=None,
        access_log=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
        handle_signals=True,
    )


async def _sign_response(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER
    response.headers["Access-Control-Allow-Origin"] = "*"


async def _lookup(request: web.Request) -> web.Response:
    """Answer /pks/lookup by its `op`."""
    operation = request.query.get("op", "")
    if operation == "stats":
        return await _stats(request)
    if operation not in {"get", "index", "vindex"}:
        return _text(501, f"The demo keyserver does not know op={operation}.")
    if "search" not in request.query:
        return _text(400, "There must be a search.")
    found = request.app[KEYRING].find(request.query["search"])[:MOST_FOUND]
    if not found:
        return _text(404, "Not found")
    if operation == "get":
        return web.Response(text=armored(found), content_type="application/pgp-keys", charset="utf-8")
    return _machine_index(found) if _machine_readable(request) else _html_index(found)


async def _add(request: web.Request) -> web.Response:
    """Take the certificates of a form (`keytext`) or of a body in OpenPGP format."""
    try:
        added = request.app[KEYRING].add(await _uploaded(request))
    except BadUploadError as error:
        return _text(422, f"Refused: {error}.")
    except FullError as error:
        return _text(507, f"Refused: {error}.")
    return _text(200, "\n".join(f"Stored {entry.fingerprint}" for entry in added))


async def _uploaded(request: web.Request) -> bytes:
    """Return the bytes that a client uploads, armored or binary.

    Raises:
        BadUploadError: The form cannot be read.
        HTTPRequestEntityTooLarge: More than `MOST_BODY_BYTES`; aiohttp answers 413.

    """
    if request.content_type not in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        return await request.read()
    try:
        keytext = (await request.post()).get("keytext", "")
    except (ValueError, LookupError):  # not in the charset it names, or no such charset
        problem = "the form cannot be read"
        raise BadUploadError(problem) from None
    if isinstance(keytext, web.FileField):
        return keytext.file.read()
    return keytext.encode() if isinstance(keytext, str) else bytes(keytext)


async def _stats(request: web.Request) -> web.Response:
    stats = {"software": SERVER, "total": len(request.app[KEYRING])}
    if _machine_readable(request):
        return web.json_response(stats)
    return _page("Statistics", f"<pre>{escape(json.dumps(stats, indent=2))}</pre>")


async def _health(_request: web.Request) -> web.Response:
    return _text(200, "OK")


async def _home(request: web.Request) -> web.Response:
    search = (
        '<form action="/pks/lookup"><input type="hidden" name="op" value="index">'
        '<input name="search" aria-label="Search"> <button>Search</button></form>'
    )
    return _page("Demo keyserver", f"<p>The certificates here are made up.</p>{search}{_table(request.app[KEYRING])}")


def _machine_readable(request: web.Request) -> bool:
    return "mr" in request.query.get("options", "").split(",")


def _machine_index(found: Sequence[Entry]) -> web.Response:
    lines = [f"info:1:{len(found)}", *(line for entry in found for line in entry.index_lines())]
    return _text(200, "\n".join(lines))


def _html_index(found: Sequence[Entry]) -> web.Response:
    return _page("Search results", _table(found))


def _table(entries: Sequence[Entry] | Keyring) -> str:
    return f"<ul>{''.join(_row(entry) for entry in entries)}</ul>"


def _row(entry: Entry) -> str:
    link = f'<a href="/pks/lookup?op=get&amp;search=0x{entry.fingerprint}">{entry.fingerprint}</a>'
    names = "<br>".join(escape(user_id.text) for user_id in entry.user_ids)
    return f"<li><code>{link}</code><br>{names}</li>"


def _page(title: str, body: str) -> web.Response:
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    return web.Response(text=f"{head}<h1>{title}</h1>{body}</html>\n", content_type="text/html", charset="utf-8")


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", content_type="text/plain", charset="utf-8")
