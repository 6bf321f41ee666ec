"""Guards that lose Redis under load: a few of them or all, by dropped packets, a failover, or anything else."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from proxy.cluster.ledger import KEPT
from tests.integration.black_hole import ADDRESSES, far_server
from tests.integration.cluster_guards import ban, banned, nodes_of, start_all
from tests.integration.http_client import Load, Question, ask, ask_once
from tests.integration.keyserver import ok
from tests.integration.programs import LOOPBACK, own_bytes, until
from tests.integration.redis_servers import PASSWORD, acl_line, relay, sentinel, server
from tests.integration.store_failures import (
    demote,
    evict,
    fill,
    hang,
    kill_and_restart_empty,
    slow_down,
    take_the_user,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from tests.integration.conftest import Need, StartKeyserver
    from tests.integration.guard import Guard


BURST = 60
SETTINGS = {
    "CLUSTER__TIMEOUT": "250ms",  # a busy machine is late, and that is no outage
    "LIMITS__CERT__BURST": str(BURST),
    "LIMITS__CERT__COUNT": "1",
    "LIMITS__CERT__PERIOD": "10m",  # so hardly a token comes back while a test runs
    "LIMITS__CERT__MAX_DELAY": "0s",
}
CERT = Question(f"/pks/lookup?op=get&options=mr&search=0x{40 * '1'}")
NODES = 4
PER_SECOND = 50
GAP_SECONDS = 0.5  # from one exchange to the next, and until the first request is read, on a busy machine
LOADER = "127.0.0.9"  # asks all the time, and has nothing left
PATIENCE_SECONDS = 20.0
SLOW_SECONDS = 0.5
BANNED = "198.51.100.3"
MOST_GROWTH_BYTES = 5 << 20
OUT, IN = "the store is out of reach, this node goes on alone", "the store is connected"


@asynccontextmanager
async def asking(guards: Sequence[Guard], client: str) -> AsyncIterator[list[Load]]:
    """Have a client ask guards as fast as they answer, over one connection to each and over many; none may fail."""
    loads = [Load(each.port, CERT, client) for each in guards]
    for load in loads:
        load.keep_alive(1)
        load.one_each(1)
    try:
        yield loads
    finally:
        for load in loads:
            await load.stop()
    for load in loads:
        assert (load.broken, load.refused) == ([], [])
        assert load.statuses.keys() <= {200, 429}


async def at_once(guards: Sequence[Guard], client: str) -> int:
    """Let a client ask each guard for twice what it may have; return how many requests were let through."""
    async with asking(guards, client) as loads:
        await asyncio.gather(*(each.more(2 * BURST) for each in loads))
    return sum(each.statuses.get(200, 0) for each in loads)


async def in_turn(guards: Sequence[Guard], client: str, rounds: int) -> int:
    """Let a client ask one guard after the other, `PER_SECOND` times; return how many requests were let through."""
    statuses = []
    for number in range(rounds * len(guards)):
        statuses.append((await ask_once(guards[number % len(guards)].port, CERT, client)).status)
        await asyncio.sleep(1 / PER_SECOND)
    assert {*statuses} <= {200, 429}
    return statuses.count(200)


async def check_told(guards: Sequence[Guard], client: str) -> None:
    """Check that guards tell each other what a client spent while they were alone, which is all that it may have."""
    assert await in_turn(guards, client, BURST // len(guards)) <= PER_SECOND * GAP_SECONDS


async def await_shares(guards: Sequence[Guard], *shares: int) -> None:
    """Wait until guards, and their workers, divide limits so; `LOADER` asks them."""
    divided = lambda: [each.metric("cluster_share") for each in guards] == [*shares]  # noqa: E731
    await asyncio.to_thread(until, divided, f"limits are divided by {shares}", PATIENCE_SECONDS)
    assert [each.metric("store_partitioned") for each in guards] == [share > 1 for share in shares]
    assert all(each.readyz().status == 200 for each in guards)
    known = lambda: [quota(each) for each in guards] == [BURST // share for share in shares]  # noqa: E731
    await asyncio.to_thread(until, known, "workers know it", PATIENCE_SECONDS)


def quota(guard: Guard) -> int:
    """Return the burst by which a worker refuses `LOADER`, as it tells it; 0 if it lets it through."""
    told = ask(guard.port, CERT, LOADER).fields.get("ratelimit-policy", "")
    return int(told.partition(";q=")[2].partition(";")[0] or 0)


async def await_all(what: Callable[[Guard], bool], guards: Sequence[Guard], name: str) -> None:
    """Wait until something holds on all guards."""
    await asyncio.to_thread(until, lambda: all(map(what, guards)), name, PATIENCE_SECONDS)


async def test_packets_are_dropped(
    need: Need, stack: ExitStack, start_keyserver: StartKeyserver, tmp_path: Path
) -> None:
    """Two of four guards lose Redis, then all, then none: the stated bounds hold, and no request fails meanwhile."""
    upstream = start_keyserver(ok)
    far = stack.enter_context(far_server(need("redis-server"), need("nft"), tmp_path / "redis"))
    urls = [f"redis://{each}:{far.port}" for each in ADDRESSES]
    guards = await asyncio.to_thread(start_all, stack, tmp_path, [upstream.url] * NODES, urls, **SETTINGS)
    here, away = guards[::2], guards[1::2]
    async with asking(guards, LOADER):
        far.drop(ADDRESSES[1])
        await await_shares(guards, 1, NODES, 1, NODES)
        assert await at_once(away, "127.0.0.2") == BURST * len(away) / NODES
        whole = BURST * (KEPT + 1) / KEPT + PER_SECOND * GAP_SECONDS
        assert BURST <= await in_turn(here, "127.0.0.2", BURST) <= whole
        ban(here[0], "198.51.100.1")
        ban(away[0], "198.51.100.2")
        await await_all(lambda each: banned(each, "198.51.100.1"), here, "those who can hear it ban")

        memory = [own_bytes(each.pid("analyst")) for each in guards]
        await await_all(lambda each: nodes_of(each) == 2, here, "those who are there count themselves")
        far.drop(*ADDRESSES)
        await await_shares(guards, 2, NODES, 2, NODES)
        assert await at_once(guards, "127.0.0.4") == BURST + BURST * len(away) / NODES
        assert [banned(each, "198.51.100.1") for each in guards] == [True, False, True, False]

        far.drop()
        await await_shares(guards, *[1] * NODES)
        await check_told(guards, "127.0.0.4")
        for address in ("198.51.100.1", "198.51.100.2"):
            await await_all(
                lambda each, address=address: banned(each, address), guards, f"{address} is banned everywhere"
            )
    for each, before in zip(guards, memory, strict=True):
        assert own_bytes(each.pid("analyst")) - before < MOST_GROWTH_BYTES
        told = [line["event"] for line in each.messages() if line["event"] in {OUT, IN}]
        assert told == [IN, OUT, IN]


async def test_whatever_fails(need: Need, stack: ExitStack, start_keyserver: StartKeyserver, tmp_path: Path) -> None:
    """Killed and empty again, hanging, full, a replica, without our user, slow: guards serve, and have their shares."""
    users = tmp_path / "users.acl"
    users.write_text(f"user default on nopass ~* &* +@all\n{acl_line()}\n")
    one = stack.enter_context(server(need("redis-server"), tmp_path / "redis", "--aclfile", str(users)))
    way = stack.enter_context(relay(one.port))
    upstream, url = start_keyserver(ok), f"redis://hkpguard:{PASSWORD}@{LOOPBACK}:{way.port}"
    guards = await asyncio.to_thread(start_all, stack, tmp_path, [upstream.url] * NODES, [url], **SETTINGS)
    ban(guards[0], BANNED)
    await await_all(lambda each: banned(each, BANNED), guards, "all ban")
    of_server = (kill_and_restart_empty, hang, fill, demote, take_the_user)
    failures = [*(partial(each, one) for each in of_server), partial(slow_down, way, SLOW_SECONDS)]
    async with asking(guards, LOADER):
        for number, fail in enumerate(failures):
            client = f"127.0.1.{number + 1}"
            mend = await asyncio.to_thread(fail)
            await await_shares(guards, *[NODES] * NODES)
            assert await at_once(guards, client) == BURST
            await asyncio.to_thread(mend)
            await await_shares(guards, *[1] * NODES)
            await check_told(guards, client)
        evict(one)
        await in_turn(guards, client, 3)
    assert [each.metric("store_partitioned") for each in guards] == [0] * NODES
    assert all(banned(each, BANNED) for each in guards)
    for each in guards:
        assert each.readyz().status == 200
        assert PASSWORD not in each.program.err()


async def test_a_failover(need: Need, stack: ExitStack, start_keyserver: StartKeyserver, tmp_path: Path) -> None:
    """The master is killed under load: guards go on with shares, and with the new master; what they know stays."""
    program, upstream = need("redis-server"), start_keyserver(ok)
    first = stack.enter_context(server(program, tmp_path / "one"))
    replica = ("--replicaof", f"{LOOPBACK} {first.port}", "--repl-diskless-sync-delay", "0")
    second = stack.enter_context(server(program, tmp_path / "two", *replica))
    watcher = stack.enter_context(sentinel(program, tmp_path / "sentinel", first))
    await asyncio.to_thread(until, lambda: b"slaves=1" in watcher.ask("INFO", "sentinel"), "the replica is known", 30)
    url = f"redis+sentinel://{LOOPBACK}:{watcher.port}/main"
    guards = await asyncio.to_thread(start_all, stack, tmp_path, [upstream.url] * 2, [url], **SETTINGS)
    ban(guards[0], "198.51.100.1")
    await await_all(lambda each: banned(each, "198.51.100.1"), guards, "both ban")
    async with asking(guards, LOADER):
        first.kill()
        await await_shares(guards, 2, 2)
        ban(guards[1], "198.51.100.2")
        assert await at_once(guards, "127.0.0.2") == BURST
        await await_shares(guards, 1, 1)
        assert b"role:master" in second.ask("INFO", "replication")
        await check_told(guards, "127.0.0.2")
        await await_all(lambda each: banned(each, "198.51.100.2"), guards, "both know what was banned meanwhile")
        assert all(banned(each, "198.51.100.1") for each in guards)
