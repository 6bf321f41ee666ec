"""Bans: who is turned away, until when, and what a reader and a successor find at any moment."""

import mmap
import os
import signal
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from itertools import cycle, repeat
from multiprocessing.process import BaseProcess
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fastpath.bans import BAN_TABLE_BYTES, LAYOUT, BanEntry, BanTable, Standing
from fastpath.keys import client_key, key_text, parents, parse_address, parse_network

SECRET = bytes(range(16))
SECOND = 10**9
NOW = 1_000 * SECOND
LATER = NOW + SECOND
WELCOME, PRICED, DELAYED, LIMITED, TARPIT, BANNED = Standing
CAPACITY = 65_536
WAYS = LAYOUT["ways"]
KEYS = LAYOUT["header_bytes"] // 8  # words before the keys
ENTRIES = KEYS + 2 * CAPACITY

Shared = Callable[[int], memoryview]
Together = Callable[[Callable[[int], None], int], None]
Start = Callable[[Callable[[int], None], int], list[BaseProcess]]


class Opened:
    """A table, its writer, and the words of its memory."""

    def __init__(self, memory: memoryview) -> None:
        """Take memory of `BAN_TABLE_BYTES`."""
        self.memory = memory
        self.table = BanTable(memory, SECRET)
        self.words = memory.cast("Q")

    @property
    def header(self) -> list[int]:
        """Return the words of the header: bits of the kinds that are there, counts by kind."""
        return self.words[:KEYS].tolist()

    def standing(self, text: str, now_ns: int = NOW) -> int:
        """Return the standing of an address."""
        return self.table.standing(parse_address(text), now_ns)


@pytest.fixture
def opened(shared: Shared) -> Opened:
    """Return an empty table."""
    return Opened(shared(BAN_TABLE_BYTES))


def header_of(keys: list[int]) -> list[int]:
    """Return the header of a table that holds these keys."""
    kinds = [1 if key >> 56 >= 0x10 else key >> 56 for key in keys]
    present = sum({1 << kind for kind in kinds})
    return [present, *(kinds.count(kind) for kind in range(1, KEYS))]


def client(number: int) -> int:
    """Return one of many IPv4 clients."""
    return client_key(number.to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("banned", "hit", "missed"),
    [
        ("192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.2", "192.0.2.0", "::192.0.2.1"]),
        ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.9"], ["192.0.3.0", "192.0.1.255"]),
        ("2001:db8:1:2ff::/64", ["2001:db8:1:2ff::", "2001:db8:1:2ff:ffff::1"], ["2001:db8:1:2fe::"]),
        ("2001:db8:1:200::/56", ["2001:db8:1:200::", "2001:db8:1:2ff:3::"], ["2001:db8:1:300::", "2001:db8:1:1ff::"]),
        ("2001:db8:1::/48", ["2001:db8:1::", "2001:db8:1:ffff::"], ["2001:db8:2::", "2001:db8::ffff:0:0:0:0"]),
        ("64:ff9b::/64", ["64:ff9b::192.0.2.1"], ["64:ff9b:0:1::", "192.0.2.1"]),
        ("64:ff9b::/48", ["64:ff9b::192.0.2.1", "64:ff9b:0:1::"], ["64:ff9b:1::"]),
        ("::/64", ["::1", "::192.0.2.1"], ["192.0.2.1", "0:0:0:1::"]),
        ("0.0.0.0/24", ["0.0.0.0", "0.0.0.255"], ["::", "::1", "0.0.1.0"]),
    ],
)
def test_whom_a_ban_hits(opened: Opened, banned: str, hit: list[str], missed: list[str]) -> None:
    """A ban hits every address of its network, in either way of writing it, and no other."""
    assert opened.table.put(parse_network(banned), LATER)
    assert {text: opened.standing(text) for text in hit} == dict.fromkeys(hit, BANNED)
    assert {text: opened.standing(text) for text in missed} == dict.fromkeys(missed, WELCOME)


