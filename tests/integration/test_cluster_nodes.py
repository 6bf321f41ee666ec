"""Three guards and a Redis: they know each other, and have the same policy and models in force, or none of them has."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from models.scorer import MAIN, SHIPPED
from tests.integration.keyserver import ok
from tests.integration.programs import run, until
from tests.integration.redis_servers import PASSWORD, SECRET, Server, acl_line, server

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

    from tests.integration.conftest import Need, StartGuard, StartKeyserver
    from tests.integration.guard import Guard


NAMES = ("a", "b", "c")
POLICY = "[limits.identity]\nburst = 7\n"
ANOTHER = POLICY.replace("7", "9")
SEEN_SECONDS = 15.0  # a machine of tests may be busy


class Nodes(NamedTuple):
    """Guards by their names, and the server that they share."""

    redis: Server
    guards: dict[str, Guard]
    start: Callable[..., Guard]

    def status(self, name: str) -> dict[str, Any]:
        """Return what a node says of the cluster."""
        _, text = self.guards[name].admin("/api/v1/cluster")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def counts(self, names: str, count: int) -> bool:
        """Whether nodes have joined, and count so many."""
        return all((each["joined"], each["nodes"]) == (True, count) for each in map(self.status, names))

    def await_count(self, names: str, count: int) -> None:
        """Wait for that."""
        until(lambda: self.counts(names, count), f"{names} count {count}", SEEN_SECONDS)

    def bursts(self) -> dict[str, int]:
        """Return a limit on each node, which a policy can change."""
        return {name: each.client("192.0.2.1")["limits"][2]["burst"] for name, each in self.guards.items()}

    def generations(self, what: str = "policy") -> dict[str, int]:
        """Return the generation that each node has in force."""
        return {name: self.status(name)["self"][what] for name in self.guards}

    def push_models(self, name: str, folder: Path) -> tuple[int, str, str]:
        """Push models through a node: each loads them in a process of its own, all at once."""
        command = (sys.executable, "-m", "proxy", "models", "push", str(folder))
        done = run(*command, environ=self.guards[name].environ, seconds=100.0)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def nodes(
    need: Need, stack: ExitStack, start_guard: StartGuard, start_keyserver: StartKeyserver, tmp_path: Path
) -> Nodes:
    """Run three guards that know each other."""
    users = tmp_path / "users.acl"
    users.write_text(f"user default on nopass ~* &* +@all\n{acl_line()}\n")
    redis = stack.enter_context(server(need("redis-server"), tmp_path / "redis", "--aclfile", str(users)))
    upstream = start_keyserver(ok).url

    def start(name: str, **settings: str) -> Guard:
        own = {"CLUSTER__NODE": name, "STATE_DIR": str(tmp_path / f"state-{name}"), "WORKERS": "1"}
        common = {"REDIS_URL": f"redis://hkpguard:{PASSWORD}@127.0.0.1:{redis.port}", "CLUSTER__SECRET": SECRET}
        return start_guard(upstream, **(own | common | {"CLUSTER__TIMEOUT": "500ms"} | settings))

    made = Nodes(redis, {name: start(name) for name in NAMES}, start)
    made.await_count("abc", 3)
    return made


def test_policy_is_in_force_on_all_or_none(nodes: Nodes, tmp_path: Path) -> None:
    """A policy holds on all nodes, also on one that starts again; an own setting of a node wins; one can go back."""
    usual = nodes.bursts()["a"]
    file = tmp_path / "policy.toml"
    file.write_text(POLICY)
    status, out, err = nodes.guards["a"].command("policy", "push", str(file))
    assert (status, out) == (0, "Generation 1 is in force on 3 nodes.\n"), err
    assert nodes.generations() == {"a": 1, "b": 1, "c": 1}
    until(lambda: set(nodes.bursts().values()) == {7}, "the limit is 7 on all nodes")

    # A node with a setting of its own, which wins there.
    nodes.guards["c"].program.end()
    nodes.await_count("ab", 2)
    nodes.guards["c"] = nodes.start("c", BANS__WIDEN_IPV4="8")
    assert nodes.bursts()["c"] == 7  # before it has asked anybody
    nodes.await_count("abc", 3)
    file.write_text("[bans]\nwiden_ipv4 = 5\n[limits.identity]\nburst = 11\n")
    status, out, err = nodes.guards["b"].command("policy", "push", str(file))
    assert status == 0, err
    assert "c: its own environment wins in HKPGUARD_BANS__WIDEN_IPV4" in out
    until(lambda: set(nodes.bursts().values()) == {11}, "the limit is 11 on all nodes")
    assert nodes.guards["a"].command("policy", "rollback")[0] == 0
    until(lambda: set(nodes.bursts().values()) == {7}, "the limit is 7 again")
    assert nodes.generations() == {"a": 3, "b": 3, "c": 3}
    assert usual != 7


def test_a_node_that_refuses(nodes: Nodes, tmp_path: Path) -> None:
    """What one node cannot have, none has, and the operator reads which node and why."""
    nodes.guards["c"].program.end()
    nodes.await_count("ab", 2)
    nodes.guards["c"] = nodes.start("c", LIMITS__IDENTITY__COUNT="1", LIMITS__IDENTITY__PERIOD="60d")
    nodes.await_count("abc", 3)
    file = tmp_path / "policy.toml"
    file.write_text("[limits.identity]\nburst = 1000000\n")
    before = nodes.bursts()
    status, _, err = nodes.guards["a"].command("policy", "push", str(file))
    assert status == 1
    assert err.startswith("hkpguard: c: HKPGUARD_LIMITS__IDENTITY__PERIOD=60d: ")
    assert nodes.bursts() == before
    assert nodes.generations() == {"a": 0, "b": 0, "c": 0}

    file.write_text('listen = ["127.0.0.1:1"]\n')
    status, _, err = nodes.guards["a"].command("policy", "push", str(file))
    assert status == 1
    assert "listen in the policy of the cluster" in err
    assert "each node" in err


def test_store_that_forgets(nodes: Nodes, tmp_path: Path) -> None:
    """A Redis that comes back empty is told again what is in force; nobody goes back, and the nodes find each other."""
    file = tmp_path / "policy.toml"
    file.write_text(POLICY)
    assert nodes.guards["a"].command("policy", "push", str(file))[0] == 0
    nodes.redis.kill()
    until(lambda: not nodes.status("a")["store"]["up"], "the store is lost", SEEN_SECONDS)
    assert nodes.status("a")["nodes"] == 3  # as were seen last
    nodes.redis.start()
    nodes.await_count("abc", 3)
    until(lambda: nodes.redis.ask("EXISTS", "hkpguard:{0}:release:policy:active"), "the release is back", SEEN_SECONDS)
    file.write_text(ANOTHER)
    until(lambda: nodes.guards["b"].command("policy", "push", str(file))[0] == 0, "the next is made", SEEN_SECONDS)
    assert set(nodes.generations().values()) == {2}
    until(lambda: set(nodes.bursts().values()) == {9}, "the limit is 9 on all nodes")


def test_models_are_in_force_on_all_or_none(nodes: Nodes, tmp_path: Path) -> None:
    """Good models are on all nodes, damaged ones on none."""
    folder = tmp_path / "models"
    folder.mkdir()
    for ending in (".onnx", ".json"):
        (folder / f"{MAIN}{ending}").write_bytes((SHIPPED / f"{MAIN}{ending}").read_bytes())
    status, out, err = nodes.push_models("a", folder)
    assert (status, out) == (0, "Generation 1 is in force on 3 nodes.\n"), err
    for name in NAMES:
        assert f"models-in-use/{MAIN}.onnx: good" in nodes.guards[name].command("models", "verify")[1]
    (folder / f"{MAIN}.onnx").write_bytes(b"damaged")
    status, _, err = nodes.push_models("b", folder)
    assert status == 1
    assert "SHA-256" in err
    assert nodes.generations("models") == {"a": 1, "b": 1, "c": 1}


def test_draining_and_names(nodes: Nodes, tmp_path: Path) -> None:
    """A node that drains is not counted any more; a second one of the same name stays out, and says so."""
    twin = nodes.start("b", STATE_DIR=str(tmp_path / "state-twin"))
    nodes.guards["twin"] = twin
    until(lambda: "under the name of this one, b" in nodes.status("twin")["problem"], "the twin knows", SEEN_SECONDS)
    assert not nodes.status("twin")["joined"]
    assert nodes.status("b")["joined"]
    nodes.guards["c"].program.end(signal.SIGTERM)
    until(lambda: nodes.counts("ab", 2), "c has left", 2.5)
    shown = nodes.guards["a"].command("cluster", "status")[1]
    assert "2 count" in shown
