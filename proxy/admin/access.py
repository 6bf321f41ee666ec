"""Who may ask the admin API: whoever knows the token, if one is set, and never a web page.

A page that an operator looks at can make the browser send requests to loopback addresses. It cannot keep the browser
from saying which page it was (Origin), nor from naming the host that it believes to talk to (Host), also if that name
was made to point here (DNS rebinding). And it cannot send application/json elsewhere without asking first, which is
refused. Where a token is set the name does not matter: no page of others knows the token.
"""

from __future__ import annotations

import hmac
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.config import Config

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})  # without the token: they tell nothing of anybody
# Programs of others have keys of their own for these, which open nothing else; their handlers look at them.
KEYED_PATHS: Final = frozenset(
    {"/api/v1/intel/reports", "/api/v1/intel/blocklist", "/v1/decisions/stream", "/v1/usage-metrics"}
)
SCHEME: Final = "Bearer "
_HOST: Final = re.compile(r"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]*)?")


def problem(status: int, title: str, detail: str = "") -> web.Response:
    """Return an error as all of them look."""
    body = {"title": title, "status": status} | ({"detail": detail} if detail else {})
    headers = {"WWW-Authenticate": SCHEME.strip()} if status == web.HTTPUnauthorized.status_code else None
    return web.json_response(body, status=status, headers=headers)


class Access:
    """The rules of one configuration."""

    def __init__(self, config: Config) -> None:
        """Take the token and the host name of the admin address."""
        self._token = config.admin_token
        self._host = config.admin.host.lower()

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request pass to its handler, or refuse it."""
        host = request.headers.get("Host")  # the parser refuses two; without one it is no browser
        if host is not None and self._token is None and not self._knows(host):
            return problem(403, "not a name of this host")
        if any(_host_of(origin) != (host or "").lower() for origin in request.headers.getall("Origin", [])):
            return problem(403, "not for web pages of others")
        if not self.authorized(request) and _path(request) not in OPEN_PATHS | KEYED_PATHS:
            return problem(401, "the token of HKPGUARD_ADMIN_TOKEN is wanted")
        if request.can_read_body and request.content_type != "application/json":
            return problem(415, "a body must be application/json")
        return await handler(request)

    def _knows(self, host: str) -> bool:
        """Tell whether a Host is one that cannot be a foreign name for this machine."""
        found = _HOST.fullmatch(host.lower())
        name = (found["ipv6"] or found["name"]) if found else ""
        return name in {"localhost", self._host} or _is_address(name)

    def authorized(self, request: web.Request) -> bool:
        """Tell whether a request is one of the operator: it has the token, or none is wanted."""
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return self._token is None or hmac.compare_digest(given, f"{SCHEME}{self._token}".encode())


def _path(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


def _host_of(origin: str) -> str:
    """Return host and port of an Origin; empty for `null`."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