@pytest.mark.parametrize(
    ("bans", "address", "standing"),
    [
        ({}, "192.0.2.1", WELCOME),
        ({"192.0.2.1": TARPIT}, "192.0.2.1", TARPIT),
        ({"192.0.2.1": PRICED, "192.0.2.0/24": DELAYED}, "192.0.2.1", DELAYED),
        ({"192.0.2.1": LIMITED, "192.0.2.0/24": DELAYED}, "192.0.2.1", LIMITED),
        ({"192.0.2.1": LIMITED, "192.0.2.0/24": TARPIT}, "192.0.2.1", TARPIT),
        ({"192.0.2.1": TARPIT, "192.0.2.0/24": BANNED}, "192.0.2.1", BANNED),
        ({"192.0.2.1": BANNED, "192.0.2.0/24": TARPIT}, "192.0.2.1", BANNED),
        ({"192.0.2.1": BANNED, "192.0.2.0/24": TARPIT}, "192.0.2.2", TARPIT),
        ({"2001:db8::/64": TARPIT, "2001:db8::/56": TARPIT}, "2001:db8::1", TARPIT),
        ({"2001:db8::/64": TARPIT, "2001:db8::/48": BANNED}, "2001:db8::1", BANNED),
        ({"2001:db8::/56": BANNED, "2001:db8::/48": TARPIT}, "2001:db8::1", BANNED),
        ({"2001:db8::/56": BANNED, "2001:db8::/48": TARPIT}, "2001:db8:0:100::", TARPIT),
    ],
)
def test_the_hardest_ban_wins(opened: Opened, bans: dict[str, Standing], address: str, standing: Standing) -> None:
    """Of the bans on an address and the networks around it BANNED beats TARPIT, which one ever is the narrower."""
    for text, wanted in bans.items():
        opened.table.put(parse_network(text), LATER, wanted)
    assert opened.standing(address) == standing


def test_a_longer_tarpit_takes_over(opened: Opened) -> None:
    """An address is free when the last of its bans is over; a hard one does not hide a longer soft one."""
    opened.table.put(parse_network("192.0.2.1"), NOW + 10, BANNED)
    opened.table.put(parse_network("192.0.2.0/24"), NOW + 20, TARPIT)
    times = (NOW + 9, NOW + 10, NOW + 19, NOW + 20)
    assert [opened.standing("192.0.2.1", now_ns) for now_ns in times] == [BANNED, TARPIT, TARPIT, WELCOME]


@pytest.mark.parametrize("standing", [PRICED, DELAYED, LIMITED, TARPIT, BANNED])
@pytest.mark.parametrize("until_ns", [1, NOW, 2**61 - 1])
def test_a_ban_ends_to_the_nanosecond(opened: Opened, until_ns: int, standing: Standing) -> None:
    """A ban holds while now is before its end, and not at its end, whoever asks."""
    key = parse_network("192.0.2.1")
    opened.table.put(key, until_ns, standing)
    before, end = until_ns - 1, until_ns
    assert [opened.standing("192.0.2.1", now) for now in (before, end)] == [standing, WELCOME]
    assert [opened.table.until(key, now) for now in (before, end)] == [until_ns, 0]
    assert [opened.table.used(now) for now in (before, end)] == [1, 0]
    assert [opened.table.entries(now) for now in (before, end)] == [[BanEntry(key, until_ns, standing)], []]
    opened.table.expire(before)
    assert opened.header == header_of([key])
    opened.table.expire(end)
    assert opened.header == header_of([])


@pytest.mark.parametrize(("until_ns", "standing"), [(LATER - 1, BANNED), (LATER + 1, BANNED), (LATER, TARPIT)])
def test_a_ban_is_replaced(opened: Opened, until_ns: int, standing: Standing) -> None:
    """The last word counts: a ban may be shortened, prolonged, softened or hardened, and stays one ban."""
    key = parse_network("192.0.2.0/24")
    opened.table.put(key, LATER)
    assert opened.table.put(key, until_ns, standing)
    assert opened.table.entries(NOW) == [(key, until_ns, standing)]
    assert opened.header == header_of([key])


def test_a_ban_is_hard_unless_said(opened: Opened) -> None:
    """Without a word about it a ban is BANNED."""
    opened.table.put(parse_network("192.0.2.1"), LATER)
    assert opened.standing("192.0.2.1") == BANNED


