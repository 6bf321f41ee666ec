"""Requests of strict classes: what they claim of the cluster, and what becomes of them by its answer."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from fastpath import BucketTable, Claimed, ClientTable, Control, bucket_key, client_key, monotonic_ns
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason
from proxy.policy.budgets import TEXTS, BudgetKind
from proxy.policy.claim import CLAIM_BYTES, Answer, Claim, Decision, read_claim, write_answer
from proxy.policy.sharing import everybody
from tests.certs_for_tests import armored, certificate, form
from tests.proxy.http.harness import CLIENT, KEY_TARGET, get, ok, turns, until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.proxy.http.conftest import Start
    from tests.proxy.http.harness import Node

SECOND = 10**9
UPLOAD = OperationClass.UPLOAD
BODY = form(armored(certificate()))
STORED = ok(b"stored\n", "Connection: close")
SETTINGS = {
    "REDIS_URL": "redis://192.0.2.1",  # that is the analyst's business
    "CLUSTER__SECRET": "s" * 32,
    "CLUSTER__STRICT": "upload,mail",
    "LIMITS__UPLOAD__BURST": "3",
    "LIMITS__UPLOAD__COUNT": "1",
    "LIMITS__UPLOAD__PERIOD": "1m",
    "LIMITS__UPLOAD__MAX_DELAY": "0s",
}
READ = {"UPLOADS__MODE": "enforce"}


def upload(*lines: str, body: bytes = BODY) -> bytes:
    """Return a request."""
    typed = "Content-Type: application/x-www-form-urlencoded"
    return get("/pks/add", typed, *lines, f"Content-Length: {len(body)}", method="POST") + body


async def started(start: Start, settings: Mapping[str, str] | None = None) -> Node:
    """Return a node whose claims the test answers."""
    node = await start({**SETTINGS, **(settings or {})})
    node.region.control[Control.CLAIMS_UNTIL_NS] = monotonic_ns() + 3600 * SECOND
    node.desk.setblocking(False)
    return node


async def claimed(node: Node) -> Claim:
    """Return the next claim."""
    await turns()
    return read_claim(node.desk.recv(CLAIM_BYTES))


async def say(node: Node, claim: Claim, decision: Decision, bucket: int = 0, after_ns: int = 0) -> None:
    """Answer a claim."""
    node.desk.send(write_answer(Answer(claim.number, decision, bucket, after_ns, after_ns)))
    await turns()


def nothing_claimed(node: Node) -> bool:
    """Whether there is no claim."""
    with pytest.raises(BlockingIOError):
        node.desk.recv(CLAIM_BYTES)
    return True


def owed(node: Node, kind: int = UPLOAD) -> int:
    """Return how long the client's bucket takes to be full."""
    tats = ClientTable(node.region.table, node.region.secret).peek(client_key(ip_address(CLIENT).packed))
    return max(0, tats[kind] - monotonic_ns()) if tats else 0


async def stored(node: Node) -> None:
    """Have the keyserver store what comes."""
    link = await node.keyserver.accept()
    assert (await link.request()).body == BODY
    await link.send(STORED)
    assert (await node.clients[-1].reply()).status == 200


def counted(node: Node) -> dict[str, int]:
    """Return what became of claims."""
    return {each.name: count for each in Claimed if (count := node.snapshot().claims[each])}


async def test_granted(start: Start) -> None:
    """An upload claims its token of the limit of its class, and goes on when it is granted."""
    node = await started(start)
    before_ns = monotonic_ns()
    await node.connect(upload())
    claim = await claimed(node)
    (take,) = claim.takes
    minute = 60 * SECOND
    assert take == (UPLOAD, client_key(ip_address(CLIENT).packed), minute, 3 * minute, minute, 3 * minute, 3 * minute)
    assert before_ns <= claim.since_ns <= monotonic_ns() <= claim.until_ns <= monotonic_ns() + 50_000_000
    assert await node.keyserver.untouched()
    await say(node, claim, Decision.GRANTED)
    await stored(node)
    assert nothing_claimed(node)
    assert node.loop.timers == []
    assert counted(node) == {"GRANTED": 1}


async def test_refused(start: Start) -> None:
    """It is refused as if by this node, with the time of the cluster and the name of the limit; it has paid nothing."""
    node = await started(start)
    client = await node.connect(upload())
    await say(node, await claimed(node), Decision.REFUSED, UPLOAD, 1500 * SECOND)
    reply = await client.reply()
    assert (reply.status, reply.fields["Retry-After"]) == (429, "1500")
    assert reply.fields["RateLimit"] == '"upload";r=0;t=1500'
    assert await node.keyserver.untouched()
    assert (owed(node), owed(node, OperationClass.TOTAL)) == (0, 0)
    (record,) = node.records()
    assert (record.action, record.reason, record.status) == (Action.LIMIT, Reason.LIMIT, 429)
    assert counted(node) == {"REFUSED": 1}
    assert node.loop.timers == []


async def test_refused_before_the_body_is_asked_for(start: Start) -> None:
    """Who waits for 100 Continue need not send what would be refused."""
    node = await started(start)
    head, _, _ = upload("Expect: 100-continue").partition(BODY)
    client = await node.connect(head)
    await say(node, await claimed(node), Decision.REFUSED, UPLOAD, SECOND)
    assert (await client.reply()).status == 429


@pytest.mark.parametrize("decision", [None, Decision.NONE])
async def test_no_answer(start: Start, decision: Decision | None) -> None:
    """After the deadline, or as soon as it is known that nobody knows, the node's own decision holds."""
    node = await started(start)
    await node.connect(upload())
    claim = await claimed(node)
    (timer,) = node.loop.timers
    assert timer.delay_seconds == 0.05
    if decision is None:
        timer.fire()
        await say(node, claim, Decision.REFUSED, UPLOAD, SECOND)  # too late
    else:
        await say(node, claim, decision)
    await stored(node)
    assert owed(node) > 0
    assert counted(node) == {"LATE" if decision is None else "DOWN": 1}


