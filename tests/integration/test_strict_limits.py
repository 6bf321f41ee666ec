"""Strict classes: four guards and a real Redis, which is asked before an upload goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from contextlib import ExitStack
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from proxy.cluster.command import Command
from proxy.cluster.exchange import CALLS_KEPT_MS
from proxy.cluster.grants import GRANT
from proxy.cluster.ledger import MOST_MARK
from tests.integration.black_hole import ADDRESSES, far_server
from tests.integration.http_client import Connection, Question, ask_once
from tests.integration.keyserver import ok
from tests.integration.programs import LOOPBACK, until
from tests.integration.redis_servers import ON_REDIS, SECRET, Server, server
from tests.integration.store_failures import hang, kill_and_restart_empty
from tests.proxy.cluster.simulation import ScriptedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.conftest import Need, StartGuard, StartKeyserver
    from tests.integration.guard import Guard


SECOND_US = 10**6
NODES = 4
BURST = 20
CONNECTIONS = 4  # of a client to each node
DEADLINE_SECONDS = 0.05
SLACK_SECONDS = 1.0  # of a busy machine
UPLOAD = Question("/pks/add", ("Content-Type: application/pgp-keys",), "POST", body=b"a certificate")
SETTINGS = {
    "WORKERS": "2",
    "CLUSTER__SECRET": SECRET,
    "UPLOADS__MODE": "off",  # what is in them is of other tests
    "BANS__MODE": "off",
    "LIMITS__TOTAL__MODE": "off",
    "LIMITS__UPLOAD__BURST": str(BURST),
    "LIMITS__UPLOAD__COUNT": "1",
    "LIMITS__UPLOAD__PERIOD": "1h",  # hardly a token comes back while a test runs
    "LIMITS__UPLOAD__MAX_DELAY": "0s",
    "LIMITS__UPLOAD__CONCURRENT": "0",
    "LIMITS__UPLOAD__CONCURRENT_TOTAL": "0",
}
STRICT = {"CLUSTER__STRICT": "upload", "CLUSTER__STRICT_DEADLINE": f"{DEADLINE_SECONDS * 1000:.0f}ms"}
PATIENT = STRICT | {"CLUSTER__STRICT_DEADLINE": "1s", "CLUSTER__TIMEOUT": "1s"}  # of a busy machine nothing is said


@pytest.fixture
def redis(store_program: str, tmp_path: Path) -> Iterator[Server]:
    """Return a server."""
    with server(store_program, tmp_path / "redis") as started:
        yield started


class Failing(NamedTuple):
    """A store, and what takes it away; that returns what gives it back."""

    url: str
    fail: Callable[[], Callable[[], object]]


@pytest.fixture(params=["killed", "hangs", "packets are dropped"])
def failing(request: pytest.FixtureRequest, need: Need, tmp_path: Path) -> Iterator[Failing]:
    """Return a server for each way to fail."""
    if request.param == "packets are dropped":
        with far_server(need("redis-server"), need("nft"), tmp_path / "redis") as far:
            yield Failing(f"redis://{ADDRESSES[0]}:{far.port}", lambda: far.drop(*ADDRESSES))
        return
    fail = kill_and_restart_empty if request.param == "killed" else hang
    with server(need("redis-server"), tmp_path / "redis") as near:
        yield Failing(url_of(near), lambda: fail(near))


def url_of(redis: Server) -> str:
    """Return where a server is."""
    return f"redis://{LOOPBACK}:{redis.port}"


def start_nodes(start_guard: StartGuard, upstream: str, url: str, **settings: str) -> list[Guard]:
    """Return guards that know each other."""
    guards = [start_guard(upstream, REDIS_URL=url, **SETTINGS | settings) for _ in range(NODES)]
    knows = lambda each: f'"nodes": {NODES}' in each.admin("/api/v1/cluster")[1]  # noqa: E731
    until(lambda: all(map(knows, guards)), "all know each other", 20)
    return guards


async def flood(guards: list[Guard], client: str, seconds: float) -> dict[int, int]:
    """Upload through all nodes at once, as fast as they answer; return the answers by their status."""
    answers: dict[int, int] = {}
    end = time.monotonic() + seconds

    async def upload(port: int) -> None:
        connection = await Connection.connect(port, client)
        while time.monotonic() < end:
            status = (await connection.ask(UPLOAD)).status
            answers[status] = answers.get(status, 0) + 1
            if not connection.open:
                await connection.close()
                connection = await Connection.connect(port, client)
        await connection.close()

    await asyncio.gather(*(upload(each.port) for each in guards for _ in range(CONNECTIONS)))
    return answers


def claims(guards: list[Guard], result: str) -> float:
    """Return how many claims came to that."""
    return sum(each.metric(f'cluster_claims_total{{result="{result}"}}') for each in guards)


@ON_REDIS
async def test_without_strict_each_node_lets_a_burst_through(
    start_guard: StartGuard, start_keyserver: StartKeyserver, redis: Server
) -> None:
    """A client that comes to all nodes at the same time gets more than its limit: what strict classes are for."""
    keyserver = start_keyserver(ok)
    guards = await asyncio.to_thread(start_nodes, start_guard, keyserver.url, url_of(redis))
    answers = await flood(guards, "127.0.0.2", 1.0)
    assert BURST < answers[200] <= NODES * BURST + BURST // 8 + 1
    assert claims(guards, "granted") == 0


async def test_strict_is_one_limit_to_the_last_token(
    start_guard: StartGuard, start_keyserver: StartKeyserver, redis: Server
) -> None:
    """All nodes together let exactly the burst of each client through; who is refused hears it as from one node."""
    keyserver = start_keyserver(ok)
    guards = await asyncio.to_thread(start_nodes, start_guard, keyserver.url, url_of(redis), **PATIENT)
    clients = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
    floods = await asyncio.gather(*(flood(guards, client, 2.0) for client in clients))
    fallen_back = sum(claims(guards, result) for result in ("late", "down", "gone", "crowded"))
    assert [answers[200] for answers in floods] == [BURST] * len(clients), fallen_back
    assert set(floods[0]) == {200, 429}
    assert len(keyserver.log) == claims(guards, "granted") == BURST * len(clients)
    refused = await ask_once(guards[0].port, UPLOAD, clients[0])
    assert refused.status == 429
    assert 3000 < int(refused.fields["retry-after"]) <= 3600
    assert '"upload"' in refused.fields["ratelimit"]


@ON_REDIS
async def test_what_was_granted_is_not_told_again(
    start_guard: StartGuard, start_keyserver: StartKeyserver, redis: Server
) -> None:
    """After a while of exchanges all nodes know what was spent, and count it once: the rest is there, and no more."""
    keyserver = start_keyserver(ok)
    guards = await asyncio.to_thread(start_nodes, start_guard, keyserver.url, url_of(redis), **PATIENT)
    spent = [(await ask_once(guards[number % 2].port, UPLOAD, "127.0.0.2")).status for number in range(12)]
    assert spent == [200] * 12
    await asyncio.sleep(1.0)
    rest = [(await ask_once(guards[number % NODES].port, UPLOAD, "127.0.0.2")).status for number in range(12)]
    assert rest == [200] * 8 + [429] * 4
    until(lambda: [each.remaining("127.0.0.2", "upload") for each in guards] == [0] * NODES, "all know it")


@ON_REDIS
async def test_strict_mails(start_guard: StartGuard, start_keyserver: StartKeyserver, redis: Server) -> None:
    """Requests for mails, one to each node and the next before anybody can have told the others, are one limit too."""
    keyserver = start_keyserver(ok)
    mails = {"CLUSTER__STRICT": "mail", "LIMITS__MAIL__BURST": "3", "LIMITS__MAIL__COUNT": "1"}
    guards = await asyncio.to_thread(start_nodes, start_guard, keyserver.url, url_of(redis), **PATIENT | mails)
    asked = [(await ask_once(guards[number % NODES].port, mail(number), "127.0.0.2")).status for number in range(8)]
    assert asked == [200] * 3 + [429] * 5


def mail(number: int) -> Question:
    """Return a request for a mail to an address."""
    body = f'{{"token": "x", "addresses": ["{number}@example.org"]}}'.encode()
    return Question("/vks/v1/request-verify", ("Content-Type: application/json",), "POST", body=body)


async def test_redis_fails(start_guard: StartGuard, start_keyserver: StartKeyserver, failing: Failing) -> None:
    """No upload fails or waits for longer than the deadline; soon none waits; when Redis is back it is asked again."""
    keyserver = start_keyserver(ok)
    ample = STRICT | {"LIMITS__UPLOAD__BURST": "1000"}
    guards = await asyncio.to_thread(start_nodes, start_guard, keyserver.url, failing.url, **ample)
    assert (await ask_once(guards[0].port, UPLOAD, "127.0.0.2")).status == 200
    with ExitStack() as mending:
        mending.callback(failing.fail())
        took = [await timed(guards[0], "127.0.0.2") for _ in range(40)]
        assert max(took) < DEADLINE_SECONDS + SLACK_SECONDS
        until(lambda: guards[0].metric("store_partitioned") == 1, "the store is out of reach")
        late, down = claims(guards[:1], "late"), claims(guards[:1], "down")
        took = [await timed(guards[0], "127.0.0.2") for _ in range(20)]
        assert statistics.median(took) < DEADLINE_SECONDS
        assert (claims(guards[:1], "late"), claims(guards[:1], "down")) == (late, down + 20)
    until(lambda: guards[0].metric("store_partitioned") == 0, "the store is back", 20)
    until(lambda: guards[0].metric("cluster_share") == 1, "limits are whole")
    await until_granted(guards[0])


async def timed(node: Guard, client: str) -> float:
    """Upload once, which succeeds; return how long it took."""
    began = time.monotonic()
    assert (await ask_once(node.port, UPLOAD, client)).status == 200
    return time.monotonic() - began


@ON_REDIS
@pytest.mark.parametrize("child", ["analyst", "worker-0"])
async def test_either_side_is_replaced(
    start_guard: StartGuard, start_keyserver: StartKeyserver, redis: Server, child: str
) -> None:
    """While there is no analyst uploads go on without; a new one, or a new worker, works over the same socket."""
    keyserver = start_keyserver(ok)
    own = SETTINGS | STRICT | {"WORKERS": "1", "LIMITS__UPLOAD__BURST": "1000"}
    one = await asyncio.to_thread(start_guard, keyserver.url, REDIS_URL=url_of(redis), **own)
    await until_granted(one)
    before = one.pid(child)
    os.kill(before, signal.SIGKILL)
    until(lambda: one.pid(child) != before, "it is replaced")
    took = [await timed(one, "127.0.0.2") for _ in range(10)]
    assert max(took) < DEADLINE_SECONDS + SLACK_SECONDS
    until(lambda: one.readyz().status == 200, "the analyst is there")
    await until_granted(one)


async def until_granted(node: Guard) -> None:
    """Upload until the cluster grants some."""
    granted = claims([node], "granted")
    async with asyncio.timeout(10):
        while claims([node], "granted") < granted + 3:
            await timed(node, "127.0.0.2")


def test_the_script_does_what_the_simulation_takes_it_to_do(redis: Server) -> None:
    """Of buckets known or not, with grants and without, and asked again: it is as the specification says."""
    random, twin = Random(7), ScriptedStore()  # noqa: S311 - the same each time
    command = Command(GRANT)
    for number in range(1, 300):
        names = random.sample([b"a", b"b", b"c"], random.choice([1, 2]))
        arguments = [number, CALLS_KEPT_MS, int(random.random() < 0.3)]
        for _ in names:
            arguments += [random.choice([0, 5, -10]) * SECOND_US, 0, 90 * SECOND_US, 0]
        for _ in range(random.choice([0, 1, 3])):
            arguments += [random.choice([1, len(names)]), random.choice([0, 5, 20]) * SECOND_US, 60 * SECOND_US]
        if number == 1 or random.random() < 0.8:
            command = Command(GRANT, (b"n", *names), tuple(arguments))
        asked: tuple[Any, ...] = (len(command.keys), *command.keys, *command.args)
        found = redis.ask("EVAL", GRANT.source, *asked)
        expected = twin.run(command, time.time_ns() // 1_000)
        for at in range(2, 2 * len(command.keys), 2):
            found[at] = expected[at] = 0  # a mark
        assert found == pytest.approx(expected, abs=SECOND_US // 2)
        if random.random() < 0.05:
            redis.ask("FLUSHALL")
            twin.lose()


@pytest.mark.parametrize(
    "planted", ["nan", "-inf", "1e999", "x", "", "0x1F", "9" * 400, "5 1", "5 01", "5 111", "6 1", "5 0 7"]
)
def test_what_others_write_is_bounded(redis: Server, planted: str) -> None:
    """Whatever stands in the database, the script answers with what can be, and leaves nothing for ever."""
    for name in ("n", "a"):
        redis.ask("FLUSHALL")
        redis.ask("SET", name, planted)
        numbers = (5, CALLS_KEPT_MS, 1, 0, 0, 90 * SECOND_US, 7, 1, SECOND_US, 60 * SECOND_US)
        known, level, mark, answer = redis.ask("EVAL", GRANT.source, 2, "n", "a", *numbers)
        assert known in {0, 1}
        assert 1 <= mark <= MOST_MARK
        assert 0 <= level <= 91 * SECOND_US
        assert -91 * SECOND_US <= answer <= 60 * SECOND_US
        assert -2 <= redis.ask("PTTL", "a") <= 92_000
    redis.ask("DEL", "n", "a")
    redis.ask("RPUSH", "a", "1")
    assert redis.ask("EVAL", GRANT.source, 2, "n", "a", *numbers)[1::2] == [SECOND_US, 0]