def test_before_the_clock_began(opened: Opened) -> None:
    """At a time below 0, which no clock says, bans hold and nobody else is turned away."""
    key = parse_network("192.0.2.1")
    opened.table.put(key, LATER)
    assert [opened.standing(text, -5) for text in ("192.0.2.1", "192.0.2.2")] == [BANNED, WELCOME]
    assert (opened.table.used(-5), opened.table.until(key, -5)) == (1, LATER)
    assert opened.table.entries(-5) == [(key, LATER, BANNED)]


def test_only_the_key_itself_is_asked_for_its_end(opened: Opened) -> None:
    """`until` does not look at the networks around, and nobody has the key 0 or another that is none."""
    opened.table.put(parse_network("192.0.2.0/24"), LATER)
    asked = [parse_network("192.0.2.1"), 0, 6 << 56, 2**64 - 1]
    assert [opened.table.until(key, NOW) for key in asked] == [0] * 4
    assert [opened.table.remove(key) for key in asked] == [False] * 4
    assert opened.table.used(NOW) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, LATER), "0x0 is not a key"),
        ((6 << 56, LATER), "is not a key"),
        ((2 << 56 | 1 << 32, LATER), "is not a key"),
        ((client(1), 0), r"until_ns 0 not in 1\.\.2305843009213693951"),
        ((client(1), -1), "until_ns -1 not in"),
        ((client(1), 2**61), "until_ns 2305843009213693952 not in"),
        ((client(1), LATER, WELCOME), r"standing 0 not in 1\.\.5"),
        ((client(1), LATER, 6), "standing 6 not in"),
    ],
)
def test_out_of_range(opened: Opened, arguments: tuple[int, int], text: str) -> None:
    """A wrong argument is the caller's bug, is named, and changes nothing."""
    with pytest.raises(ValueError, match=text):
        opened.table.put(*arguments)
    assert bytes(opened.memory) == bytes(BAN_TABLE_BYTES)


@pytest.mark.parametrize("size", [0, 3, 5, 15, 17])
@pytest.mark.parametrize("bans", [0, 1])
def test_not_an_address(opened: Opened, size: int, bans: int) -> None:
    """Bytes that are no address are the caller's bug, also while nobody is banned."""
    for number in range(bans):
        opened.table.put(client(number), LATER)
    with pytest.raises(ValueError, match=f"address has {size} bytes, not 4 or 16"):
        opened.table.standing(bytes(size), NOW)


@pytest.mark.parametrize("size", [0, BAN_TABLE_BYTES - 8])
def test_wrong_memory(size: int) -> None:
    """Too little memory is refused."""
    with pytest.raises(ValueError, match=f"memory of the bans: {size} bytes, not {BAN_TABLE_BYTES}"):
        BanTable(memoryview(bytearray(size)), SECRET)


def test_short_secret(shared: Shared) -> None:
    """A secret of another length is refused."""
    with pytest.raises(ValueError, match="secret has 15 bytes, not 16"):
        BanTable(shared(BAN_TABLE_BYTES), bytes(15))


# Room.


def test_a_full_table_keeps_all_bans(opened: Opened) -> None:
    """There is room for as many bans as promised; then newcomers are refused and nobody comes free."""
    table = opened.table
    assert table.capacity == CAPACITY
    assert all(table.put(client(number), NOW + 1 + number) for number in range(CAPACITY))
    assert not any(table.put(client(number), 2**61 - 1) for number in range(CAPACITY, 2 * CAPACITY))
    assert sorted(table.entries(NOW)) == [(client(number), NOW + 1 + number, BANNED) for number in range(CAPACITY)]
    assert table.put(client(0), LATER, TARPIT)
    assert table.standing(bytes(4), NOW) == TARPIT


def test_room_comes_back(opened: Opened) -> None:
    """A full table has room for one more when one is lifted, and for all when all are over and expired."""
    table = opened.table
    for number in range(CAPACITY):
        table.put(client(number), NOW + 1)
    newcomer = parse_network("2001:db8::/48")
    assert table.remove(client(7))
    assert table.put(newcomer, LATER)
    assert not table.put(client(7), LATER)
    table.expire(NOW + 1)
    assert table.entries(NOW) == [(newcomer, LATER, BANNED)]
    assert all(table.put(client(number), LATER) for number in range(CAPACITY - 1))


