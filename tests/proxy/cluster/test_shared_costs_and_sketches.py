"""What is dear, and how much networks ask for, on all nodes."""

from __future__ import annotations

import numpy as np
import pytest

from fastpath import CostMemory, DistinctTable, bucket_key, network_key, parse_address
from fastpath.costs import COST_MEMORY_BYTES
from fastpath.distinct import DISTINCT_BYTES
from fastpath.record_array import RECORD_DTYPE
from proxy.cluster.shared_costs import SharedCosts
from proxy.cluster.shared_sketches import EVERY_NS, SharedSketches
from proxy.cluster.store_clock import StoreClock
from proxy.cluster.word import Word
from proxy.hkp.classes import OperationClass
from proxy.settings.kinds import SECOND

NOW_NS = 1000 * SECOND
NOON_US = 1_700_000_000 * 10**6
SUBJECT, THING = 77, (77).to_bytes(8)
NETWORK = network_key(parse_address("192.0.2.1"))
ASKER = bucket_key(OperationClass.CERT, NETWORK)


def clock() -> StoreClock:
    """Return the clock of the store."""
    made = StoreClock()
    made.note(NOW_NS, NOW_NS, NOON_US)
    return made


def costs_of_node() -> tuple[CostMemory, SharedCosts]:
    """Return a node that tells of costs."""
    memory = CostMemory(memoryview(bytearray(COST_MEMORY_BYTES)))
    return memory, SharedCosts(clock(), memory, now=lambda: NOW_NS)


def record(**fields: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Return a record."""
    made = np.zeros(1, RECORD_DTYPE)
    for name, value in fields.items():
        made[name] = value
    return made


def said(body: bytes, thing: bytes = THING, ago_us: int = 0) -> Word:
    """Return a word of another node."""
    return Word(thing, "b", NOON_US - ago_us, NOON_US + 3600 * 10**6, body)


def test_a_fat_subject_is_told_once() -> None:
    """What was fat in the records is looked up and told; again only if it has changed by a fourth."""
    memory, costs = costs_of_node()
    told = []
    for service_us in (80_000, 81_000, 160_000):
        memory.note(SUBJECT, service_us, 5, NOW_NS)
        costs.feed(record(subject_hash=SUBJECT, upstream_us=service_us))
        for saying in filter(None, costs.gather()):
            told.append(saying.body)
            costs.hearsay.take(Word(saying.thing, "a", NOON_US + len(told), NOON_US + 10**9, saying.body))
    assert [int.from_bytes(body[:4]) for body in told] == [80_000, 160_000]
    costs.feed(record(subject_hash=78, upstream_us=10))
    assert [*costs.gather()] == []


def test_fat_subjects_of_others() -> None:
    """They are remembered, unless we know better ourselves."""
    memory, costs = costs_of_node()
    costs.hear(said((80_000).to_bytes(4) + (9).to_bytes(4), ago_us=5 * 10**6), None)
    cost = memory.look_up(SUBJECT, NOW_NS)
    assert cost is not None
    assert (cost.service_us, cost.size_bytes, cost.age_ns) == (80_000, 9, 5 * SECOND)
    costs.hear(said((90_000).to_bytes(4) + (9).to_bytes(4), ago_us=9 * 10**6), None)
    assert memory.look_up(SUBJECT, NOW_NS) == cost


@pytest.mark.parametrize("word", [said(bytes(8)), said(b""), said(b"\xff" * 8, b"x")])
def test_what_is_no_cost(word: Word) -> None:
    """A cost is of a subject, and fat: else it would make others forget what they know."""
    with pytest.raises(ValueError, match="cost"):
        costs_of_node()[1].check(word)


def sketches_of_node(first: int, last: int) -> SharedSketches:
    """Return a node whose network asked for some subjects."""
    table = DistinctTable(memoryview(bytearray(DISTINCT_BYTES)), bytes(16))
    for subject in range(first, last):
        table.add(ASKER, subject, NOW_NS)
    return SharedSketches("a", clock(), table, now=lambda: NOW_NS)


def told_of(sketches: SharedSketches) -> list[bytes]:
    """Return the sketches that a node tells after its network asked once more."""
    client = np.uint64(parse_address("192.0.2.1")[3] | (0x02 << 56) | 0xC0000200)
    sketches.feed(record(client=int(client), operation=OperationClass.CERT))
    return [each.body for each in sketches.gather() if each is not None]


def test_what_two_nodes_were_asked_for() -> None:
    """A subject that two nodes were asked for counts once."""
    [other] = told_of(sketches_of_node(500, 1500))
    own = sketches_of_node(0, 1000)
    assert own.count(ASKER, NOW_NS) == pytest.approx(1000, rel=0.15)
    own.hearsay.take(said(other, ASKER.to_bytes(8)))
    assert own.count(ASKER, NOW_NS) == pytest.approx(1500, rel=0.15)
    [again] = told_of(own)
    assert again == own._distinct.sketch(ASKER, NOW_NS), "what others say is not told as our own"


def test_few_subjects_are_not_told() -> None:
    """A network that is counted exactly is of no interest, and nobody is told of the same too often."""
    assert told_of(sketches_of_node(0, 60)) == []
    busy = sketches_of_node(0, 1000)
    assert len(told_of(busy)) == 1
    assert told_of(busy) == []
    assert EVERY_NS > 0


@pytest.mark.parametrize("body", [b"", bytes(511), b"\x29" * 512])
def test_what_is_no_sketch(body: bytes) -> None:
    """A sketch has 512 registers, none above the highest rank."""
    with pytest.raises(ValueError, match="sketch"):
        sketches_of_node(0, 1).check(said(body, ASKER.to_bytes(8)))
