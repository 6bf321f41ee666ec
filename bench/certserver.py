"""A keyserver that has an answer for every fingerprint: `python -m bench.certserver PORT FOLDER ANSWER_MS`.

For the certificates in FOLDER (`<fingerprint>.asc`) it is the right one; for all others some that says nothing, so
that a scraper can ask for as many as it likes. Each answer takes ANSWER_MS, which stands for the way to a server far
away: what the proxies see is a client that asks one thing after the other, and not as fast as loopback lets it.
"""

import asyncio
import sys
from pathlib import Path

from aiohttp import web

from bench.targets import armored_body

HEX_DIGITS = 40


def build_app(folder: Path, answer_s: float) -> web.Application:
    """Return it as an application."""
    certificates = {path.stem: path.read_text() for path in folder.glob("*.asc")}
    nothing = armored_body()

    async def lookup(request: web.Request) -> web.Response:
        await asyncio.sleep(answer_s)
        fingerprint = request.query.get("search", "").removeprefix("0x").upper()
        if len(fingerprint) != HEX_DIGITS or request.query.get("op") != "get":
            return web.Response(status=404, text="Not found\n")
        return web.Response(text=certificates.get(fingerprint, nothing), content_type="application/pgp-keys")

    app = web.Application()
    app.router.add_get("/pks/lookup", lookup)
    app.router.add_get("/{path:.*}", _healthy)
    return app


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="OK\n")


if __name__ == "__main__":
    web.run_app(
        build_app(Path(sys.argv[2]), int(sys.argv[3]) / 1000),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        print=None,
        access_log=None,
        backlog=1024,
    )
