"""What policies and models of the cluster mean on a node."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from fastpath import Control, Region
from models.scorer import MAIN, SHIPPED
from proxy.cluster import policy_keeper
from proxy.cluster.kept import Kept, KeptRelease
from proxy.cluster.model_pack import packed
from proxy.cluster.models_keeper import ModelsKeeper
from proxy.cluster.policy_keeper import PolicyKeeper, Reload
from proxy.config import Config
from proxy.model_places import Places
from proxy.supervisor import Parent, Supervisor
from tests.proxy.cluster.kept_for_tests import config, release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENVIRON = {"HKPGUARD_LIMITS__CERT__COUNT": "5"}
USUAL = Config.from_env({}).limits.cert.burst
GOOD, BAD, NOT_SHARED = b"[limits.cert]\nburst = 7\n", b"[limits.cert]\nburst = 0\n", b'state_dir = "/tmp"\n'


@pytest.fixture
def region() -> Iterator[Region]:
    """Return the shared memory of a node."""
    made = Region.create(clients=1024, workers=1, upstreams=1)
    yield made
    made.close()


class Node:
    """A node whose supervisor answers as a test says."""

    def __init__(self, folder: Path, region: Region, monkeypatch: pytest.MonkeyPatch, *, accepts: bool = True) -> None:
        """Have nothing in force."""
        self.region = region
        self.accepts = accepts
        self.place = KeptRelease(config(folder), "policy")
        parent = Parent(os.getppid(), "1" * 16, ENVIRON)
        monkeypatch.setattr(os, "kill", self._told)
        self.told = 0
        running = Config.from_env(ENVIRON)
        self.keeper = PolicyKeeper(self.place, parent, lambda: running, Reload(region.control, parent))

    def _told(self, pid: int, number: int) -> None:
        assert (pid, number) == (os.getppid(), signal.SIGHUP)
        self.told += 1
        if self.accepts:
            kept = self.place.read()
            self.region.control[Control.RELEASE] = kept.release.generation if kept else 0
        else:
            self.region.control[Control.RELOAD_FAILURES] += 1


async def test_opinion_on_a_policy(tmp_path: Path, region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy is tried with the node's own configuration, and nothing is changed by that."""
    keeper = Node(tmp_path, region, monkeypatch).keeper
    opinion = await keeper.opinion(GOOD + b"count = 9\n")
    assert (opinion.faults, opinion.overridden) == ("", ("HKPGUARD_LIMITS__CERT__COUNT",))
    assert "limits.cert.burst in the policy of the cluster=0: " in (await keeper.opinion(BAD)).faults
    assert "of each node by itself" in (await keeper.opinion(NOT_SHARED)).faults
    assert keeper.kept() is None


