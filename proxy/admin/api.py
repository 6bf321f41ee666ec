"""The admin API: health, readiness, metrics, clients, bans. Its own listener, loopback by default; see access.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from proxy.admin.access import Access, problem
from proxy.admin.cluster_routes import ClusterRoutes
from proxy.admin.event_stream import EventStream
from proxy.admin.history import By
from proxy.admin.intel_routes import IntelRoutes
from proxy.admin.openapi import DOCUMENT
from proxy.admin.plugin_routes import PluginRoutes
from proxy.intel.desk import IntelDesk
from proxy.plugins.bus import Bus
from proxy.plugins.manager import Manager
from proxy.telemetry.metrics import CONTENT_TYPE
from proxy.warden import Exempt, NoRoom

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from proxy.admin.state import NodeState
    from proxy.cluster.joint import Joint
    from proxy.config import Config
    from proxy.telemetry.metrics import NodeMetrics

STATE: web.AppKey[NodeState] = web.AppKey("state")
METRICS: web.AppKey[NodeMetrics] = web.AppKey("metrics")
DEFAULT_TOP = 20
DEFAULT_LIST = 100
MOST_DIGITS = 4
MOST_FAULTS = 3  # of a body that are told
MOST_SHOWN = 64  # characters of a bad address that are repeated


class WantedBan(BaseModel):
    """The body of a request for a ban."""

    model_config = ConfigDict(extra="forbid", strict=True)

    network: str
    seconds: int | None = None
    reason: str = ""


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
        return problem(400, "not an address", f"{address[:MOST_SHOWN]!r} is not an IP address")


async def top(request: web.Request) -> web.Response:
    """Return the busiest clients, networks or subjects."""
    most = _most(request, DEFAULT_TOP)
    if most is None:
        return problem(400, "most is not a number from 1 to 100")
    by = request.query.get("by", By.CLIENT)
    if by not in [*By]:
        return problem(400, f"by={by[:MOST_SHOWN]} is not one of {', '.join(By)}")
    return web.json_response(request.app[STATE].top(most, By(by)))


async def bans(request: web.Request) -> web.Response:
    """Return the bans in force."""
    most = _most(request, DEFAULT_LIST)
    if most is None:
        return problem(400, "most is not a number from 1 to 1000")
    return web.json_response(request.app[STATE].bans(most))


async def tarpit(request: web.Request) -> web.Response:
    """Return the clients that the tarpit held last."""
    most = _most(request, DEFAULT_LIST)
    if most is None:
        return problem(400, "most is not a number from 1 to 1000")
    return web.json_response(request.app[STATE].captives(most))


async def ban(request: web.Request) -> web.Response:
    """Ban a client or network."""
    try:
        wanted = WantedBan.model_validate_json(await request.read())
        answer = request.app[STATE].ban(wanted.network, wanted.seconds, wanted.reason)
    except ValidationError as error:
        return problem(400, "not a ban", "; ".join(map(_fault, error.errors()[:MOST_FAULTS])))
    except Exempt as error:
        return problem(409, "never banned", str(error))
    except NoRoom as error:
        return problem(503, "no room", str(error))
    except ValueError as error:
        return problem(400, "not a ban", f"{wanted.network[:MOST_SHOWN]!r}: {error}")
    return web.json_response(answer, status=201)


def _fault(error: ErrorDetails) -> str:
    where = ".".join(map(str, error["loc"])) or "body"
    return f"{where}: {error['msg']}"


async def unban(request: web.Request) -> web.Response:
    """End the bans of a client or network."""
    network = request.match_info["network"]
    try:
        answer = request.app[STATE].lift(network)
    except ValueError as error:
        return problem(400, "not a network", f"{network[:MOST_SHOWN]!r}: {error}")
    if answer["lifted"]:
        return web.json_response(answer)
    still = answer["still_banned_by"]
    detail = f"; {still['network']} is, until {still['until']}" if still else ""
    return problem(404, "not banned", f"{network[:MOST_SHOWN]} was not banned{detail}")


def _most(request: web.Request, default: int) -> int | None:
    """Return how many are asked for, None if that is no number."""
    text = request.query.get("most", str(default))
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


async def openapi(_request: web.Request) -> web.Response:
    """Return the description of this API."""
    return web.json_response(DOCUMENT)


ROUTES: Final = (
    web.get("/healthz", healthz),
    web.get("/readyz", readyz),
    web.get("/metrics", metrics),
    web.get("/api/v1/clients/{address}", client),
    web.get("/api/v1/top", top),
    web.get("/api/v1/bans", bans),
    web.post("/api/v1/bans", ban),
    web.delete("/api/v1/bans/{network:.+}", unban),
    web.get("/api/v1/tarpit", tarpit),
    web.get("/api/v1/openapi.json", openapi),
)


def build_app(  # noqa: PLR0913 - the last four are parts that tests leave out
    state: NodeState,
    node_metrics: NodeMetrics,
    config: Config,
    *,
    events: EventStream | None = None,
    plugins: Manager | None = None,
    desk: IntelDesk | None = None,
    joint: Joint | None = None,
) -> web.Application:
    """Return the application of one node; who may ask is fixed with it.

    Without `events` and `plugins` nothing is heard of, and none runs; without a `desk` there is one for this alone; and
    without `joint` the node stands alone.
    """
    access = Access(config)
    app = web.Application(client_max_size=65536, middlewares=[access.check])
    app[STATE] = state
    app[METRICS] = node_metrics
    app.add_routes(ROUTES)
    app.add_routes((events or EventStream(Bus(), config.events.listeners)).routes())
    app.add_routes(PluginRoutes(plugins or Manager(config, Bus())).routes())
    app.add_routes(ClusterRoutes(joint).routes())
    app.add_routes(IntelRoutes(desk or IntelDesk(config, *state.judges), access).routes())
    return app
