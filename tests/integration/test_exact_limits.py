"""Limits over two workers: exact, whatever the number of connections; waiting places that are given back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.integration.http_client import Connection, Question, Reply, ask_once, connected
from tests.integration.keyserver import Gate, Keyserver, ok
from tests.integration.programs import accepted_from, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.integration.conftest import StartGuard, StartKeyserver
    from tests.integration.guard import Guard


BURST = 100
CONNECTIONS = 40
EACH = 5
CLIENT = "127.0.0.2"
WORDS = Question("/pks/lookup?op=index&options=mr&search=somebody")
CERT = Question(f"/pks/lookup?op=get&options=mr&search=0x{40 * '1'}")
MOST_AT_ONCE, MOST_OF_CLIENT, QUEUE_SECONDS = 8, 2, 2.0  # of word searches, by default


async def ask_all(port: int, question: Question, clients: list[str]) -> list[Reply]:
    """Ask from all clients at once, over a connection each."""
    return list(await asyncio.gather(*(ask_once(port, question, client) for client in clients)))


async def when(condition: Callable[[], object], what: str) -> None:
    """Wait, without holding up the clients."""
    await asyncio.to_thread(until, condition, what)


async def leave(connection: Connection, *, rudely: bool) -> None:
    """End a connection with a reset, or in order."""
    if rudely:
        connection.reset()
    await connection.close()


async def test_burst_is_exact_over_two_workers(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Of many requests at once over many connections just the burst is let through; the others learn when to come."""
    server = start_keyserver(ok)
    guarded = start_guard(
        server.url, LIMITS__CERT__BURST=str(BURST), LIMITS__CERT__PERIOD="1h", LIMITS__CERT__MAX_DELAY="0s"
    )
    connections = [await Connection.connect(guarded.port, CLIENT) for _ in range(CONNECTIONS)]

    async def ask_again(connection: Connection) -> list[Reply]:
        return [await connection.ask(CERT) for _ in range(EACH)]

    replies = [reply for some in await asyncio.gather(*map(ask_again, connections)) for reply in some]
    assert Counter(reply.status for reply in replies) == {200: BURST, 429: CONNECTIONS * EACH - BURST}
    assert len(server.log) == BURST
    per_worker = [len(accepted_from(guarded.pid(f"worker-{index}"), guarded.port)) for index in range(2)]
    assert all(per_worker)
    assert sum(per_worker) == CONNECTIONS
    refused = next(reply for reply in replies if reply.status == 429)
    assert 1 <= int(refused.fields["retry-after"]) <= 3600 / 5
    assert (await ask_once(guarded.port, CERT, "127.0.0.3")).status == 200  # another client has a bucket of its own
    for connection in connections:
        await connection.close()


async def test_word_searches_at_once_are_capped_in_total(
    start_guard: StartGuard, start_keyserver: StartKeyserver
) -> None:
    """The keyserver never works on more than eight; who finds no place is refused after two seconds, not before."""
    gate = Gate()
    server = start_keyserver(gate.respond)
    guarded = start_guard(server.url)
    clients = [f"127.0.1.{number}" for number in range(1, 21)]
    start = time.monotonic()
    asking = asyncio.create_task(ask_all(guarded.port, WORDS, clients))
    await when(lambda: server.in_flight == MOST_AT_ONCE, "eight are with the keyserver")
    refused = 'requests_total{action="limit",operation="words"}'
    await asyncio.to_thread(guarded.await_metric, refused, len(clients) - MOST_AT_ONCE)
    assert time.monotonic() - start >= QUEUE_SECONDS
    gate.open()
    assert Counter(reply.status for reply in await asking) == {200: 8, 429: 12}
    assert server.most_in_flight == MOST_AT_ONCE
    assert {reply.status for reply in await ask_all(guarded.port, WORDS, clients[:8])} == {200}