@pytest.mark.parametrize(
    "settings",
    [
        {"CLUSTER__STRICT": "mail"},
        {"LIMITS__UPLOAD__MODE": "shadow"},
        {"LIMITS__UPLOAD__MODE": "off"},
        {"MODE": "shadow"},
        {"ALLOW": f"{CLIENT}/32"},
    ],
)
async def test_nothing_to_claim(start: Start, settings: dict[str, str]) -> None:
    """Other classes, limits that are not enforced and exempt clients have nothing to do with it."""
    node = await started(start, settings)
    await node.connect(upload())
    await stored(node)
    assert nothing_claimed(node)
    assert counted(node) == {}


async def test_others_go_on(start: Start) -> None:
    """While one request waits the others do not, of its class or not."""
    node = await started(start)
    await node.connect(upload())
    await claimed(node)
    _, reply = await node.ask(get(KEY_TARGET), ok(b"key", "Connection: close"))
    assert reply.status == 200
    await node.connect(upload(), peer="192.0.2.99")
    await say(node, await claimed(node), Decision.GRANTED)
    await stored(node)


async def test_the_client_leaves(start: Start) -> None:
    """A request that waits for the cluster and is left alone gives back what it took; its answer is for nobody."""
    node = await started(start)
    client = await node.connect(upload())
    claim = await claimed(node)
    assert owed(node) > 0
    client.close()
    await until(lambda: node.open == 0)
    assert (owed(node), node.loop.timers) == (0, [])
    await say(node, claim, Decision.REFUSED, UPLOAD, SECOND)
    assert counted(node) == {}


async def test_waiting_for_tokens_of_the_cluster(start: Start) -> None:
    """What is granted for later is parked until then."""
    node = await started(start, {"LIMITS__UPLOAD__MAX_DELAY": "1m"})
    await node.connect(upload())
    await say(node, await claimed(node), Decision.GRANTED, UPLOAD, 7 * SECOND)
    (timer,) = node.loop.timers
    assert timer.delay_seconds == pytest.approx(7, abs=1)
    timer.fire()
    await stored(node)
    (record,) = node.records()
    assert (record.action, record.reason) == (Action.DELAY, Reason.LIMIT)


async def test_what_is_in_it_is_claimed_when_it_is_there(start: Start) -> None:
    """A body claims of the buckets that all nodes have together, and of no others."""
    node = await started(start, READ)
    await node.connect(upload())
    await say(node, await claimed(node), Decision.GRANTED)
    claim = await claimed(node)
    kinds = {BudgetKind.NETWORK_UPLOADS, BudgetKind.NEW_CERTS, BudgetKind.USER_ID}  # the first update of a day is free
    assert {take.number for take in claim.takes} == kinds
    new = next(take for take in claim.takes if take.number == BudgetKind.NEW_CERTS)
    assert (new.key, new.cost_ns) == (everybody(BudgetKind.NEW_CERTS), new.token_ns)
    assert new.room_ns <= new.full_ns
    await say(node, claim, Decision.GRANTED)
    await stored(node)
    assert counted(node) == {"GRANTED": 2}


async def test_what_is_refused_for_what_is_in_it_is_forgotten(start: Start) -> None:
    """It has paid nothing at all, and the next attempt claims the same: the certificate is as new as it was."""
    node = await started(start, READ)
    buckets = BucketTable(node.region.buckets, node.region.secret)
    numbers = []
    for _ in range(2):
        client = await node.connect(upload())
        await say(node, await claimed(node), Decision.GRANTED)
        claim = await claimed(node)
        numbers.append({take.number for take in claim.takes})
        await say(node, claim, Decision.REFUSED, BudgetKind.NEW_CERTS, 90 * SECOND)
        reply = await client.reply()
        assert (reply.status, reply.fields["Retry-After"]) == (429, "90")
        assert TEXTS[BudgetKind.NEW_CERTS].encode() in reply.body
        assert owed(node) == owed(node, OperationClass.TOTAL) == 0
        assert (buckets.peek(everybody(BudgetKind.NEW_CERTS)) or 0) <= monotonic_ns()
        assert {each.reason for each in node.records()} == {Reason.BUDGET}
    assert numbers[0] == numbers[1]
    assert await node.keyserver.untouched()


async def test_leaving_while_the_body_is_claimed(start: Start) -> None:
    """All of it comes back then, too."""
    node = await started(start, READ)
    client = await node.connect(upload())
    await say(node, await claimed(node), Decision.GRANTED)
    claim = await claimed(node)
    client.close()
    await until(lambda: node.open == 0)
    buckets = BucketTable(node.region.buckets, node.region.secret)
    assert all((buckets.peek(take.key) or 0) <= monotonic_ns() for take in claim.takes)
    assert (owed(node), node.loop.timers) == (0, [])


async def test_a_bucket_is_named_once(start: Start) -> None:
    """Two new certificates of one user ID take two of its tokens in one."""
    both = form(armored(certificate(1)) + armored(certificate(2)))
    node = await started(start, READ)
    await node.connect(upload(body=both))
    await say(node, await claimed(node), Decision.GRANTED)
    takes = (await claimed(node)).takes
    assert len({take[:2] for take in takes}) == len(takes)
    new = next(take for take in takes if take.number == BudgetKind.NEW_CERTS)
    assert new.cost_ns == 2 * new.token_ns
    assert bucket_key(BudgetKind.NEW_CERTS, 0, 0) == new.key
