"""Each way in which Redis fails, with four nodes whose client has one limit: alone, and together again.

Nobody waits, limits fall to a quarter on each node, and what was spent meanwhile counts once when it is over.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from proxy.cluster.ledger import KEPT
from tests.integration.black_hole import ADDRESSES, far_server
from tests.integration.limit_nodes import AGREED_SECONDS, BURST, HALF, NODES, LimitNodes, limit_nodes
from tests.integration.programs import LOOPBACK, until
from tests.integration.redis_servers import (
    CLUSTER_COMMANDS,
    PASSWORD,
    Server,
    acl_line,
    cluster,
    log_of,
    relay,
    server,
)
from tests.integration.store_failures import (
    demote,
    evict,
    fill,
    flush,
    hang,
    kill_and_restart_empty,
    lose_majority,
    lose_slots,
    slow_down,
    take_the_user,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.integration.conftest import Need


OPENS_SECONDS = 3.0  # one, and what a busy machine adds
WAITS_SECONDS = 0.25 + 1.0  # the deadline of the store, likewise
BEFORE, NEW = "192.0.2.1", "192.0.2.2"  # clients: one that was there before, and one that comes while nodes are alone
SPENT = 20
AT_ONCE = 3


@pytest.fixture
def one(store_program: str, tmp_path: Path) -> Iterator[Server]:
    """Return a server whose users are those of the documentation, and an administrator."""
    users = tmp_path / "users.acl"
    users.write_text(f"user default on nopass ~* &* +@all\n{acl_line()}\n")
    with server(store_program, tmp_path / "redis", "--aclfile", str(users)) as started:
        yield started


def url_of(port: int) -> str:
    """Return the URL of a server on this machine, with the user of the documentation."""
    return f"redis://hkpguard:{PASSWORD}@{LOOPBACK}:{port}"


def begin(nodes: LimitNodes) -> int:
    """Let the client BEFORE spend something of which all nodes know; return how much."""
    nodes.until(up=True)
    assert nodes.spend(BEFORE, SPENT) == SPENT
    nodes.await_level(BEFORE, SPENT)
    return SPENT + nodes.agree(BEFORE)


def check_alone_and_together(nodes: LimitNodes, fail: Callable[[], Callable[[], object]], *, in_vain: int = 0) -> None:
    """Take the store away from nodes, and give it back.

    Args:
        nodes: All of them.
        fail: Takes the store away; returns what gives it back.
        in_vain: How much BEFORE spends when it is away and nobody knows.

    """
    spent = begin(nodes)
    mend = fail()
    assert nodes.spend(BEFORE, in_vain) == in_vain
    assert nodes.until(up=False) < OPENS_SECONDS
    assert nodes.spend(NEW, 4 * BURST) == BURST  # each has a quarter, and lets no more through
    more = nodes.spend(BEFORE, 4 * BURST)
    assert 0 < more <= BURST  # as the documentation says: the limit once more
    mend()
    nodes.until(up=True)
    nodes.await_level(BEFORE, spent + in_vain + more)
    nodes.await_level(NEW, BURST)
    nodes.await_level(NEW, BURST + nodes.agree(NEW))
    assert nodes.spend(NEW, 4 * NODES) == 0
    assert max(each.longest_call() for each in nodes) < WAITS_SECONDS


@contextmanager
def told_once(*, changes: float = 1) -> Iterator[None]:
    """Check that each node logs each change of its store in one line, and nothing else; at first it connects."""
    with capture_logs() as log:
        yield
    lost = log_of(log, "the store is out of reach, this node goes on alone")
    assert len(log) == len(lost) + len(log_of(log, "the store is connected"))
    assert (len(lost), len(log)) == (NODES * changes, NODES * (1 + 2 * changes)), log
    assert PASSWORD not in str(log)


@pytest.mark.parametrize("fail", [kill_and_restart_empty, hang, fill, demote])
def test_a_store_that_fails(one: Server, tmp_path: Path, fail: Callable[[Server], Callable[[], object]]) -> None:
    """Killed and empty again, hanging, full, a replica: each node has its share, and tells later what it let in."""
    with told_once(), limit_nodes([url_of(one.port)], tmp_path) as nodes:
        check_alone_and_together(nodes, lambda: fail(one))


@pytest.mark.parametrize(("fail", "in_vain"), [(lose_slots, 0), (lose_majority, NODES)])
def test_a_cluster_that_is_down(
    need: Need, tmp_path: Path, fail: Callable[[Sequence[Server]], Callable[[], object]], in_vain: int
) -> None:
    """Masters that serve nobody (CLUSTERDOWN), for want of some slots or of the others: likewise, for all shards."""
    users = tmp_path / "users.acl"
    users.write_text(f"user default on nopass ~* &* +@all\n{acl_line()} {CLUSTER_COMMANDS}\n")
    binaries = need("redis-server"), need("redis-cli")
    with cluster(*binaries, tmp_path, "--aclfile", str(users)) as masters:

        def look_and(mend: Callable[[], object]) -> None:
            until(lambda: b"cluster_state:fail" in masters[0].ask("CLUSTER", "INFO"), "the cluster is down")
            mend()

        places = ",".join(f"{LOOPBACK}:{each.port}" for each in masters)
        url = f"redis+cluster://hkpguard:{PASSWORD}@{places}"
        with told_once(), limit_nodes([url], tmp_path) as nodes:
            check_alone_and_together(nodes, lambda: partial(look_and, fail(masters)), in_vain=in_vain)
        assert all(each.ask("ACL", "LOG") == [] for each in masters)


def test_a_user_who_is_thrown_out(one: Server, tmp_path: Path) -> None:
    """Likewise; that the connection is lost, and that the password is wrong, are two lines."""
    with limit_nodes([url_of(one.port)], tmp_path) as nodes:
        check_alone_and_together(nodes, lambda: take_the_user(one))


def test_packets_that_are_dropped(need: Need, tmp_path: Path) -> None:
    """Where nobody answers and nobody refuses nodes find out in time, and what they told in vain counts once."""
    with (
        far_server(need("redis-server"), need("nft"), tmp_path / "redis") as far,
        told_once(),
        limit_nodes([f"redis://{ADDRESSES[0]}:{far.port}"], tmp_path) as nodes,
    ):
        check_alone_and_together(nodes, lambda: far.drop(*ADDRESSES), in_vain=NODES)


def test_a_slow_store(one: Server, tmp_path: Path) -> None:
    """One that answers after 200 ms, where 100 are allowed, is as good as none; what it did then counts once."""
    with (
        relay(one.port) as way,
        told_once(),
        limit_nodes([url_of(way.port)], tmp_path, CLUSTER__TIMEOUT="100ms") as nodes,
    ):
        check_alone_and_together(nodes, lambda: slow_down(way), in_vain=NODES)


def test_a_store_that_was_never_there(one: Server, tmp_path: Path) -> None:
    """Nodes that start without Redis have their shares at once, and tell what was spent when it comes."""
    one.kill()
    with limit_nodes([url_of(one.port)], tmp_path) as nodes:
        until(lambda: {each.share for each in nodes} == {NODES}, "limits are divided")
        assert nodes.spend(NEW, 4 * BURST) == BURST
        one.start()
        nodes.until(up=True)
        nodes.await_level(NEW, BURST)


def test_keys_that_are_evicted(one: Server, tmp_path: Path) -> None:
    """A store that has thrown away levels, and which calls it knows, is up; nothing is forgotten or doubled."""
    with told_once(changes=0), limit_nodes([url_of(one.port)], tmp_path) as nodes:
        spent = begin(nodes)
        assert one.ask("ACL", "LOG") == []
        evict(one)
        nodes.await_level(BEFORE, spent + nodes.spend(BEFORE, NODES))


@pytest.mark.parametrize("lose", [flush, evict, kill_and_restart_empty])
def test_a_store_that_loses_its_data_in_steps(
    one: Server, tmp_path: Path, lose: Callable[[Server], Callable[[], object] | None]
) -> None:
    """Nothing is forgotten, not even what a single node knew which the client has left, and nothing counts twice."""
    with limit_nodes([url_of(one.port)], tmp_path) as nodes:
        spent, of_new = begin(nodes), SPENT
        assert sum(nodes.nodes[0].ask(NEW) for _ in range(of_new)) == of_new
        nodes.await_level(NEW, of_new)
        for _ in range(3):
            if mend := lose(one):
                nodes.until(up=False)
                mend()
                nodes.until(up=True)
            spent += nodes.spend(BEFORE, NODES)
            nodes.await_level(BEFORE, spent)
            nodes.await_level(NEW, of_new)
        assert sum(nodes.nodes[1].ask(NEW) for _ in range(2)) == 2  # two are told, so that it hears of the others
        nodes.await_level(NEW, of_new + 2)
        assert nodes.nodes[1].missing(NEW) > of_new


@pytest.mark.parametrize("times", [1, BURST])
def test_a_store_that_loses_its_data_under_load(one: Server, tmp_path: Path, times: int) -> None:
    """All that was let through counts, once; if that goes on and on, at least all that any one node knows."""
    with told_once(changes=0), limit_nodes([url_of(one.port)], tmp_path) as nodes:
        nodes.until(up=True)
        spent = 0
        for turn in range(BURST // 2):
            spent += nodes.nodes[turn % NODES].ask(BEFORE) + nodes.nodes[turn * turn % NODES].ask(BEFORE)
            time.sleep(0.013)  # now within an exchange, now between two
            if turn % (BURST // times) == 0:
                flush(one)
        assert spent > BURST // 2
        spent += nodes.spend(BEFORE, NODES)
        if times == 1:
            nodes.await_level(BEFORE, spent)
        time.sleep(AGREED_SECONDS)
        known = max(each.missing(BEFORE) for each in nodes)
        assert known - HALF < nodes.level(BEFORE) < spent + HALF


def test_some_nodes_are_cut_off(need: Need, tmp_path: Path) -> None:
    """Where two of four lose the store they let half a limit through beside the others, and tell of it later."""
    with far_server(need("redis-server"), need("nft"), tmp_path / "redis") as far:
        urls = [f"redis://{each}:{far.port}" for each in ADDRESSES]
        with told_once(changes=0.5), limit_nodes(urls, tmp_path) as nodes:
            nodes.until(up=True)
            here, away = nodes.nodes[::2], nodes.nodes[1::2]
            far.drop(ADDRESSES[1])
            until(lambda: not any(each.store.up for each in away), "two are cut off")
            until(lambda: [each.share for each in nodes] == [1, NODES, 1, NODES], "two have their shares")
            alone = sum(each.ask(NEW) for each in away for _ in range(BURST))
            assert alone == BURST * len(away) / NODES
            together = 0
            for _ in range(BURST // AT_ONCE):
                together += sum(each.ask(NEW) for each in here for _ in range(AT_ONCE))
                time.sleep(0.05)  # an exchange
            assert BURST <= together <= (BURST + AT_ONCE * len(here)) * (KEPT + 1) / KEPT
            far.drop()
            nodes.until(up=True)
            nodes.await_level(NEW, alone + together)