async def test_queued_word_searches_are_let_in(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Who waits in the queue is let in when places become free, in either worker."""
    gate = Gate()
    server = start_keyserver(gate.respond)
    guarded = start_guard(server.url)
    clients = [f"127.0.1.{number}" for number in range(1, 21)]
    asking = asyncio.create_task(ask_all(guarded.port, WORDS, clients))
    await when(lambda: server.in_flight == MOST_AT_ONCE, "eight are with the keyserver")
    gate.open()
    assert {reply.status for reply in await asking} == {200}
    assert server.most_in_flight == MOST_AT_ONCE


async def test_word_searches_of_one_client_are_capped(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """One client has two searches at once; another client finds places."""
    gate = Gate()
    server = start_keyserver(gate.respond)
    guarded = start_guard(server.url)
    asking = asyncio.create_task(ask_all(guarded.port, WORDS, [CLIENT] * 5))
    await when(lambda: server.in_flight == MOST_OF_CLIENT, "two are with the keyserver")
    other = asyncio.create_task(ask_once(guarded.port, WORDS, "127.0.0.3"))
    await when(lambda: server.in_flight == MOST_OF_CLIENT + 1, "the other client is served beside them")
    refused = 'requests_total{action="limit",operation="words"}'
    await asyncio.to_thread(guarded.await_metric, refused, 3)
    gate.open()
    assert Counter(reply.status for reply in await asking) == {200: 2, 429: 3}
    assert (await other).status == 200
    assert server.most_in_flight == MOST_OF_CLIENT + 1


class Searching(NamedTuple):
    """A guard whose places for word searches are all taken."""

    guard: Guard
    keyserver: Keyserver
    gate: Gate
    connections: list[Connection]  # of those who have them


@pytest.fixture
async def eight_searching(start_guard: StartGuard, start_keyserver: StartKeyserver) -> AsyncIterator[Searching]:
    """Run a guard whose places for word searches are all taken, by eight clients."""
    gate = Gate()
    server = start_keyserver(gate.respond)
    guarded = start_guard(server.url)
    connections = [await Connection.connect(guarded.port, f"127.0.1.{number}") for number in range(1, 9)]
    for connection in connections:
        connection.send(WORDS)
    await when(lambda: server.in_flight == MOST_AT_ONCE, "eight are with the keyserver")
    yield Searching(guarded, server, gate, connections)
    for connection in connections:
        await connection.close()


async def test_client_that_leaves_gives_its_place_to_the_next(eight_searching: Searching) -> None:
    """A search whose client goes away is given up, and who waits takes its place."""
    guarded, server, gate, connections = eight_searching
    async with connected(guarded.port, CLIENT) as waiting:
        waiting.send(WORDS)
        connections[0].reset()
        await when(lambda: server.begun == MOST_AT_ONCE + 1, "the next one is with the keyserver")
        gate.open()
        assert (await waiting.receive()).status == 200
    assert server.most_in_flight == MOST_AT_ONCE


@pytest.mark.parametrize("rudely", [False, True])
async def test_queued_client_that_leaves_is_not_served(eight_searching: Searching, *, rudely: bool) -> None:
    """A client that leaves the queue is never sent to the keyserver and has paid nothing."""
    guarded, server, gate, connections = eight_searching
    async with connected(guarded.port, CLIENT) as leaving:
        leaving.send(WORDS)
        paid = guarded.remaining("127.0.1.1", "words")
        await when(lambda: guarded.remaining(CLIENT, "words") == paid, "the request has paid")
        await leave(leaving, rudely=rudely)
        await when(lambda: guarded.remaining(CLIENT, "words") == paid + 1, "it has its token back")
    gate.open()
    assert {(await connection.receive()).status for connection in connections} == {200}
    assert server.begun == MOST_AT_ONCE
    await when(lambda: guarded.client(CLIENT)["last"], "the analyst has read the record")
    assert guarded.client(CLIENT)["last"][0]["reason"] == "gone"


@pytest.mark.parametrize("rudely", [False, True])
async def test_parked_client_that_leaves_frees_its_place(
    start_guard: StartGuard, start_keyserver: StartKeyserver, *, rudely: bool
) -> None:
    """Requests that wait for their tokens are forgotten, and their tokens given back, when their clients go away."""
    server = start_keyserver(ok)
    guarded = start_guard(server.url, LIMITS__CERT__BURST="1", LIMITS__CERT__COUNT="1", LIMITS__CERT__MAX_DELAY="1m")
    assert (await ask_once(guarded.port, CERT, CLIENT)).status == 200
    connections = [await Connection.connect(guarded.port, CLIENT) for _ in range(30)]
    for connection in connections:
        connection.send(CERT)
    await when(lambda: guarded.metric("parked") >= 25, "they are parked")
    for connection in connections:
        await leave(connection, rudely=rudely)
    await asyncio.to_thread(guarded.await_metric, "parked", 0)
    start = time.monotonic()
    assert (await ask_once(guarded.port, CERT, CLIENT)).status == 200
    assert time.monotonic() - start < 5  # and not behind 30 who are not there
    assert len(server.log) < 10
