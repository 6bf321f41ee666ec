"""The cluster over HTTP, and how a terminal shows it."""

from __future__ import annotations

import json
from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from rich.console import Console

from proxy.admin.cluster_routes import MOST_BODY_BYTES, ClusterRoutes
from proxy.admin.cluster_view import cluster_view, made_view, release_view
from proxy.admin.openapi import DOCUMENT
from proxy.cluster.command import StoreDown
from proxy.cluster.model_pack import packed
from proxy.cluster.releases import Ballot, Outcome, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

YES = Outcome(
    4, "a" * 64, active=True, reason="", ballots=(Ballot("a", "yes"), Ballot("b", "yes", "", ("HKPGUARD_MODE",)))
)
NO = YES._replace(active=False, reason="b: it does not fit", ballots=(Ballot("b", "no", "it does not fit"),))
MODELS = {"a.onnx": b"model", "a.json": b"manifest"}
RELEASE = {
    "active": {"generation": 4, "content": "a" * 64, "bytes": 9, "since": 1, "by": "a", "rolled_back_because": "b: no"},
    "problem": "refused here",
    "nodes": {"a": {"generation": 4, "content": "a" * 64}, "[b]": {"generation": 0, "content": ""}},
}
ITSELF = {
    "node": "a",
    "state": "this node",
    "version": "1.0",
    "protocol": 1,
    "beat_seconds": 0,
    "workers": 2,
    "policy": 4,
    "models": 0,
}
STATUS = {
    "node": "a",
    "joined": True,
    "problem": "something",
    "nodes": 2,
    "protocol": 1,
    "store": {"up": False, "seconds": 7, "reason": "it does not answer"},
    "self": ITSELF,
    "others": [ITSELF | {"node": "[b]", "state": "lost", "beat_seconds": 4.2}],
    "figures": {"bans of other nodes": 3},
}


class FakeReleases:
    """Does what a test says."""

    def __init__(self, outcome: Outcome | Exception) -> None:
        """Come to an outcome, or raise it."""
        self._outcome = outcome
        self.pushed: list[bytes] = []

    async def push(self, data: bytes) -> Outcome:
        """See `Releases`."""
        self.pushed.append(data)
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    async def roll_back(self) -> Outcome:
        """See `Releases`."""
        return await self.push(b"back")


class FakeKind(NamedTuple):
    """One kind of release."""

    releases: FakeReleases


class FakeJoint:
    """A cluster."""

    def __init__(self, outcome: Outcome | Exception) -> None:
        """See `FakeReleases`."""
        self.kinds = {kind: FakeKind(FakeReleases(outcome)) for kind in ("policy", "models")}

    def status(self) -> dict[str, Any]:
        """See `Joint`."""
        return STATUS

    def release(self, kind: str) -> dict[str, Any]:
        """See `Joint`."""
        return RELEASE | {"what": kind}


async def asked(joint: FakeJoint | None, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
    """Ask the routes; the answer is one that the description of the API knows."""
    app = web.Application(client_max_size=65_536)
    app.add_routes(ClusterRoutes(joint).routes())  # type: ignore[arg-type]
    async with (
        TestClient(TestServer(app)) as client,
        client.request(method, path, data=BytesIO(body) if body else None) as answer,
    ):
        assert str(answer.status) in DOCUMENT["paths"][path][method.lower()]["responses"]
        return answer.status, await answer.json()


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/policy"), ("GET", "/models"), ("POST", "/policy/rollback"), ("POST", "/models/rollback")],
)
async def test_without_a_cluster(method: str, path: str) -> None:
    """A node that stands alone says so."""
    status, answer = await asked(None, method, f"/api/v1/cluster{path}")
    assert status == 404
    assert "HKPGUARD_REDIS_URL" in answer["detail"]


async def test_what_is_shown() -> None:
    """The nodes, and what is in force, are told as they are."""
    joint = FakeJoint(YES)
    assert await asked(joint, "GET", "/api/v1/cluster") == (200, STATUS)
    for kind in ("policy", "models"):
        assert await asked(joint, "GET", f"/api/v1/cluster/{kind}") == (200, RELEASE | {"what": kind})