async def test_use_of_a_policy(tmp_path: Path, region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy is kept and the supervisor told; one that the supervisor refuses leaves what was kept before."""
    node = Node(tmp_path, region, monkeypatch)
    first = Kept(release(GOOD), GOOD)
    assert await node.keeper.use(first) == ""
    assert node.keeper.kept() == first
    bad = Kept(release(BAD).model_copy(update={"generation": 4}), BAD)
    assert "burst" in await node.keeper.use(bad)
    assert node.told == 1
    node.accepts = False
    other = Kept(release(b"").model_copy(update={"generation": 4}), b"")
    assert await node.keeper.use(other) == "the configuration was refused, see the log"
    assert node.keeper.kept() == first


async def test_the_same_policy_under_another_number(
    tmp_path: Path, region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To go back to what is in force needs no reload, which might fail for reasons of its own."""
    node = Node(tmp_path, region, monkeypatch)
    await node.keeper.use(Kept(release(GOOD), GOOD))
    node.accepts = False
    assert await node.keeper.use(Kept(release(GOOD).model_copy(update={"generation": 5}), GOOD)) == ""
    assert node.told == 1


async def test_a_policy_that_the_start_refused(tmp_path: Path, region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that is kept, and was not put in force at the start, is not said to be."""
    node = Node(tmp_path, region, monkeypatch)
    await node.keeper.use(Kept(release(GOOD), GOOD))
    region.control[Control.RELEASE] = 0
    assert node.keeper.kept() is None


async def test_a_supervisor_that_is_gone(tmp_path: Path, region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other process is sent a signal if the supervisor died."""
    node = Node(tmp_path, region, monkeypatch)
    reload = Reload(region.control, Parent(os.getppid() + 1, "1" * 16, {}))
    assert await reload(1) == "the supervisor is gone"
    assert node.told == 0


async def test_a_supervisor_that_is_silent(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that does nothing is waited for, but not for ever."""
    monkeypatch.setattr(os, "kill", lambda _pid, _number: None)
    monkeypatch.setattr(policy_keeper, "LOOK_S", 0.0)
    assert "in time" in await Reload(region.control, Parent(os.getppid(), "1" * 16, {}))(1)


@pytest.mark.parametrize(
    ("data", "burst", "generation"),
    [(GOOD, 7, 3), (BAD, USUAL, 0), (b"nonsense = 1", USUAL, 0)],
)
def test_start_with_a_policy(tmp_path: Path, region: Region, data: bytes, burst: int, generation: int) -> None:
    """A node starts with the policy that is kept; one that does not fit any more stops no start, and is forgotten."""
    environ = {"HKPGUARD_STATE_DIR": str(tmp_path)}
    given = config(tmp_path)
    for key in ("HKPGUARD_REDIS_URL", "HKPGUARD_CLUSTER__SECRET", "HKPGUARD_CLUSTER__NODE"):
        environ[key] = given.environ()[key]
    KeptRelease(given, "policy").write(Kept(release(data), data))
    supervisor = Supervisor(Config.from_env(environ), region, environ, sockets=list)
    supervisor._take_up_policy()
    assert supervisor.config.limits.cert.burst == burst
    assert region.control[Control.RELEASE] == generation
    assert (tmp_path / "cluster" / "policy").exists() == bool(generation)


def shipped() -> dict[str, bytes]:
    """Return a model and its manifest."""
    return {f"{MAIN}{ending}": (SHIPPED / f"{MAIN}{ending}").read_bytes() for ending in (".onnx", ".json")}


def kept_models(files: dict[str, bytes], generation: int = 1) -> Kept:
    """Return a release of models."""
    data = packed(files) if files else b""
    return Kept(release(data, "models").model_copy(update={"generation": generation}), data)


def test_models_are_tried_and_used(tmp_path: Path) -> None:
    """Good models are where those who score look first, all at once; bad ones are refused with the reason."""
    keeper = ModelsKeeper(KeptRelease(config(tmp_path), "models"))
    link = Places.of(tmp_path).cluster

    async def work() -> None:
        good, bad = kept_models(shipped()), kept_models(shipped() | {f"{MAIN}.onnx": b"damaged"}, 2)
        assert await keeper.use(good) == ""
        assert {path.name: path.read_bytes() for path in link.iterdir()} == shipped()
        assert "SHA-256" in await keeper.use(bad)
        assert keeper.kept() == good
        unknown = {f"another{ending}": shipped()[f"{MAIN}{ending}"] for ending in (".onnx", ".json")}
        assert "no model is called another" in (await keeper.opinion(packed(unknown))).faults
        assert "no models" in (await keeper.opinion(b"x")).faults
        assert [path.name for path in link.parent.iterdir() if path.name.startswith(("trial", "part"))] == []
        nothing = kept_models({}, 3)
        assert await keeper.use(nothing) == ""
        assert not link.exists()
        assert keeper.kept() == nothing
        assert sorted(path.name for path in link.parent.iterdir()) == ["models"]

    asyncio.run(work())
    link.symlink_to("nowhere")
    assert keeper.kept() is None
