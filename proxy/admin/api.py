"""The admin API: health, readiness, metrics, and questions about clients. Its own listener, loopback by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from proxy.admin.openapi import DOCUMENT
from proxy.telemetry.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from proxy.admin.state import NodeState
    from proxy.telemetry.metrics import NodeMetrics

STATE: web.AppKey[NodeState] = web.AppKey("state")
METRICS: web.AppKey[NodeMetrics] = web.AppKey("metrics")
DEFAULT_TOP = 20
MOST_DIGITS = 4
MOST_SHOWN = 64  # characters of a bad address that are repeated


async def healthz(_request: web.Request) -> web.Response:
    """Say that the process is alive."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """Say whether the node should get traffic."""
    ready, why = request.app[STATE].readiness()
    return web.Response(text=why + "\n", status=200 if ready else 503)


async def metrics(request: web.Request) -> web.Response:
    """Return the Prometheus exposition."""
    return web.Response(body=request.app[METRICS].text(), headers={"Content-Type": CONTENT_TYPE})


async def client(request: web.Request) -> web.Response:
    """Explain one client."""
    address = request.match_info["address"]
    try:
        return web.json_response(request.app[STATE].client(address))
    except ValueError:
        detail = f"{address[:MOST_SHOWN]!r} is not an IP address"
        return web.json_response({"title": "not an address", "detail": detail, "status": 400}, status=400)


async def top(request: web.Request) -> web.Response:
    """Return the busiest clients."""
    text = request.query.get("most", str(DEFAULT_TOP))
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        return web.json_response({"title": "most is not a number from 1 to 100", "status": 400}, status=400)
    return web.json_response(request.app[STATE].top(int(text)))


async def openapi(_request: web.Request) -> web.Response:
    """Return the description of this API."""
    return web.json_response(DOCUMENT)


def build_app(state: NodeState, node_metrics: NodeMetrics) -> web.Application:
    """Return the application of one node."""
    app = web.Application(client_max_size=65536)
    app[STATE] = state
    app[METRICS] = node_metrics
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.get("/api/v1/clients/{address}", client),
            web.get("/api/v1/top", top),
            web.get("/api/v1/openapi.json", openapi),
        ]
    )
    return app
