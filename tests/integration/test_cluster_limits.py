"""Limits across nodes: the script on a real server, and four guards in front of one keyserver."""

from __future__ import annotations

import asyncio
import struct
import time
from math import inf, nan
from random import Random
from typing import TYPE_CHECKING

import pytest

from proxy.cluster.command import Command
from proxy.cluster.exchange import CALLS_KEPT_MS, LEVELS
from proxy.cluster.ledger import KEPT, MOST_MARK
from tests.certs_for_tests import armored, form, key, packet, user_id
from tests.integration.cluster_guards import await_joined
from tests.integration.http_client import Connection, Question, ask_once
from tests.integration.keyserver import ok
from tests.integration.programs import LOOPBACK, until
from tests.integration.redis_servers import ON_REDIS, SECRET, Server, server
from tests.proxy.cluster.simulation import ScriptedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.conftest import StartGuard, StartKeyserver
    from tests.integration.guard import Guard


SECOND_US = 10**6
SLACK_US = SECOND_US // 2  # between our clock and Redis's, on a busy machine
NODES = 4
BURST = 60
TOKEN_SECONDS = 1.0
CLIENT = "127.0.0.2"
CERT = Question(f"/pks/lookup?op=get&options=mr&search=0x{40 * '1'}")
UPLOADS = 4  # connections of the client to each node
GAP_SECONDS = 0.1 + 0.25  # records are read each 0.1 s; an exchange each 20 ms, on two cores that are shared by all


@pytest.fixture
def redis(store_program: str, tmp_path: Path) -> Iterator[Server]:
    """Return a server."""
    with server(store_program, tmp_path / "redis") as started:
        yield started


Row = tuple[bytes, int, int, int, int]  # name, told, base, most, mark
MOST_US = 90 * SECOND_US


def call(number: int, *rows: Row, node: bytes = b"n", retry: bool = False) -> Command:
    """Return a call of the script."""
    arguments = [argument for _, *numbers in rows for argument in numbers]
    return Command(LEVELS, (node, *(name for name, *_ in rows)), (number, CALLS_KEPT_MS, int(retry), *arguments))


def run(redis: Server, command: Command) -> list[int]:
    """Run a call on a server."""
    answer: list[int] = redis.ask("EVAL", LEVELS.source, len(command.keys), *command.keys, *command.args)  # type: ignore[arg-type]
    return answer


