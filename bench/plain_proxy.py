"""A peer: the reverse proxy that one writes with aiohttp in half an hour, a server and a client session."""

import argparse
from collections.abc import Awaitable, Callable

import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web

from bench.asking import Asking

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "host", "date", "server"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("upstream", type=int)
    parser.add_argument("--refuse", action="store_true", help="answer every request with 429")
    parser.add_argument("--redis", type=int, help="port of a Redis that is asked about each request")
    return parser.parse_args()


async def _refuse(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=429, text="Rate limit reached for this address.\n")


def _forwarder(base: str, session: ClientSession) -> Handler:
    async def forward(request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        headers["X-Forwarded-For"] = request.remote or ""
        async with session.request(request.method, base + request.path_qs, headers=headers) as answer:
            body = await answer.read()
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            return web.Response(status=answer.status, headers=kept, body=body)

    return forward


def _asker(asking: Asking, forward: Handler) -> Handler:
    async def ask_first(request: web.Request) -> web.StreamResponse:
        allowed = await asking.allows(request.headers.get("X-Forwarded-For") or request.remote or "")
        return await (forward(request) if allowed else _refuse(request))

    return ask_first


async def _application(upstream: int, redis: int | None, *, refuse: bool) -> web.Application:
    session = ClientSession(connector=TCPConnector(limit=256), cookie_jar=DummyCookieJar(), auto_decompress=False)
    asking = Asking(redis) if redis else None
    application = web.Application()
    handler = _refuse if refuse else _forwarder(f"http://127.0.0.1:{upstream}", session)
    application.router.add_get("/{path:.*}", _asker(asking, handler) if asking else handler)

    async def close(_application: web.Application) -> None:
        await session.close()
        if asking:
            await asking.close()

    application.on_cleanup.append(close)
    return application


def main() -> None:
    """Serve until SIGTERM."""
    arguments = _arguments()
    web.run_app(
        _application(arguments.upstream, arguments.redis, refuse=arguments.refuse),
        host="127.0.0.1",
        port=arguments.port,
        access_log=None,
        backlog=4096,
        keepalive_timeout=3600,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
