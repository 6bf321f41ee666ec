"""What the keyserver really paid: charged afterwards, remembered, and asked for in advance the next time."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from fastpath import CostMemory, client_key, monotonic_ns
from proxy.hkp.classes import OperationClass
from proxy.policy.subjects import Subjects
from tests.proxy.http.harness import CLIENT, FPR, KEY_TARGET, get, ok, turns

if TYPE_CHECKING:
    from tests.proxy.http.conftest import Start
    from tests.proxy.http.harness import Node, Wire

LARGE = 500_000
LARGE_TOKENS = LARGE // 65_536
SLOW_REFILL = {"LIMITS__TOTAL__COUNT": "1", "LIMITS__TOTAL__PERIOD": "1d"}
MOST_OF_GET = 20  # however slow the keyserver was
ADDRESS_TARGET = "/pks/lookup?op=get&options=mr&search=a%40example.org"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n"
FEW_MISSES = {
    "MISSES__MINIMUM": "10",
    **{f"LIMITS__{name}__COUNT": "1" for name in ("CERT", "IDENTITY")},
    **{f"LIMITS__{name}__PERIOD": "1d" for name in ("CERT", "IDENTITY")},
}
INTERVAL_NS = 86_400 * 10**9


def owed(node: Node, address: str = CLIENT, kind: OperationClass = OperationClass.TOTAL) -> int:
    """Return how many tokens of the total, or of a class, a client has taken."""
    tats = node.guard.table.peek(client_key(ip_address(address).packed))
    return 0 if tats is None else round((tats[kind] - node.records()[-1].time_ns) / INTERVAL_NS)


def make_dear(node: Node, service_us: int = 74_000, size_bytes: int = LARGE) -> None:
    """Let the node remember that the certificate of KEY_TARGET cost so much."""
    word = Subjects(node.region.secret).word_of(FPR)
    CostMemory(node.region.costs).note(word, service_us, size_bytes, monotonic_ns())


async def large(link: Wire) -> None:
    """Answer with half a megabyte."""
    await link.head()
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
    await link.send(b"k" * LARGE)


async def test_large_answer_is_charged_by_its_size(start: Start) -> None:
    """A token was paid in advance; each further 64 KiB costs one afterwards."""
    node = await start(SLOW_REFILL)
    client = await node.connect(get())
    await large(await node.keyserver.accept())
    await client.reply()
    await turns()
    assert owed(node) == LARGE_TOKENS


async def test_small_answer_costs_its_price(start: Start) -> None:
    """Nothing is charged beyond the price, however fast the next ones come."""
    node = await start(SLOW_REFILL)
    link = None
    for _ in range(3):
        client = await node.connect(get())
        link = link or await node.keyserver.accept()
        await link.head()
        await link.send(ok())
        await client.reply()
    assert owed(node) == 3


async def test_dear_subject_is_priced_before_it_is_sent(start: Start) -> None:
    """What was dear a moment ago costs as much again, and a client without so many tokens is refused."""
    node = await start({**SLOW_REFILL, "LIMITS__TOTAL__BURST": "25"})
    make_dear(node)
    client = await node.connect(get())
    await large(await node.keyserver.accept())
    await client.reply()
    refused = await node.connect(get())
    assert (await refused.reply()).status == 429


async def test_subject_that_is_thin_again_is_forgotten(start: Start) -> None:
    """An answer that cost little takes the next one back to the usual price."""
    node = await start({**SLOW_REFILL, "LIMITS__TOTAL__BURST": "1000"})
    make_dear(node)
    client = await node.connect(get())
    link = await node.keyserver.accept()
    await link.head()
    await link.send(ok())
    await client.reply()
    assert owed(node) == MOST_OF_GET
    again = await node.connect(get())
    await link.head()
    await link.send(ok())
    await again.reply()
    assert owed(node) == MOST_OF_GET + 1


async def test_one_client_asks_for_a_dear_subject_once_at_a_time(start: Start) -> None:
    """The second request of the same client waits until the first is answered."""
    node = await start()
    make_dear(node)
    _, link = await node.begin(get())
    await node.connect(get())
    assert await node.keyserver.untouched()
    await link.send(ok())
    assert b"GET" in await link.head()


async def test_two_ask_for_a_dear_subject_at_a_time(start: Start) -> None:
    """A third client waits for one of the two; another subject does not wait."""
    node = await start()
    make_dear(node)
    _, link = await node.begin(get())
    await node.begin(get(), peer="198.51.100.1")
    third = await node.connect(get(), peer="203.0.113.1")
    assert await node.keyserver.untouched()
    await node.begin(get(KEY_TARGET.replace(FPR, "A" * 40)), peer="203.0.113.2")
    await link.send(ok())
    assert b"GET" in await link.head()
    await link.send(ok(b"mine\n"))
    assert (await third.reply()).body == b"mine\n"


@pytest.mark.parametrize("settings", [{"MODE": "shadow"}, {"MODE": "off"}])
async def test_dear_subjects_wait_for_nobody_unless_it_is_enforced(start: Start, settings: dict[str, str]) -> None:
    """In shadow mode, and without limits, all go at once."""
    node = await start(settings)
    make_dear(node)
    for _ in range(3):
        await node.begin(get())


async def test_hit_gives_back_the_price_of_a_dear_subject(start: Start) -> None:
    """An answer from the cache cost the keyserver nothing."""
    node = await start({**SLOW_REFILL, "CACHE__MODE": "on", "LIMITS__TOTAL__BURST": "1000"})
    client = await node.connect(get())
    link = await node.keyserver.accept()
    await link.head()
    await link.send(ok())
    await client.reply()
    make_dear(node)
    assert (await (await node.connect(get())).reply()).status == 200
    assert owed(node) == 2


async def test_misses_beyond_the_minimum_cost_more(start: Start) -> None:
    """Ten misses cost what hits cost, each further one three tokens of its class."""
    node = await start(FEW_MISSES)
    for _ in range(13):
        _, reply = await node.ask(get(ADDRESS_TARGET), NOT_FOUND)
        assert reply.status == 404
    assert owed(node, kind=OperationClass.IDENTITY) == 10 + 3 * 3
    await node.ask(get(ADDRESS_TARGET), ok())
    assert owed(node, kind=OperationClass.IDENTITY) == 20


async def test_misses_from_the_cache_count(start: Start) -> None:
    """The keyserver is asked once, and whoever guesses on is told no less for it."""
    node = await start({**FEW_MISSES, "CACHE__MODE": "on"})
    _, reply = await node.ask(get(ADDRESS_TARGET), NOT_FOUND)
    for _ in range(12):
        client = await node.connect(get(ADDRESS_TARGET))
        reply = await client.reply()
    assert (reply.status, "Age" in reply.fields) == (404, True)
    assert owed(node, kind=OperationClass.IDENTITY) == 10 + 3 * 3


async def test_unknown_certificates_of_a_refresh_are_no_misses(start: Start) -> None:
    """By fingerprint nobody guesses."""
    node = await start({**FEW_MISSES, "CACHE__MODE": "on"})
    await node.ask(get(), NOT_FOUND)
    for _ in range(12):
        await (await node.connect(get())).reply()
    assert owed(node, kind=OperationClass.CERT) == 13


async def test_keyserver_that_is_slow_for_everybody(start: Start) -> None:
    """The usual time comes down with fast answers and follows slow ones; see `_settle`."""
    node = await start()
    before = node.guard.usual_time_us(OperationClass.CERT)
    for _ in range(24):  # a busy machine may hold up one of them
        await node.ask(get(), ok(b"key\n", "Connection: close"))
    assert node.guard.usual_time_us(OperationClass.CERT) < before