async def test_push() -> None:
    """A policy goes on as its bytes, models as one content, no models as nothing; bodies may be large."""
    joint = FakeJoint(YES)
    policy, models = joint.kinds["policy"].releases, joint.kinds["models"].releases
    text = "# " + "x" * 100_000
    status, answer = await asked(joint, "POST", "/api/v1/cluster/policy", json.dumps({"text": text}).encode())
    assert (status, answer["generation"], answer["ballots"][1]["overridden"]) == (200, 4, ["HKPGUARD_MODE"])
    files = {name: b64encode(data).decode() for name, data in MODELS.items()}
    await asked(joint, "POST", "/api/v1/cluster/models", json.dumps({"files": files}).encode())
    await asked(joint, "POST", "/api/v1/cluster/models", json.dumps({"files": {}}).encode())
    await asked(joint, "POST", "/api/v1/cluster/policy/rollback")
    assert (policy.pushed, models.pushed) == ([text.encode(), b"back"], [packed(MODELS), b""])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("policy", b""),
        ("policy", b"[]"),
        ("policy", b'{"text": 1}'),
        ("policy", b'{"text": "", "x": 1}'),
        ("models", b'{"files": {"a.onnx": "?"}}'),
        ("models", b'{"files": {"a.onnx": ""}}'),
        ("models", b'{"files": {"../a.onnx": "", "../a.json": ""}}'),
        ("models", b'{"files": {"a.onnx": 1}}'),
        ("policy", b"x" * (MOST_BODY_BYTES + 1)),
    ],
)
async def test_what_is_no_release(path: str, body: bytes) -> None:
    """A body that is not as it should be, or too large, is refused, and nobody is asked."""
    joint = FakeJoint(YES)
    status, _ = await asked(joint, "POST", f"/api/v1/cluster/{path}", body)
    assert status == 400
    assert not joint.kinds["policy"].releases.pushed + joint.kinds["models"].releases.pushed


@pytest.mark.parametrize(
    ("outcome", "status", "detail"),
    [
        (NO, 409, "b: it does not fit"),
        (Refused("this node has not joined"), 409, "this node has not joined"),
        (StoreDown("it does not answer"), 503, "it does not answer; what became of it shows when it is back"),
    ],
)
async def test_what_was_not_released(outcome: Outcome | Exception, status: int, detail: str) -> None:
    """Why a release was not made is told in words."""
    got, answer = await asked(FakeJoint(outcome), "POST", "/api/v1/cluster/policy", b'{"text": ""}')
    assert (got, answer["detail"]) == (status, detail)


def drawn(view: Callable[..., Any], *answer: Any) -> str:
    """Return what a terminal shows."""
    console = Console(width=160, record=True, file=None, quiet=False)
    with console.capture() as shown:
        console.print(view(*answer))
    return shown.get()


def test_views() -> None:
    """Nodes, what is in force and what became of a push can be read; names are not taken for marks of the terminal."""
    nodes = drawn(cluster_view, STATUS)
    for text in (
        "2 count",
        "[b]",
        "lost",
        "4.2",
        "out of reach for 7 s: it does not answer",
        "1/2",
        "bans of other nodes: 3",
    ):
        assert text in nodes
    assert "PROBLEM: something" in nodes
    release = drawn(release_view, "policy", RELEASE)
    for text in (
        "[b]",
        "none",
        "generation 4: aaaaaaaaaaaa; through a; rolled back because of b: no",
        "PROBLEM: refused",
    ):
        assert text in release
    nothing = drawn(release_view, "policy", RELEASE | {"active": None, "problem": ""})
    assert "No policy was ever released" in nothing
    made = drawn(made_view, {"generation": 4, "ballots": [each._asdict() for each in YES.ballots]})
    assert made == "Generation 4 is in force on 2 nodes.\nb: its own environment wins in HKPGUARD_MODE\n"
