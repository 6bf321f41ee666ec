"""Plugins over the admin API: shown, changed, asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.admin.plugin_routes import PluginRoutes
from proxy.plugins.catalogue import NoPlugin
from proxy.plugins.instance import PluginFailure
from proxy.plugins.manager import Manager, Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


class FakeManager:
    """A manager of one plugin, `x`."""

    def __init__(self) -> None:
        """Nothing was changed yet."""
        self.changes: list[dict[str, str]] = []
        self.fails: Exception | None = None

    def list(self) -> list[dict[str, Any]]:
        """See `Manager`."""
        return [self.plugin("x")]

    def plugin(self, name: str) -> dict[str, Any]:
        """See `Manager`."""
        if name != "x":
            raise NoPlugin(name)
        return {"name": name}

    async def change(self, name: str, values: Mapping[str, str]) -> None:
        """See `Manager`."""
        if self.fails:
            raise self.fails
        self.plugin(name)
        self.changes.append(dict(values))

    async def ask(self, name: str, route: str, query: Mapping[str, str]) -> dict[str, Any]:
        """See `Manager`."""
        if self.fails:
            raise self.fails
        self.plugin(name)
        return {"route": route, **query}


class Node:
    """The routes of a fake manager, and a client."""

    def __init__(self, manager: FakeManager, client: TestClient[web.Request, web.Application]) -> None:
        """Ask `client`."""
        self.manager = manager
        self.client = client

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """Return status and JSON."""
        async with self.client.request(method, path, json=body) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """Return a node."""
    manager = FakeManager()
    routes = PluginRoutes(manager)  # type: ignore[arg-type]  # a fake
    app = web.Application()
    app.add_routes(
        [
            web.get("/", routes.list),
            web.get("/{name}", routes.show),
            web.patch("/{name}", routes.change),
            web.post("/{name}/reload", routes.reload),
            web.get("/{name}/routes/{route}", routes.ask),
        ]
    )
    async with TestClient(TestServer(app)) as client:
        yield Node(manager, client)


def test_fake_is_like_the_manager() -> None:
    """The fake has nothing that the manager has not."""
    assert all(hasattr(Manager, name) for name in vars(FakeManager) if not name.startswith("_"))


async def test_shown(node: Node) -> None:
    """All of them, or one."""
    assert await node.ask("GET", "/") == (200, {"plugins": [{"name": "x"}]})
    assert await node.ask("GET", "/x") == (200, {"name": "x"})
    assert (await node.ask("GET", "/y"))[0] == 404


async def test_changed(node: Node) -> None:
    """A change and a reload answer with the plugin as it is then."""
    assert await node.ask("PATCH", "/x", {"settings": {"mode": "off"}}) == (200, {"name": "x"})
    assert await node.ask("POST", "/x/reload") == (200, {"name": "x"})
    assert node.manager.changes == [{"mode": "off"}, {}]
    assert (await node.ask("PATCH", "/y", {"settings": {}}))[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"mode": "off"},
        {"settings": {"mode": 1}},
        {"settings": "off"},
        {"settings": {str(n): "" for n in range(65)}},
    ],
)
async def test_bad_body(node: Node, body: object) -> None:
    """Nothing but settings as text, and not too many of them."""
    assert (await node.ask("PATCH", "/x", body))[0] == 400
    assert node.manager.changes == []


async def test_refused(node: Node) -> None:
    """What cannot be is a conflict, with the reason."""
    node.manager.fails = Refused("y needs it")
    assert await node.ask("POST", "/x/reload") == (409, {"title": "not changed", "status": 409, "detail": "y needs it"})


@pytest.mark.parametrize(("fails", "status"), [(None, 200), (NoPlugin("x"), 404), (PluginFailure("gone"), 503)])
async def test_asked(node: Node, fails: Exception | None, status: int) -> None:
    """A question goes to the plugin with its query; one that is broken is no error of ours."""
    node.manager.fails = fails
    assert (await node.ask("GET", "/x/routes/top?most=5"))[0] == status