def test_the_script_does_what_the_simulation_takes_it_to_do(redis: Server) -> None:
    """Told once or again, by several nodes, of buckets known or not: the levels are those of the specification."""
    random, twin = Random(5), ScriptedStore()  # noqa: S311 - the same each time
    numbers = {b"n": 1, b"m": 1}
    marks: dict[bytes, tuple[int, int]] = {}  # what each of the two has said

    def lose(*names: bytes) -> None:
        for name in names:
            redis.ask("DEL", name.decode())
            twin.records.pop(name, None)
            twin.calls.pop(name, None)

    def rows(name: bytes) -> tuple[Row, Row]:
        if name in twin.records and twin.records[name].full < time.time_ns() // 1_000 + SECOND_US:
            lose(name)  # so that it ends for both
        told, base = random.choice([0, 5, 20, -10]) * SECOND_US, random.choice([-3, 0, 7]) * SECOND_US
        known = random.choice([(0, 0), marks.get(name, (0, 0)), (5, 5)])
        return (name, told, base, MOST_US, known[0]), (name, told, base, MOST_US, known[1])

    for _ in range(400):
        node, retry = random.choice(list(numbers)), random.random() < 0.5
        numbers[node] = max(1, numbers[node] + random.choice([1, 1, 0, -1]))
        names = random.sample([b"a", b"b", b"c"], 2)
        ours, twins = zip(*map(rows, names), strict=True)
        found = run(redis, call(numbers[node], *ours, node=node, retry=retry))
        expected = twin.run(call(numbers[node], *twins, node=node, retry=retry), time.time_ns() // 1_000)
        assert found[0] == expected[0]
        assert found[1::2] == pytest.approx(expected[1::2], abs=SLACK_US)
        marks |= dict(zip(names, zip(found[2::2], expected[2::2], strict=True), strict=True))
        if random.random() < 0.1:
            lose(*random.choice([(b"a",), (b"n",), (b"a", b"b", b"c", b"n", b"m")]))


@pytest.mark.parametrize("planted", ["nan", "-nan", "inf", "-inf", "1e999", "-5", "x", "", "0x1F", "9" * 400])
def test_what_others_write_is_bounded(redis: Server, planted: str) -> None:
    """Whatever stands in the database, a level is between nothing and the most that there can be, a mark is a mark."""
    redis.ask("SET", "n", planted + " 1")
    for number in (3, 4):
        known, level, _ = run(redis, call(number, (b"a", SECOND_US, 0, MOST_US, 0)))
        assert known in {0, 1}
        assert 0 <= level <= MOST_US
    redis.ask("DEL", "n")
    check_planted(redis, planted)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("planted", [nan, inf, -inf, -5.0, 0.0, 0.5, 1e308])
def test_what_others_write_as_a_record_is_bounded(redis: Server, planted: float, which: int) -> None:
    """Likewise what looks like a record: when the bucket is full, what it was told, its mark."""
    record = [time.time_ns() / 1e3, 0.0, 5.0]
    record[which] = planted
    check_planted(redis, struct.pack("<ddd", *record))


def check_planted(redis: Server, planted: str | bytes) -> None:
    """Check what becomes of a record that somebody else wrote."""
    redis.ask("SET", "a", planted)  # type: ignore[arg-type]
    for number, mark in ((1, 0), (2, 5)):
        _, level, born = run(redis, call(number, (b"a", SECOND_US, 0, MOST_US, mark)))
        assert SECOND_US - SLACK_US <= level <= MOST_US
        assert 1 <= born <= MOST_MARK
    assert 0 < redis.ask("PTTL", "a") <= 91_000


def test_keys_of_another_type(redis: Server) -> None:
    """A list where a level should be is replaced; the script does not fail half-way."""
    redis.ask("RPUSH", "a", "1")
    told = SECOND_US, 0, MOST_US, 0
    assert run(redis, call(1, (b"b", *told), (b"a", *told)))[1::2] == [SECOND_US, SECOND_US]
    assert redis.ask("TYPE", "a") == b"string"


def test_every_key_has_an_end(redis: Server) -> None:
    """Nothing stays in the database for longer than it is of use."""
    run(redis, call(1, (b"a", 3 * SECOND_US, 0, MOST_US, 0), (b"b", 0, 0, MOST_US, 0)))
    assert 2_000 < redis.ask("PTTL", "a") <= 3_001
    assert redis.ask("PTTL", "b") <= 1
    assert 0 < redis.ask("PTTL", "n") <= CALLS_KEPT_MS


def start_four(start_guard: StartGuard, upstream: str, redis: Server, **settings: str) -> list[Guard]:
    """Return four guards that know each other."""
    guards = [
        start_guard(
            upstream,
            WORKERS="1",
            REDIS_URL=f"redis://{LOOPBACK}:{redis.port}",
            CLUSTER__SECRET=SECRET,
            LIMITS__CERT__BURST=str(BURST),
            LIMITS__CERT__COUNT="1",
            LIMITS__CERT__PERIOD=f"{int(TOKEN_SECONDS)}s",
            LIMITS__CERT__MAX_DELAY="0s",
            **settings,
        )
        for _ in range(NODES)
    ]
    await_joined(guards)
    return guards


async def at_full_speed(guards: list[Guard], seconds: float, client: str = CLIENT) -> tuple[int, int]:
    """Ask all of them as fast as they answer; return how many requests were let through, and how many there were."""
    admitted = asked = 0
    end = time.monotonic() + seconds

    async def ask(port: int) -> None:
        nonlocal admitted, asked
        connection = await Connection.connect(port, client)
        while time.monotonic() < end:
            reply = await connection.ask(CERT)
            admitted += reply.status == 200
            asked += 1
            if not connection.open:
                connection = await Connection.connect(port, client)
        await connection.close()

    await asyncio.gather(*(ask(each.port) for each in guards for _ in range(UPLOADS)))
    return admitted, asked


async def test_one_client_at_full_speed_over_four_nodes(
    start_guard: StartGuard, start_keyserver: StartKeyserver, redis: Server
) -> None:
    """All nodes together let no more through than the formula says, and the client waits off what was too much."""
    server = start_keyserver(ok)
    guards = await asyncio.to_thread(start_four, start_guard, server.url, redis)
    began = time.monotonic()
    admitted, asked = await at_full_speed(guards, 4.0)
    took = time.monotonic() - began
    speed = asked / took / NODES
    while_open = min(BURST + GAP_SECONDS / TOKEN_SECONDS, speed * GAP_SECONDS)
    bound = (BURST + took / TOKEN_SECONDS) * (KEPT + 1) / KEPT + NODES * while_open
    assert BURST <= admitted <= bound
    assert len(server.log) == admitted
    left = [each.remaining(CLIENT, "cert") for each in guards]
    assert max(left) <= 2
    before = len(server.log)
    again, _ = await at_full_speed(guards, 3.0)
    assert again <= NODES + 3 / TOKEN_SECONDS * (KEPT + 1) / KEPT
    assert len(server.log) - before == again


@ON_REDIS
async def test_slow_over_four_nodes_is_one_limit(
    start_guard: StartGuard, start_keyserver: StartKeyserver, redis: Server
) -> None:
    """A client that takes its requests to all nodes in turn has one burst, give or take the eighth."""
    server = start_keyserver(ok)
    guards = await asyncio.to_thread(start_four, start_guard, server.url, redis)
    statuses, began = [], time.monotonic()
    for number in range(BURST + 40):
        statuses.append((await ask_once(guards[number % NODES].port, CERT, CLIENT)).status)
        await asyncio.sleep(0.05)
    took = time.monotonic() - began
    admitted = statuses.count(200)
    assert BURST <= admitted <= (BURST + took / TOKEN_SECONDS) * (KEPT + 1) / KEPT + NODES


@ON_REDIS
async def test_without_redis_all_nodes_together_have_one_limit(
    start_guard: StartGuard, start_keyserver: StartKeyserver, redis: Server
) -> None:
    """Each node goes on with its share when Redis is killed, with the whole when it is back; no request fails."""
    keyserver = start_keyserver(ok)
    guards = await asyncio.to_thread(start_four, start_guard, keyserver.url, redis)
    redis.kill()

    def shares(share: int) -> bool:
        return all(each.metric("cluster_share") == share for each in guards)

    await asyncio.to_thread(until, lambda: shares(NODES), "limits are divided")
    assert all(f"limits are divided by {NODES}" in each.readyz().text for each in guards)
    await asyncio.sleep(0.5)  # workers look each quarter of a second
    began = time.monotonic()
    admitted, _ = await at_full_speed(guards, 2.0, "127.0.0.3")
    assert BURST <= admitted <= BURST + (time.monotonic() - began) / TOKEN_SECONDS + NODES
    redis.start()
    await asyncio.to_thread(until, lambda: shares(1), "limits are whole", 20)
    await asyncio.sleep(0.5)
    statuses = [(await ask_once(guards[number % NODES].port, CERT, "127.0.0.3")).status for number in range(20)]
    assert set(statuses) <= {200, 429}
    assert statuses.count(200) <= NODES + 3 / TOKEN_SECONDS + BURST / KEPT + 15


def new_cert(number: int) -> Question:
    """Return the upload of another certificate with the same user ID."""
    data = packet(6, key(number).body) + user_id("Alice <alice@example.org>")
    fields = ("Content-Type: application/x-www-form-urlencoded",)
    return Question("/pks/add", method="POST", fields=fields, body=form(armored(data, summed=False)))


def mail(_number: int) -> Question:
    """Return a request for a mail to one address."""
    body = b'{"token": "x", "addresses": ["alice@example.org"]}'
    fields = ("Content-Type: application/json",)
    return Question("/vks/v1/request-verify", method="POST", fields=fields, body=body)


@ON_REDIS
@pytest.mark.parametrize(("question", "budget"), [(new_cert, "USER_ID"), (mail, "MAIL_ADDRESS")])
async def test_budgets_of_bodies_are_one_over_four_nodes(
    start_guard: StartGuard,
    start_keyserver: StartKeyserver,
    redis: Server,
    question: Callable[[int], Question],
    budget: str,
) -> None:
    """What is uploaded under one user ID, or mailed to one address, through one node counts on the others as well."""
    keyserver = start_keyserver(ok)
    settings = {f"BUDGETS__{budget}__BURST": "3", f"BUDGETS__{budget}__COUNT": "3", f"BUDGETS__{budget}__PERIOD": "1d"}
    guards = await asyncio.to_thread(start_four, start_guard, keyserver.url, redis, **settings)
    statuses = [(await ask_once(guards[0].port, question(number), CLIENT)).status for number in range(4)]
    assert statuses == [200, 200, 200, 429]
    await asyncio.sleep(GAP_SECONDS)
    for number, each in enumerate(guards[1:], 4):
        assert (await ask_once(each.port, question(number), "127.0.0.3")).status == 200  # nobody asked it before
    await asyncio.sleep(2 * GAP_SECONDS)
    again = [(await ask_once(each.port, question(9), "127.0.0.4")).status for each in guards]
    assert again == [429] * NODES
