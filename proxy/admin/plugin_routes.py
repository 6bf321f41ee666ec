"""`/api/v1/plugins`: which plugins there are, and changes that hold until the configuration is read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from proxy.admin.access import problem
from proxy.plugins.catalogue import NoPlugin
from proxy.plugins.instance import PluginFailure
from proxy.plugins.manager import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from proxy.plugins.manager import Manager

MOST_SHOWN = 64  # characters of a name that are repeated


class WantedChange(BaseModel):
    """The body of a change: settings by name, `mode` among them, as the environment would have them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    settings: dict[str, str] = Field(default_factory=dict, max_length=64)


class PluginRoutes:
    """Answers about plugins, and changes them."""

    def __init__(self, manager: Manager) -> None:
        """Ask and tell `manager`."""
        self._manager = manager

    def routes(self) -> Sequence[web.RouteDef]:
        """Return what is asked where."""
        return (
            web.get("/api/v1/plugins", self.list),
            web.get("/api/v1/plugins/{name}", self.show),
            web.patch("/api/v1/plugins/{name}", self.change),
            web.post("/api/v1/plugins/{name}/reload", self.reload),
            web.get("/api/v1/plugins/{name}/routes/{route}", self.ask),
        )

    async def list(self, _request: web.Request) -> web.Response:
        """Return all plugins."""
        return web.json_response({"plugins": self._manager.list()})

    async def show(self, request: web.Request) -> web.Response:
        """Return one plugin."""
        return await self._answered(request, None)

    async def reload(self, request: web.Request) -> web.Response:
        """Begin a plugin anew, from the code that is installed now."""
        return await self._answered(request, self._manager.change(request.match_info["name"], {}))

    async def change(self, request: web.Request) -> web.Response:
        """Set a plugin otherwise."""
        try:
            wanted = WantedChange.model_validate_json(await request.read())
        except ValidationError as error:
            return problem(400, "not a change", str(error.errors()[0]["msg"]))
        return await self._answered(request, self._manager.change(request.match_info["name"], wanted.settings))

    async def ask(self, request: web.Request) -> web.Response:
        """Hand a question to a plugin."""
        name, route = request.match_info["name"], request.match_info["route"]
        try:
            return web.json_response(await self._manager.ask(name, route, dict(request.query)))
        except NoPlugin:
            return problem(404, "no such route", f"{name[:MOST_SHOWN]} is off, or does not answer {route[:MOST_SHOWN]}")
        except PluginFailure as error:
            return problem(503, "the plugin does not answer", str(error))

    async def _answered(self, request: web.Request, step: Awaitable[None] | None) -> web.Response:
        """Do a step, and return the plugin as it is then."""
        name = request.match_info["name"]
        try:
            if step is not None:
                await step
            return web.json_response(self._manager.plugin(name))
        except NoPlugin:
            return problem(404, "no such plugin", f"{name[:MOST_SHOWN]!r} is not installed")
        except Refused as error:
            return problem(409, "not changed", str(error))
