"""Two guards on a Redis Cluster of three masters: what one learns the other knows, also while slots move.

And where the masters serve nobody: each goes on alone.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

import pytest

from proxy.cluster.circuit import Cause
from proxy.cluster.ledger import KEPT
from tests.certs_for_tests import armored, certificate, key
from tests.integration.cluster_guards import ban, banned, start_all
from tests.integration.http_client import Load, Question, ask, ask_once
from tests.integration.keyserver import Answer, Gate, keyserver
from tests.integration.programs import LOOPBACK, run, until
from tests.integration.redis_servers import CLUSTER_COMMANDS, PASSWORD, Server, acl_line, cluster
from tests.integration.store_failures import lose_slots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Need
    from tests.integration.guard import Guard
    from tests.integration.keyserver import Asked, Keyserver


BURST = 60
CERT = key(0)
FAT, LARGE = "F" * 40, Answer(body=bytes(1_000_000))
NETWORK, EACH, ALIKE = "127.0.7", 90, 20  # how many certificates a network asks each guard for; so many of them both
SKETCHES_SECONDS = 30.0  # they are told each ten seconds
GAP_SECONDS = 0.5
MANY = 200
DEADLINE_SECONDS = 0.1  # of the store


class Pair(NamedTuple):
    """Two guards, their keyservers, and the store that they share."""

    one: Guard
    other: Guard
    servers: tuple[Keyserver, Keyserver]
    masters: list[Server]
    gate: Gate

    @property
    def both(self) -> tuple[Guard, Guard]:
        """Both guards."""
        return self.one, self.other


def get(fingerprint: str) -> Question:
    """Return the question for a certificate."""
    return Question(f"/pks/lookup?op=get&options=mr&search=0x{fingerprint}")


@pytest.fixture(scope="module")
def pair(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run all of it; a network has asked both guards for many certificates, some of them the same."""
    folder, gate = tmp_path_factory.mktemp("sharded"), Gate(LARGE)
    users = folder / "users.acl"
    users.write_text(f"user default on nopass ~* &* +@all\n{acl_line()} {CLUSTER_COMMANDS}\n")

    async def respond(asked: Asked) -> Answer:
        return LARGE if FAT in asked.target else Answer()

    async def respond_late(asked: Asked) -> Answer:
        return await gate.respond(asked) if FAT in asked.target else Answer()

    with ExitStack() as stack:
        masters = stack.enter_context(cluster(need("redis-server"), need("redis-cli"), folder, "--aclfile", str(users)))
        places = ",".join(f"{LOOPBACK}:{each.port}" for each in masters[:2])
        servers = stack.enter_context(keyserver(respond)), stack.enter_context(keyserver(respond_late))
        one, other = start_all(
            stack,
            folder,
            [each.url for each in servers],
            [f"redis+cluster://hkpguard:{PASSWORD}@{places}"],
            CLUSTER__TIMEOUT="250ms",  # a busy machine is late, and that is no outage
            CACHE__MODE="on",
            LIMITS__CERT__BURST=str(BURST),
            LIMITS__CERT__COUNT="1",
            LIMITS__CERT__PERIOD="1s",
            LIMITS__CERT__MAX_DELAY="0s",
        )
        for guard, first in ((one, 0), (other, EACH - ALIKE)):
            for number in range(first, first + EACH):
                assert ask(guard.port, get(f"{number:040X}"), f"{NETWORK}.{2 + number % 5}").status == 200
        yield Pair(one, other, servers, masters, gate)
        assert all(each.ask("ACL", "LOG") == [] for each in masters)


def test_what_is_dear_on_one_is_dear_on_the_other(pair: Pair) -> None:
    """A client pays before it is answered for a large certificate that only the other guard has seen."""
    assert ask(pair.one.port, get(FAT), "127.0.1.1").status == 200
    until(lambda: pair.other.metric('gossip_known{topic="subject"}'), "the other has heard of it")
    client = "127.0.1.2"
    full = pair.other.remaining(client, "total")

    async def ask_and_look() -> int:
        asking = asyncio.create_task(ask_once(pair.other.port, get(FAT), client))
        await asyncio.to_thread(until, lambda: pair.servers[1].in_flight, "it is asked for")
        left = await asyncio.to_thread(pair.other.remaining, client, "total")
        pair.gate.open()
        assert (await asking).status == 200
        return left

    assert full - asyncio.run(ask_and_look()) >= 5  # and not one


