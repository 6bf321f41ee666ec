"""`/api/v1/intel`: reports, what is known of an address, and our bans for others; and CrowdSec's API for bouncers.

Reporters and bouncers have keys of their own, which open nothing else (see `access.py`). CrowdSec's API is there if a
bouncer has a key, and answers as that of CrowdSec: errors are `{"message": ...}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from proxy.admin.access import SCHEME, problem
from proxy.intel.desk import Refused
from proxy.intel.exports import FORMATS, bundle, plain, timed
from proxy.intel.reports import TooMany

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.admin.access import Access
    from proxy.intel.desk import IntelDesk

API_KEY: Final = "X-Api-Key"
MOST_SHOWN: Final = 64  # characters of a bad address that are repeated
STIX: Final = "application/stix+json;version=2.1"
SCOPES: Final = frozenset({"ip", "range"})


class WantedReport(BaseModel):
    """The body of a report."""

    model_config = ConfigDict(extra="forbid", strict=True)

    network: str
    reason: str = ""
    seconds: int | None = None


class IntelRoutes:
    """Answers about intelligence, and takes reports."""

    def __init__(self, desk: IntelDesk, access: Access) -> None:
        """Ask and tell `desk`; `access` knows the operator."""
        self._desk = desk
        self._access = access

    def routes(self) -> Sequence[web.RouteDef]:
        """Return what is asked where."""
        return (
            web.post("/api/v1/intel/reports", self.report),
            web.get("/api/v1/intel/blocklist", self.blocklist),
            web.get("/api/v1/intel/{address:[0-9a-fA-F:.]+}", self.about),
            web.get("/v1/decisions/stream", self.decisions),
            web.post("/v1/usage-metrics", self.usage),
        )

    async def report(self, request: web.Request) -> web.Response:
        """Take a report of somebody who has a token for it."""
        reporter = self._desk.reporter(request.headers.get("Authorization", "").removeprefix(SCHEME))
        if reporter is None:
            return problem(401, "the token of a reporter is wanted (HKPGUARD_INTEL__REPORTERS_FILE)")
        try:
            wanted = WantedReport.model_validate_json(await request.read())
            answer = self._desk.report(reporter, wanted.network, wanted.reason, wanted.seconds)
        except ValidationError as error:
            return problem(400, "not a report", str(error.errors()[0]["msg"]))
        except Refused as error:
            return problem(409, "never reported", str(error))
        except TooMany as error:
            return problem(429, "too many reports", str(error))
        except ValueError as error:
            return problem(400, "not a report", f"{wanted.network[:MOST_SHOWN]!r}: {error}")
        return web.json_response(answer, status=202)

    async def about(self, request: web.Request) -> web.Response:
        """Tell what is known of an address."""
        address = request.match_info["address"]
        try:
            return web.json_response(self._desk.about(address))
        except ValueError:
            return problem(400, "not an address", f"{address[:MOST_SHOWN]!r} is not an IP address")

    async def blocklist(self, request: web.Request) -> web.Response:
        """Return our bans as a list."""
        if not self._access.authorized(request) and self._desk.bouncer(request.headers.get(API_KEY, "")) is None:
            return problem(401, "the token of HKPGUARD_ADMIN_TOKEN or the key of a bouncer is wanted")
        form = request.query.get("format", "plain")
        if form not in FORMATS:
            return problem(400, f"format is not {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
        bans = (await self._desk.bans()).values()
        now_s = self._desk.now_s()
        if form == "stix":
            return web.json_response(bundle(bans, now_s), content_type=STIX.partition(";")[0])
        return web.Response(text=plain(bans) if form == "plain" else timed(bans, now_s))

    async def decisions(self, request: web.Request) -> web.Response:
        """Return what a bouncer of CrowdSec has to know."""
        bouncer = self._desk.bouncer(request.headers.get(API_KEY, ""))
        if bouncer is None:
            return web.json_response({"message": "access forbidden"}, status=403)
        if not SCOPES & set(request.query.get("scopes", "ip,range").lower().split(",")):
            return web.json_response({"new": None, "deleted": None})
        startup = request.query.get("startup", "false").lower() == "true"
        text = await self._desk.decisions(f"{bouncer} {request.remote}", startup=startup)
        return web.Response(text=text, content_type="application/json")

    async def usage(self, request: web.Request) -> web.Response:
        """Take the figures that bouncers send; nobody reads them."""
        if self._desk.bouncer(request.headers.get(API_KEY, "")) is None:
            return web.json_response({"message": "access forbidden"}, status=403)
        return web.Response(status=201)