def test_years_of_bans_leave_no_mark(opened: Opened) -> None:
    """Half a million bans that come and go in a table kept nearly full are never refused."""
    table, most = opened.table, CAPACITY - 1
    for number in range(500_000):
        assert table.put(client(number), LATER)
        if number >= most:
            table.remove(client(number - most))
    assert table.used(NOW) == most


def test_two_full_lines_refuse(opened: Opened) -> None:
    """If both lines of a key are taken, which chance does not bring about, the ban is refused, not another lifted."""
    first, second = opened.table.place(client(1))
    opened.table.put(client(2), LATER)  # the first change makes sure that all others can be found
    for way in range(WAYS):
        opened.words[KEYS + first + way] = opened.words[KEYS + second + way] = client(1_000 + way)
    before = bytes(opened.memory)
    assert not opened.table.put(client(1), LATER)
    assert bytes(opened.memory) == before


def test_memory_is_touched_only_where_used() -> None:
    """Nobody banned takes a page, whatever is asked; somebody banned takes a few more, as long as nobody lists."""
    fd = os.memfd_create("bans")
    os.ftruncate(fd, BAN_TABLE_BYTES)
    table = BanTable(memoryview(mmap.mmap(fd, BAN_TABLE_BYTES)), SECRET)

    def pages() -> int:
        return os.fstat(fd).st_blocks * 512 // mmap.PAGESIZE

    assert pages() == 0
    assert (table.standing(bytes(4), NOW), table.until(client(0), NOW)) == (WELCOME, 0)
    assert (table.entries(NOW), table.used(NOW), table.remove(client(0))) == ([], 0, False)
    table.expire(NOW)
    assert pages() == 1
    table.put(client(0), LATER)
    for number in range(100):
        table.standing(number.to_bytes(16, "big"), NOW)  # another kind: no need to look
    assert pages() <= 4
    os.close(fd)


# A plain model.

POOL = [
    "192.0.2.1", "192.0.2.0", "192.0.2.0/24", "192.0.3.1", "192.0.3.0/24", "2001:db8::", "2001:db8:0:1::",
    "2001:db8:0:100::", "2001:db8::/56", "2001:db8:0:100::/56", "2001:db8::/48", "2001:db9::/48",
    "64:ff9b::", "64:ff9b::/56", "64:ff9b::/48", "ffff:ffff:ffff:ffff::", "ffff:ffff:ffff:ff00::/56", "::/48",
]  # fmt: skip
ADDRESSES = sorted({parse_address(text.partition("/")[0]) for text in POOL} | {bytes(15) + b"\1"})


class Ban(NamedTuple):
    """What the model knows of a ban."""

    until_ns: int
    standing: Standing


class AgainstAModel(RuleBasedStateMachine):
    """A table and a dictionary that are told the same; readers of the memory must agree with the dictionary."""

    keys = st.sampled_from([parse_network(text) for text in POOL])
    steps = st.integers(0, 5)

    def __init__(self) -> None:
        """Begin with nobody banned."""
        super().__init__()
        self.opened = Opened(memoryview(bytearray(BAN_TABLE_BYTES)))
        self.writer = self.opened.table
        self.reader = BanTable(self.opened.memory, SECRET)
        self.now_ns = NOW
        self.model: dict[int, Ban] = {}

    @rule(key=keys, steps=steps, standing=st.sampled_from([PRICED, TARPIT, BANNED]))
    def put(self, key: int, steps: int, standing: Standing) -> None:
        """Ban somebody, perhaps until now or a moment ago."""
        self.model[key] = Ban(self.now_ns + steps - 1, standing)
        assert self.writer.put(key, *self.model[key]) is True

    @rule(key=keys)
    def remove(self, key: int) -> None:
        """Lift a ban."""
        assert self.writer.remove(key) is (self.model.pop(key, None) is not None)

    @rule(steps=steps)
    def wait(self, steps: int) -> None:
        """Let some nanoseconds pass."""
        self.now_ns += steps

    @rule()
    def expire(self) -> None:
        """Free what is over."""
        self.writer.expire(self.now_ns)
        self.model = self.in_force()

    @precondition(lambda self: self.model)
    @rule()
    def succeed(self) -> None:
        """Let another writer go on."""
        self.writer = BanTable(self.opened.memory, SECRET)

    def in_force(self) -> dict[int, Ban]:
        """Return the bans that are not over."""
        return {key: ban for key, ban in self.model.items() if ban.until_ns > self.now_ns}

    def hardest(self, packed: bytes) -> Standing:
        """Return the standing of an address, by the library's idea of networks."""
        address = ip_address(packed)
        bans = [ban for key, ban in self.in_force().items() if address in ip_network(key_text(key))]
        return max((ban.standing for ban in bans), default=WELCOME)

    @invariant()
    def all_agree(self) -> None:
        """Readers say what the dictionary says."""
        bans, now_ns = self.in_force(), self.now_ns
        assert sorted(self.reader.entries(now_ns)) == sorted((key, *ban) for key, ban in bans.items())
        assert self.reader.used(now_ns) == len(bans)
        assert {key: self.reader.until(key, now_ns) for key in bans} == {k: ban.until_ns for k, ban in bans.items()}
        standings = [self.reader.standing(address, now_ns) for address in ADDRESSES]
        assert standings == [self.hardest(address) for address in ADDRESSES]

    @invariant()
    def header_is_right(self) -> None:
        """Count what is there in the header, so that readers look for no more."""
        assert self.opened.header == header_of([*self.model])