def test_an_upload_to_one_ends_what_the_other_keeps(pair: Pair) -> None:
    """What a guard keeps of a certificate is not served any more when somebody has changed it through another one."""
    question, seen = get(CERT.name), pair.servers[1].log
    asked = lambda: sum(CERT.name in each.asked.target for each in seen)  # noqa: E731
    for _ in range(5):
        assert ask(pair.other.port, question, "127.0.2.1").status == 200
    assert asked() == 1
    body = urlencode({"keytext": armored(certificate(0)).decode()}).encode()
    fields = ("Content-Type: application/x-www-form-urlencoded",)
    uploaded = ask(pair.one.port, Question("/pks/add", method="POST", fields=fields, body=body), "127.0.2.2")
    assert uploaded.status == 200
    until(
        lambda: ask(pair.other.port, question, "127.0.2.3").status == 200 and asked() == 2, "it is asked for again", 3
    )


def test_networks_are_counted_over_both(pair: Pair) -> None:
    """Either guard tells how many certificates a network has asked both for; what it asked both for counts once."""
    expected = 2 * EACH - ALIKE

    def told(guard: Guard) -> float:
        return max(float(each.get("distinct", 0)) for each in guard.client(f"{NETWORK}.2")["network"]["budgets"])

    for guard in pair.both:
        until(lambda guard=guard: told(guard) > 1.2 * EACH, "it knows what the other was asked for", SKETCHES_SECONDS)
        assert told(guard) == pytest.approx(expected, rel=0.15)


async def test_slots_move_under_load(pair: Pair, need: Need) -> None:
    """Meanwhile no request fails, a client has one limit, a ban binds on both, and no node loses the store."""
    client, began = "127.0.3.1", time.monotonic()
    connected = [times_connected(each) for each in pair.both]
    loads = [Load(each.port, get("A" * 40), client) for each in pair.both]
    for load in loads:
        load.one_each(1)
    moving = asyncio.to_thread(
        run,
        *(need("redis-cli"), "--cluster", "reshard", f"{LOOPBACK}:{pair.masters[0].port}"),
        *("--cluster-from", pair.masters[0].ask("CLUSTER", "MYID").decode()),
        *("--cluster-to", pair.masters[1].ask("CLUSTER", "MYID").decode()),
        *("--cluster-slots", "1000", "--cluster-yes"),
        seconds=60,
    )
    moved = asyncio.create_task(moving)
    await asyncio.sleep(0.5)
    ban(pair.one, "198.51.100.7")
    await asyncio.to_thread(until, lambda: banned(pair.other, "198.51.100.7"), "it is banned on both")
    assert (await moved).returncode == 0
    for load in loads:
        await load.stop()
        assert (load.broken, load.refused) == ([], [])
        assert load.statuses.keys() <= {200, 429}
    admitted = sum(load.statuses[200] for load in loads)
    rate_time = time.monotonic() - began
    assert BURST <= admitted <= (BURST + rate_time) * (KEPT + 1) / KEPT + 2 * (BURST + GAP_SECONDS)
    assert [guard.metric("store_partitioned") for guard in pair.both] == [0, 0]
    assert [times_connected(each) for each in pair.both] == connected


def times_connected(guard: Guard) -> int:
    """Return how often a guard has said that it has its store."""
    return [each["event"] for each in guard.messages()].count("the store is connected")


async def test_the_cluster_is_down_under_load(pair: Pair) -> None:
    """Meanwhile no request fails or waits for it, and a ban binds where it was made; on both when it is over."""
    client, address = "127.0.3.2", "198.51.100.8"
    loads = [Load(each.port, get("B" * 40), client) for each in pair.both]
    for load in loads:
        load.keep_alive(1)
        load.one_each(1)
    mend = await asyncio.to_thread(lose_slots, pair.masters)
    for guard in pair.both:
        await asyncio.to_thread(guard.await_metric, "store_partitioned", 1)
        assert Cause.CLUSTER_DOWN.value in guard.readyz().text
    ban(pair.one, address)
    assert banned(pair.one, address)
    async with asyncio.timeout(MANY * DEADLINE_SECONDS / 2):  # which it would take if each waited for the store
        await asyncio.gather(*(each.more(MANY) for each in loads))
    assert not banned(pair.other, address)
    await asyncio.to_thread(mend)
    for guard in pair.both:
        await asyncio.to_thread(guard.await_metric, "store_partitioned", 0)
    await asyncio.to_thread(until, lambda: banned(pair.other, address), "it is banned on both")
    for load in loads:
        await load.stop()
        assert (load.broken, load.refused) == ([], [])
        assert load.statuses.keys() <= {200, 429}
    assert all(each.readyz().status == 200 for each in pair.both)
