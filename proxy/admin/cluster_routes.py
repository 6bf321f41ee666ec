"""`/api/v1/cluster`: the nodes, and what is released for all of them. A node that stands alone has none of it."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import TYPE_CHECKING, Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from proxy.admin.access import problem
from proxy.cluster.command import StoreDown
from proxy.cluster.model_pack import packed
from proxy.cluster.release import MOST_CONTENT_BYTES
from proxy.cluster.releases import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from proxy.cluster.joint import Joint
    from proxy.cluster.release import KindName
    from proxy.cluster.releases import Outcome, Releases

MOST_BODY_BYTES: Final = MOST_CONTENT_BYTES * 4 // 3 + 64 * 1024  # as base64
PIECE_BYTES: Final = 64 * 1024


class WantedPolicy(BaseModel):
    """The body of a push of a policy: TOML. Without text each node has its own settings again."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str


class WantedModels(BaseModel):
    """The body of a push of models: files by name, base64. Without files each node has its own models again."""

    model_config = ConfigDict(extra="forbid", strict=True)

    files: Annotated[dict[str, str], Field(max_length=16)]


class ClusterRoutes:
    """Answers about the cluster, and takes releases."""

    def __init__(self, joint: Joint | None) -> None:
        """Ask and tell `joint`; None: this node stands alone."""
        self._joint = joint

    def routes(self) -> Sequence[web.RouteDef]:
        """Return what is asked where."""
        return (
            web.get("/api/v1/cluster", self.status),
            web.get("/api/v1/cluster/policy", self.policy),
            web.post("/api/v1/cluster/policy", self.push_policy),
            web.post("/api/v1/cluster/policy/rollback", self.roll_back_policy),
            web.get("/api/v1/cluster/models", self.models),
            web.post("/api/v1/cluster/models", self.push_models),
            web.post("/api/v1/cluster/models/rollback", self.roll_back_models),
        )

    async def status(self, _request: web.Request) -> web.Response:
        """Tell about all nodes."""
        return _alone() if self._joint is None else web.json_response(self._joint.status())

    async def policy(self, _request: web.Request) -> web.Response:
        """Tell which policy is in force, and where."""
        return _alone() if self._joint is None else web.json_response(self._joint.release("policy"))

    async def models(self, _request: web.Request) -> web.Response:
        """Tell which models are in force, and where."""
        return _alone() if self._joint is None else web.json_response(self._joint.release("models"))

    async def push_policy(self, request: web.Request) -> web.Response:
        """Release a policy for all nodes."""
        try:
            data = WantedPolicy.model_validate_json(await _body(request)).text.encode()
        except ValueError as error:  # pydantic's is one
            return _bad(error)
        return await self._make("policy", lambda releases: releases.push(data))

    async def push_models(self, request: web.Request) -> web.Response:
        """Release models for all nodes."""
        try:
            files = WantedModels.model_validate_json(await _body(request)).files
            content = {name: b64decode(text, validate=True) for name, text in files.items()}
            data = packed(content) if content else b""
        except (ValueError, binascii.Error) as error:
            return _bad(error)
        return await self._make("models", lambda releases: releases.push(data))

    async def roll_back_policy(self, _request: web.Request) -> web.Response:
        """Release the policy before."""
        return await self._make("policy", lambda releases: releases.roll_back())

    async def roll_back_models(self, _request: web.Request) -> web.Response:
        """Release the models before."""
        return await self._make("models", lambda releases: releases.roll_back())

    async def _make(self, kind: KindName, make: Callable[[Releases], Coroutine[Any, Any, Outcome]]) -> web.Response:
        if self._joint is None:
            return _alone()
        try:
            outcome = await make(self._joint.kinds[kind].releases)
        except Refused as error:
            return problem(409, "not released", str(error))
        except StoreDown as error:
            return problem(503, "the store is out of reach", f"{error}; what became of it shows when it is back")
        answer = outcome._asdict() | {"ballots": [each._asdict() for each in outcome.ballots]}
        if outcome.active:
            return web.json_response(answer)
        return web.json_response(
            answer | {"title": "not released", "status": 409, "detail": outcome.reason}, status=409
        )


async def _body(request: web.Request) -> bytes:
    """Read a body that may be larger than those of other routes; ValueError if it is too large."""
    body = bytearray()
    async for piece in request.content.iter_chunked(PIECE_BYTES):
        body += piece
        if len(body) > MOST_BODY_BYTES:
            raise ValueError("it is too large")
    return bytes(body)


def _bad(error: ValueError) -> web.Response:
    detail = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
    return problem(400, "not a release", detail)


def _alone() -> web.Response:
    return problem(404, "no cluster", "this node stands alone: HKPGUARD_REDIS_URL is not set")