AgainstAModel.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)
TestAgainstAModel = AgainstAModel.TestCase


# Content that no writer wrote.


@pytest.mark.parametrize("seed", range(10))
def test_any_content_is_survived(shared: Shared, seed: int) -> None:
    """Over random bytes everything ends, stays in its memory and answers in range; a recovered table is right."""
    memory = shared(BAN_TABLE_BYTES + 4_096)
    memory[:] = Random(seed).randbytes(len(memory))  # noqa: S311 - the same bytes in every run
    beyond = bytes(memory[BAN_TABLE_BYTES:])
    ask = BanTable(memory[:BAN_TABLE_BYTES], SECRET)
    assert {ask.standing(bytes([n]) * 4, NOW) for n in range(256)} <= set(Standing)
    assert ask.used(NOW) == len(ask.entries(NOW)) <= 2 * CAPACITY
    ask.recover()
    left = ask.entries(NOW)
    assert all(ask.until(entry.key, NOW) == entry.until_ns and key_text(entry.key) for entry in left)
    assert sum(ask.put(client(n), LATER) for n in range(CAPACITY)) > CAPACITY - len(left) - WAYS
    assert bytes(memory[BAN_TABLE_BYTES:]) == beyond


@pytest.mark.parametrize("change", [BanTable.expire, BanTable.remove])
def test_garbage_that_comes_late_is_survived(opened: Opened, change: Callable[[BanTable, int], object]) -> None:
    """Keys of kinds that do not exist, written after the writer began, are nobody's, and nothing is counted off."""
    opened.table.put(client(1), 2**61 - 1)
    opened.words[0] = 2**64 - 1
    garbage = [kind << 56 | 1 for kind in (0, *range(6, 16))]
    for key in garbage:
        opened.words[KEYS + opened.table.place(key)[0] + 1] = key
    before = opened.words.tolist()
    for argument in (0, *garbage):
        change(opened.table, argument)
        assert opened.table.until(argument, 0) == 0
    assert opened.words.tolist() == before


def test_what_nobody_can_find_is_erased(opened: Opened) -> None:
    """A successor erases a ban in a place that is not its own, one that stands twice, and what is no key."""
    opened.table.put(client(1), LATER)
    first, second = opened.table.place(client(1))
    elsewhere = next(line for line in range(0, 2 * CAPACITY, WAYS) if line not in {first, second})
    opened.words[KEYS + second + 1] = client(1)
    opened.words[KEYS + elsewhere] = client(1)
    opened.words[KEYS + elsewhere + 1] = 6 << 56
    BanTable(opened.memory, SECRET).recover()
    assert sum(word != 0 for word in opened.words[KEYS:ENTRIES]) == 1
    assert opened.header == header_of([client(1)])
    assert opened.table.until(client(1), NOW) in {LATER, 0}


# Killed writers. A writer makes its changes in an order (theory in `bans.pyx`); killed, it has made the first few.


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.put(client(1), LATER),
        lambda table: table.remove(client(2)),
        lambda table: table.expire(NOW),
        lambda table: table.recover(),
    ],
)
def test_whatever_a_successor_does_first_it_counts_anew(opened: Opened, change: Callable[[BanTable], object]) -> None:
    """Counts that a killed writer left too high are right after its successor's first change."""
    opened.table.put(client(1), LATER)
    opened.words[0] |= 1 << 4
    opened.words[2] += 1
    opened.words[4] += 1
    change(BanTable(opened.memory, SECRET))
    assert opened.header == header_of([client(1)])


def test_a_forked_successor_counts_anew(opened: Opened, together: Together) -> None:
    """So does a successor that has inherited the table of a process that has made changes."""
    opened.table.put(client(1), LATER)
    opened.words[2] += 1
    together(lambda _: opened.table.expire(NOW), 1)
    assert opened.header == header_of([client(1)])


def put_order(word: int) -> tuple[int, int]:
    """Sort the words that a new ban changes: count, kinds, version, term, key."""
    if word < KEYS:
        return (0, -word)
    return (2, word) if word < ENTRIES else (1, word)


def lift_order(word: int) -> tuple[int, int]:
    """Sort the words that lifting a ban changes: key, count, kinds."""
    return (0, word) if word >= KEYS else (1, -word)


LONE, OTHERS = parse_network("2001:db8::/48"), [client(1), client(2), parse_network("192.0.2.0/24")]


@pytest.mark.parametrize(
    ("change", "order", "words", "key", "before_ns", "after_ns"),
    [
        (lambda table: table.put(LONE, LATER), put_order, 5, LONE, 0, LATER),
        (lambda table: table.put(client(3), LATER, TARPIT), put_order, 4, client(3), 0, LATER),
        (lambda table: table.put(client(1), LATER + 5), put_order, 1, client(1), LATER, LATER + 5),
        (lambda table: table.remove(client(1)), lift_order, 2, client(1), LATER, 0),
        (lambda table: table.remove(OTHERS[2]), lift_order, 3, OTHERS[2], LATER, 0),
    ],
)
def test_killed_between_two_stores(
    shared: Shared,
    change: Callable[[BanTable], bool],
    order: Callable[[int], tuple[int, int]],
    words: int,
    key: int,
    before_ns: int,
    after_ns: int,
) -> None:
    """A change that is cut short is there or not, harms no other ban, and its successor's table is whole."""
    done = Opened(shared(BAN_TABLE_BYTES))
    for other in OTHERS:
        done.table.put(other, LATER)
    before = done.words.tolist()
    assert change(done.table)
    after = done.words.tolist()
    changed = sorted((word for word, (old, new) in enumerate(zip(before, after, strict=True)) if old != new), key=order)
    assert len(changed) == words
    for stores in range(words + 1):
        left = Opened(shared(BAN_TABLE_BYTES))
        left.words[:] = memoryview(done.memory.cast("Q"))
        for word in changed[stores:]:
            left.words[word] = before[word]
        assert left.table.until(key, NOW) in {before_ns, after_ns}
        assert all(left.table.until(other, NOW) == LATER for other in OTHERS if other != key)
        left.table.recover()
        assert left.header == header_of([entry.key for entry in left.table.entries(NOW)])
        for each in {key, *OTHERS}:
            left.table.remove(each)
        assert (left.table.used(NOW), left.header) == (0, [0] * KEYS)


def meeting(table: BanTable) -> tuple[bytes, bytes]:
    """Return two addresses that get the same slot of an empty table."""
    seen: dict[int, bytes] = {}
    for number in range(1, CAPACITY):
        packed = number.to_bytes(4, "big")
        line = table.place(client(number))[0]
        if line in seen:
            return seen[line], packed
        seen[line] = packed
    raise AssertionError("no two keys meet")


class Stopped:
    """A child that is stopped again and again, at whatever instruction it is."""

    def __init__(self, child: BaseProcess, progress: memoryview) -> None:
        """Take a child that goes on counting in `progress`."""
        assert child.pid is not None
        self.child, self.pid, self.progress = child, child.pid, progress

    def stop(self) -> None:
        """Stop it."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def go_on(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def look_on(self) -> None:
        """Wait until it has counted on."""
        before = self.progress[0]
        while self.progress[0] == before:
            assert self.child.is_alive()
            os.sched_yield()


def test_a_killed_writer_leaves_a_whole_table(opened: Opened, shared: Shared, start: Start) -> None:
    """Wherever the writer is stopped no ban has another's end, none is hidden, and a successor's counts are right."""
    soft, hard = (client_key(packed) for packed in meeting(opened.table))
    until = {0: 0, soft: NOW + 1, hard: NOW + 2, LONE: NOW + 3}
    turns, slot = shared(8).cast("Q"), KEYS + opened.table.place(soft)[0]
    opened.table.put(LONE, until[LONE])

    def work(_: int) -> None:
        for key in cycle((soft, hard)):
            opened.table.put(key, until[key])
            opened.table.remove(key)
            turns[0] += 1

    victim = Stopped(start(work, 1)[0], turns)
    for _ in range(200):
        victim.look_on()
        victim.stop()
        there = {opened.words[slot], LONE}
        assert {key: opened.table.until(key, NOW) for key in until} == {
            key: until[key] if key in there else 0 for key in until
        }
        victim.go_on()
    victim.child.kill()
    victim.child.join()
    successor = BanTable(opened.memory, SECRET)
    successor.expire(0)
    assert opened.header == header_of([entry.key for entry in successor.entries(NOW)])


# Readers beside the writer.


def test_a_ban_binds_the_others_at_once(opened: Opened, shared: Shared, start: Start) -> None:
    """When `put` or `remove` has come back, another process sees it in its next look-up."""
    turn, steps = shared(8).cast("Q"), 100  # odd: the reader's

    def work(_: int) -> None:
        for step in range(steps):
            change = opened.table.remove(client(1)) if step % 2 else opened.table.put(client(1), LATER)
            turn[0] += change
            while turn[0] % 2:
                os.sched_yield()

    (child,) = start(work, 1)
    for step in range(steps):
        while turn[0] != 2 * step + 1:
            assert child.is_alive()
        assert opened.table.standing(b"\0\0\0\1", NOW) == (WELCOME if step % 2 else BANNED)
        turn[0] += 1


def test_a_stopped_reader_takes_no_other_ban(opened: Opened, shared: Shared, start: Start) -> None:
    """A reader stopped at any instruction, while its slot goes to another key, never applies that one's ban."""
    mine, other = (client_key(packed) for packed in meeting(opened.table))
    looks, wrong = shared(8).cast("Q"), shared(8).cast("Q")
    until = BanTable(opened.memory, SECRET).until

    def work(_: int) -> None:
        while True:  # as little as possible between the look-ups, so that it is mostly in them that it is stopped
            wrong[0] += LATER + 1 in map(until, repeat(mine, 50), repeat(NOW))
            looks[0] += 1

    opened.table.put(mine, LATER)
    child = Stopped(start(work, 1)[0], looks)
    child.look_on()
    for _ in range(1_000):
        child.stop()
        opened.table.remove(mine)
        opened.table.put(other, LATER + 1)
        child.go_on()
        child.look_on()
        opened.table.remove(other)
        opened.table.put(mine, LATER)
    assert wrong[0] == 0


def test_processes_may_ask_while_one_writes(opened: Opened, together: Together) -> None:
    """Who is never banned is never turned away, and who stays banned always is, while others come and go."""
    stays, never = client(1), range(100_000, 100_200)
    opened.table.put(stays, LATER)

    def work(i: int) -> None:
        for turn in range(20_000):
            if i == 0:
                key = client(10 + turn % 997)
                if not opened.table.remove(key):
                    opened.table.put(key, LATER)
            else:
                assert opened.table.standing(b"\0\0\0\1", NOW) == BANNED
                assert opened.table.standing(never[turn % 200].to_bytes(4, "big"), NOW) == WELCOME

    together(work, 3)


def test_the_networks_around_are_those_that_a_look_up_reads(opened: Opened) -> None:
    """A ban of any of `parents` hits the client, whatever its kind."""
    for packed in ADDRESSES:
        for key in (client_key(packed), *parents(client_key(packed))):
            opened.table.put(key, LATER)
            assert opened.table.standing(packed, NOW) == BANNED
            opened.table.remove(key)
            assert opened.table.standing(packed, NOW) == WELCOME
