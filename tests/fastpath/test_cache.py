"""The micro-cache: one flight for a key, no bytes of another reply, nothing that a dead process leaves locked."""

import os
import signal
from collections.abc import Callable, Iterator
from itertools import count
from multiprocessing.process import BaseProcess
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from fastpath.cache import (
    FLIGHT_NS,
    LARGEST_REPLY,
    LAYOUT,
    LEAST_DATA_BYTES,
    MOST_DATA_BYTES,
    Hit,
    ReplyCache,
    Ticket,
    cache_bytes,
    largest_reply,
    used_bytes,
)

SECRET = bytes(range(16))
SECOND = 10**9
NOW = 1_000 * SECOND
LATER = 2_000 * SECOND
WORKERS = 4
DATA = LEAST_DATA_BYTES
LARGEST = largest_reply(DATA)
ALICE, BOB = 7, 8
CHECK = 99  # of all keys, unless it matters
FREE, PROVISIONAL, FLIGHT, KEPT = range(4)
CELLS = LAYOUT["header_bytes"] // 8  # words
LINE = LAYOUT["line_bytes"]
LOG = cache_bytes(DATA) - DATA

Shared = Callable[[int], memoryview]
Together = Callable[[Callable[[int], None], int], None]
Start = Callable[[Callable[[int], None], int], list[BaseProcess]]


class House:
    """The caches of all workers over one memory."""

    def __init__(self, memory: memoryview, generations: memoryview, data_bytes: int = DATA) -> None:
        """Take empty memory, and start four workers in their first generation."""
        self.data_bytes = data_bytes
        self.memory = memory
        self.words = memory.cast("Q")
        self.generations = generations.cast("Q")
        self.workers = [self.worker(worker) for worker in range(WORKERS)]

    def worker(self, worker: int) -> ReplyCache:
        """Return the cache of a worker of the present generation."""
        return ReplyCache(self.memory, self.data_bytes, self.generations, worker, SECRET)

    def cells(self, key: int) -> memoryview:
        """Return the set of a key."""
        first, _ = self.workers[0].place(key)
        return self.words[CELLS + first : CELLS + first + LAYOUT["ways"]]

    def held(self, key: int) -> list[int]:
        """Return the kinds of the cells of a key's set."""
        return [word & 3 for word in self.cells(key)]

    @property
    def head(self) -> int:
        """Lines reserved so far."""
        return int(self.words[0])

    def fill(self, key: int, size: int = 2_048, now_ns: int = NOW) -> bytes:
        """Fetch a reply with a worker that has nothing else to do."""
        data = text_of(key, self.head, size)
        assert self.workers[3].put(lead(self.workers[3], key, now_ns), data, LATER, now_ns)
        return data


@pytest.fixture
def house(shared: Shared) -> House:
    """Return the empty caches of four workers."""
    return House(shared(cache_bytes(DATA)), shared(8 * WORKERS))


def text_of(key: int, number: int, size: int) -> bytes:
    """Return a reply that says everywhere whose it is."""
    word = b"%d:%d:%d;" % (key, number, size)
    return (word * (size // len(word) + 1))[:size]


def is_of(key: int, data: bytes) -> bool:
    """Say whether a reply is all of one piece, and this key's."""
    said = data.split(b";", 1)[0].split(b":")
    return int(said[0]) == key and data == text_of(key, int(said[1]), int(said[2]))


def lead(cache: ReplyCache, key: int, now_ns: int = NOW, check: int = CHECK) -> Ticket:
    """Look up a key that nobody has or fetches."""
    found = cache.look_up(key, check, now_ns)
    assert isinstance(found, Ticket)
    assert found.tracked
    return found


def flight(cache: ReplyCache, key: int, now_ns: int = NOW) -> int:
    """Look up a key that somebody fetches."""
    found = cache.look_up(key, CHECK, now_ns)
    assert isinstance(found, int)
    return found


def kept(cache: ReplyCache, key: int, now_ns: int = NOW, check: int = CHECK) -> bytes | None:
    """Return the reply, or None; gives a ticket back."""
    found = cache.look_up(key, check, now_ns)
    return found.data if isinstance(found, Hit) else None


def crowded(house: House, key: int, many: int) -> Iterator[int]:
    """Return keys of the same set."""
    first, _ = house.workers[0].place(key)
    found = 0
    for other in count(1_000):
        if found < many and house.workers[0].place(other)[0] == first:
            found += 1
            yield other
        elif found == many:
            return


def test_one_fetches_and_all_are_served(house: House) -> None:
    """The first to ask is the leader, others wait, and what it puts is everybody's, with its age."""
    mine, theirs, *_ = house.workers
    ticket = lead(mine, ALICE)
    assert flight(theirs, ALICE) == flight(mine, ALICE)
    assert mine.put(ticket, b"a key", LATER, NOW + 5)
    for cache in house.workers:
        found = cache.look_up(ALICE, CHECK, NOW + 12)
        assert isinstance(found, Hit)
        assert (found.data, found.age_ns) == (b"a key", 7)


def test_an_age_is_not_negative(house: House) -> None:
    """On a clock that is a little behind a reply is new."""
    house.fill(ALICE)
    found = house.workers[0].look_up(ALICE, CHECK, NOW - 5)
    assert isinstance(found, Hit)
    assert found.age_ns == 0


def test_keys_are_apart(house: House) -> None:
    """A flight, or a reply, of one key is not another's."""
    mine = house.workers[0]
    data = house.fill(ALICE)
    ticket = lead(mine, BOB)
    assert kept(mine, ALICE) == data
    assert mine.put(ticket, b"of Bob", LATER, NOW)
    assert [kept(mine, key) for key in (ALICE, BOB)] == [data, b"of Bob"]


def test_another_check_is_another_request(house: House) -> None:
    """A reply of a request with the same key but another check is not served; the newer one stays."""
    mine = house.workers[0]
    house.fill(ALICE)
    assert mine.put(lead(mine, ALICE, check=CHECK + 1), b"another", LATER, NOW)
    assert kept(mine, ALICE, check=CHECK + 1) == b"another"
    assert kept(mine, ALICE) is None


@pytest.mark.parametrize("owner", [ALICE, BOB])
def test_a_wrong_cell_gives_no_wrong_reply(house: House, owner: int) -> None:
    """If the cell of a key names the reply of another key, that is no reply."""
    house.fill(ALICE)
    house.fill(BOB)
    (position,) = [word >> 24 for word in house.cells(owner) if word & 3 == KEPT]
    for key in (ALICE, BOB):
        cells, (_, tag) = house.cells(key), house.workers[0].place(key)
        cells[[word & 3 for word in cells].index(KEPT)] = position << 24 | tag | KEPT
    assert [kept(house.workers[0], key) is not None for key in (ALICE, BOB)] == [owner == ALICE, owner == BOB]


@pytest.mark.parametrize("end", ["give up", "drop", "too large", "expired already"])
def test_a_flight_that_brings_nothing(house: House, end: str) -> None:
    """If the leader has nothing to keep the next to ask is the leader of another flight."""
    mine, theirs, *_ = house.workers
    ticket = lead(mine, ALICE)
    first = flight(theirs, ALICE)
    if end == "give up":
        mine.give_up(ticket)
        assert not ticket.tracked
    elif end == "drop":
        del ticket
    elif end == "too large":
        assert not mine.put(ticket, bytes(LARGEST + 1), LATER, NOW)
    else:
        assert not mine.put(ticket, b"", NOW, NOW)
    assert house.head == 0
    again = lead(theirs, ALICE)
    assert flight(mine, ALICE) == flight(theirs, ALICE) != first
    assert theirs.put(again, b"x", LATER, NOW)


@pytest.mark.parametrize(("now_ns", "served"), [(LATER - 1, True), (LATER, False), (LATER + SECOND, False)])
def test_a_reply_expires_to_the_nanosecond(house: House, now_ns: int, *, served: bool) -> None:
    """A reply is served while now is before its end; then whoever asks fetches it anew, in its very cell."""
    data = house.fill(ALICE)
    assert kept(house.workers[0], ALICE, now_ns) == (data if served else None)
    if not served:
        lead(house.workers[0], ALICE, now_ns)
    assert sum(kind != FREE for kind in house.held(ALICE)) == served


@pytest.mark.parametrize("cut", ["invalidated", "new leader", "ended", "expired"])
def test_a_void_ticket_does_nothing(house: House, cut: str) -> None:
    """What comes of a flight that was voided is not kept, and does not disturb the next flight of its key."""
    mine, theirs, *_ = house.workers
    ticket, now_ns = lead(mine, ALICE), NOW
    if cut == "invalidated":
        theirs.invalidate(ALICE)
    elif cut == "new leader":
        now_ns += FLIGHT_NS + 2 * SECOND
    elif cut == "ended":
        mine.give_up(ticket)
    else:
        assert not mine.put(ticket, b"", NOW, NOW)
    again = lead(theirs, ALICE, now_ns)
    mine.give_up(ticket) if cut == "ended" else None
    assert not mine.put(ticket, b"old", LATER, now_ns)
    assert not ticket.tracked
    assert house.head == 0
    del ticket
    assert flight(mine, ALICE, now_ns) == flight(theirs, ALICE, now_ns)
    assert theirs.put(again, b"new", LATER, now_ns)
    assert kept(mine, ALICE, now_ns) == b"new"


def test_what_is_invalidated_is_served_no_more(house: House) -> None:
    """An upload voids the reply of its key, in all workers, and of no other."""
    mine, theirs, *_ = house.workers
    house.fill(ALICE)
    data = house.fill(BOB)
    mine.invalidate(ALICE)
    mine.invalidate(ALICE)
    assert kept(theirs, ALICE) is None
    assert kept(theirs, BOB) == data


def test_a_dead_worker_leads_nobody(house: House) -> None:
    """With a new generation its flights are void, and the next to ask is the leader."""
    mine, theirs, *_ = house.workers
    ticket = lead(mine, ALICE)
    house.generations[1] += 1
    assert flight(theirs, ALICE)
    house.generations[0] += 1
    again = lead(theirs, ALICE)
    assert not mine.put(ticket, b"old", LATER, NOW)
    assert theirs.put(again, b"new", LATER, NOW)
    assert lead(house.worker(0), BOB)


def test_a_generation_wraps(house: House) -> None:
    """Only 6 bits of the generation are in a flight; the rest does not disturb."""
    house.generations[0] = 0xFFFF
    ticket = lead(house.worker(0), ALICE)
    assert flight(house.workers[1], ALICE)
    house.generations[0] += 1
    assert lead(house.workers[1], ALICE)
    assert ticket.tracked


@pytest.mark.parametrize("begin", [0, NOW, 2**61, *(NOW + n * SECOND // 8 for n in range(9))])
def test_a_flight_has_its_time(house: House, begin: int) -> None:
    """A leader that says nothing has 60 s, whenever it began; 61.3 s after its begin it has a successor."""
    mine, theirs, *_ = house.workers
    ticket = lead(mine, ALICE, begin)
    assert flight(theirs, ALICE, begin + FLIGHT_NS)
    assert flight(theirs, ALICE, max(0, begin - SECOND))
    again = lead(theirs, ALICE, begin + FLIGHT_NS + 1_300_000_000)
    assert not mine.put(ticket, b"old", 2**62, begin + FLIGHT_NS + 1_300_000_000)
    assert theirs.put(again, b"new", 2**62, begin + FLIGHT_NS + 1_300_000_000)


def test_a_late_leader_keeps_nothing(house: House) -> None:
    """A put after the time of the flight is void, also if nobody has asked meanwhile."""
    mine = house.workers[0]
    ticket = lead(mine, ALICE)
    assert not mine.put(ticket, b"old", LATER, NOW + FLIGHT_NS + 2 * SECOND)
    assert house.held(ALICE) == [FREE] * 8


# Claims that are under way: another process stands between two steps of `claim`.


def claims(house: House, ticket: Ticket, key: int, way: int) -> None:
    """Make of a flight a claim that has not come through yet, in a certain cell."""
    assert ticket.tracked
    cells = house.cells(key)
    (at,) = [i for i, word in enumerate(cells) if word & 3 == FLIGHT]
    word, cells[at] = cells[at], 0
    cells[way] = word & ~3 | PROVISIONAL


@pytest.mark.parametrize("way", range(8))
def test_a_claim_under_way_is_a_flight(house: House, way: int) -> None:
    """Who sees a claim of a living worker waits; the number is that of the flight that it becomes."""
    mine, theirs, *_ = house.workers
    ticket = lead(mine, ALICE)
    number = flight(theirs, ALICE)
    claims(house, ticket, ALICE, way)
    assert flight(theirs, ALICE) == number


@pytest.mark.parametrize("way", range(8))
@pytest.mark.parametrize("dead", ["worker", "time"])
def test_a_dead_claim_is_swept_away(house: House, way: int, dead: str) -> None:
    """A claim whose worker is dead, or whose time is over, is no flight, and does not come through any more."""
    mine, theirs, *_ = house.workers
    ticket, now_ns = lead(mine, ALICE), NOW
    claims(house, ticket, ALICE, way)
    word = house.cells(ALICE)[way]
    if dead == "worker":
        house.generations[0] += 1
    else:
        now_ns += FLIGHT_NS + 2 * SECOND
    again = lead(theirs, ALICE, now_ns)
    assert word not in house.cells(ALICE).tolist()
    assert sorted(house.held(ALICE)) == [FREE] * 7 + [FLIGHT]
    assert theirs.put(again, b"x", LATER, now_ns)


def test_a_flight_goes_before_a_claim(house: House) -> None:
    """If a tag has a claim under way and a flight, it is the flight that others wait for."""
    mine, theirs, *_ = house.workers
    ticket = lead(mine, ALICE)
    number = flight(theirs, ALICE)
    cells = house.cells(ALICE)
    way = cells.tolist().index(number)
    cells[(way + 1) % 8] = number & ~3 | PROVISIONAL ^ 1 << 50
    cells[(way - 1) % 8] = number & ~3 | PROVISIONAL ^ 1 << 51
    assert flight(theirs, ALICE) == number
    assert mine.put(ticket, b"x", LATER, NOW)
    assert kept(theirs, ALICE) == b"x"


# A set is full.


def test_the_oldest_reply_makes_room(house: House) -> None:
    """A flight of a ninth key of a set turns out the reply that was put first, and no other."""
    keys = list(crowded(house, ALICE, 10))
    texts = {key: house.fill(key) for key in keys[:8]}
    assert house.held(ALICE) == [KEPT] * 8
    for gone, key in enumerate(keys[8:], 1):
        texts[key] = house.fill(key)
        found = [kept(house.workers[0], key) for key in keys[gone : 8 + gone]]
        assert found == [texts[key] for key in keys[gone : 8 + gone]]


def test_a_flight_is_not_turned_out(house: House) -> None:
    """Living flights stay; a dead one goes before the oldest reply, and a free cell before both."""
    keys = list(crowded(house, ALICE, 9))
    texts = {key: house.fill(key) for key in keys[:6]}
    living = lead(house.workers[1], keys[6])
    dead = lead(house.workers[0], keys[7])
    house.generations[0] += 1
    assert dead.tracked
    lead(house.workers[2], keys[8])  # and given up at once
    assert flight(house.workers[2], keys[6])
    assert house.fill(keys[8])
    assert [kept(house.workers[1], key) for key in keys[:6]] == [texts[key] for key in keys[:6]]
    assert house.workers[1].put(living, b"x", LATER, NOW)


def test_a_set_of_flights_is_full(house: House) -> None:
    """If 8 others of a set are in flight the ninth asks for itself: nobody waits, nothing is kept or disturbed."""
    mine, theirs, *_ = house.workers
    *keys, ninth = crowded(house, ALICE, 9)
    tickets = [lead(mine, key) for key in keys]
    alone = theirs.look_up(ninth, CHECK, NOW)
    assert isinstance(alone, Ticket)
    assert not alone.tracked
    assert not theirs.put(alone, b"x", LATER, NOW)
    theirs.give_up(alone)
    assert house.head == 0
    assert all(mine.put(ticket, b"y", LATER, NOW) for ticket in tickets)
    assert theirs.put(lead(theirs, ninth), b"z", LATER, NOW)


def test_numbers_of_flights_do_not_repeat(house: House) -> None:
    """A worker that has begun 65,536 flights in 1.07 s begins no more: an old ticket fits no new flight."""
    mine, theirs, *_ = house.workers
    numbers = set()
    for _ in range(65_536):
        ticket = lead(mine, ALICE)
        numbers.add(flight(theirs, ALICE))
        mine.give_up(ticket)
    assert len(numbers) == 65_536
    found = mine.look_up(ALICE, CHECK, NOW)
    assert isinstance(found, Ticket)
    assert not found.tracked
    assert lead(theirs, ALICE).tracked
    again = lead(mine, ALICE, NOW + 2 * SECOND)
    assert flight(theirs, ALICE, NOW) not in numbers
    assert lead(mine, BOB, NOW)  # a clock that falls back does not bring old numbers back
    assert mine.put(again, b"x", LATER, NOW)


# The log.


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 63, 64, 65, 1_023, 1_024, 1_025, 100_000, LARGEST])
def test_a_reply_of_any_size(house: House, size: int) -> None:
    """Every byte comes back, up to the largest reply, and around the end of the log as well."""
    mine = house.workers[0]
    data = Random(size).randbytes(size)  # noqa: S311 - the same bytes in every run
    for before_end in {0, 1, 2, max(1, size // LINE), max(1, size // LINE // 2)}:
        house.words[0] += -before_end - house.head % (DATA // LINE) + DATA // LINE
        mine.invalidate(ALICE)
        assert mine.put(lead(mine, ALICE), data, LATER, NOW)
        assert kept(house.workers[1], ALICE) == data


@pytest.mark.parametrize(
    ("data_bytes", "largest"),
    [(1 << 20, 1 << 18), (2 << 20, 1 << 19), (4 << 20, 1 << 20), (32 << 20, 1 << 20), (1 << 36, LARGEST_REPLY)],
)
def test_largest_reply(data_bytes: int, largest: int) -> None:
    """A reply takes a quarter of the log at most, and never more than 1 MiB."""
    assert largest_reply(data_bytes) == largest


def test_a_large_log_takes_large_replies(shared: Shared) -> None:
    """Where there is room for four replies of 1 MiB, each comes back; a byte more is not kept."""
    data_bytes = 4 * LARGEST_REPLY
    house = House(shared(cache_bytes(data_bytes)), shared(8 * WORKERS), data_bytes)
    mine = house.workers[0]
    assert mine.largest == LARGEST_REPLY
    data = house.fill(ALICE, LARGEST_REPLY)
    assert kept(mine, ALICE) == data
    assert not mine.put(lead(mine, BOB), bytes(LARGEST_REPLY + 1), LATER, NOW)


@pytest.mark.parametrize("note", [0, 1, 2**64 - 1])
def test_a_note_comes_back(house: House, note: int) -> None:
    """A word that is put with a reply is there for its readers, with the times of the reply."""
    mine, theirs, *_ = house.workers
    assert mine.put(lead(mine, ALICE), b"x", LATER, NOW, note)
    found = theirs.look_up(ALICE, CHECK, NOW + 1)
    assert isinstance(found, Hit)
    assert (found.note, found.stored_ns, found.expires_ns) == (note, NOW, LATER)


def test_bytes_that_are_used(house: House) -> None:
    """Each reply takes its lines and one more; once the log has gone round all of it is in use."""
    assert used_bytes(house.memory, DATA) == 0
    house.fill(ALICE, 65)
    assert used_bytes(house.memory, DATA) == 3 * LINE
    house.words[0] += 2 * DATA // LINE
    assert used_bytes(house.memory, DATA) == DATA
    with pytest.raises(ValueError, match="memory of the replies"):
        used_bytes(house.memory[:-LINE], DATA)


def test_the_log_goes_round(house: House) -> None:
    """The newest replies that have room are there, and what was written over is not."""
    size, many = 2_048, 5_000
    texts = {key: house.fill(key, size) for key in range(many)}
    room = DATA // (LINE + size)
    found = {key: kept(house.workers[0], key) for key in range(many)}
    there = [key for key in found if found[key] is not None]
    assert {key: found[key] for key in there} == {key: texts[key] for key in there}
    assert set(there) == set(range(many - room, many))


def test_a_lapped_reply_is_absent_at_once(house: House) -> None:
    """From the line on at which another writer has reserved what it stands on, a reply is not served."""
    data = house.fill(ALICE)
    house.words[0] = DATA // LINE
    assert kept(house.workers[0], ALICE) == data
    house.words[0] += 1
    assert kept(house.workers[0], ALICE) is None


@pytest.mark.parametrize("lap", [1, 2, 2**40 // (DATA // LINE)])
def test_a_position_of_another_lap_is_another(house: House, lap: int) -> None:
    """If the head has gone on by laps, even so far that the bits of a cell say the same again, the reply is gone."""
    house.fill(ALICE)
    house.words[0] += lap * (DATA // LINE)
    assert kept(house.workers[0], ALICE) is None


HEAD_BYTES = LINE  # of a record's first line are meant: all


@pytest.mark.parametrize("bit", range(8))
def test_a_changed_bit_is_noticed(house: House, bit: int) -> None:
    """Whichever bit of a record is changed, the reply is absent."""
    data = house.fill(ALICE, 300)
    start = LOG
    for at in [*range(start, start + HEAD_BYTES), *range(start + LINE, start + LINE + len(data))]:
        house.memory[at] ^= 1 << bit
        cell = house.cells(ALICE).tolist()
        assert kept(house.workers[0], ALICE) is None
        house.memory[at] ^= 1 << bit
        house.cells(ALICE)[:] = memoryview(b"".join(word.to_bytes(8, "little") for word in cell)).cast("Q")
        assert kept(house.workers[0], ALICE) == data


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_an_old_writer_goes_on(data: st.DataObject) -> None:
    """Whatever part of an older record is written over newer ones a lap later, a reply is right or absent."""
    house = House(memoryview(bytearray(cache_bytes(DATA))), memoryview(bytearray(8 * WORKERS)))
    sizes = st.integers(0, 1_000)
    house.words[0] = data.draw(st.integers(0, DATA // LINE), label="head")
    before = data.draw(st.lists(sizes, min_size=1, max_size=4), label="old sizes")
    same = data.draw(st.booleans(), label="same keys")
    first = house.head
    texts = {key: house.fill(key, size) for key, size in enumerate(before)}
    old = bytes(house.memory[LOG:])
    house.words[0] = first + DATA // LINE + data.draw(st.integers(-4, 4), label="shift")
    after = data.draw(st.lists(sizes, min_size=1, max_size=4), label="new sizes")
    keys = range(len(after)) if same else range(100, 100 + len(after))
    for key in keys:
        house.workers[0].invalidate(key)
    texts |= {key: house.fill(key, size) for key, size in zip(keys, after, strict=True)}
    start = data.draw(st.integers(0, 3_000), label="from")
    for n in range(start, start + data.draw(st.integers(1, 2_000), label="bytes")):
        at = (first * LINE + n) % DATA
        house.memory[LOG + at] = old[at]
    for key in [*range(len(before)), *keys]:
        found = kept(house.workers[1], key)
        assert found is None or found == texts.get(key)


# Against a model.


class Kept(NamedTuple):
    """What the model knows of a reply."""

    data: bytes
    stored_ns: int
    expires_ns: int
    position: int


class Led(NamedTuple):
    """What the model knows of a flight."""

    ticket: Ticket
    worker: int
    since_ns: int


class AgainstAModel(RuleBasedStateMachine):
    """Workers and two dictionaries that are told the same."""

    keys = st.integers(0, 5)

    def __init__(self) -> None:
        """Begin with nothing kept and nobody asking."""
        super().__init__()
        self.house = House(memoryview(bytearray(cache_bytes(DATA))), memoryview(bytearray(8 * WORKERS)))
        self.now_ns = NOW
        self.kept: dict[int, Kept] = {}
        self.flights: dict[int, Led] = {}
        self.void: list[Led] = []
        self.numbers = count()

    def expected(self, key: int) -> type:
        """Say what a look-up of a key finds."""
        if key in self.kept:
            there = self.house.head - self.kept[key].position <= DATA // LINE
            return Hit if there and self.now_ns < self.kept[key].expires_ns else Ticket
        return int if key in self.flights else Ticket

    @rule(key=keys, worker=st.integers(0, 1))
    def look_up(self, key: int, worker: int) -> None:
        """Ask for a key."""
        wanted, found = self.expected(key), self.house.workers[worker].look_up(key, CHECK, self.now_ns)
        assert type(found) is wanted
        if isinstance(found, Hit):
            assert (found.data, self.now_ns - found.age_ns) == self.kept[key][:2]
        elif isinstance(found, Ticket):
            assert found.tracked
            self.kept.pop(key, None)
            self.flights[key] = Led(found, worker, self.now_ns)

    @precondition(lambda self: self.flights)
    @rule(pick=st.randoms(), seconds=st.integers(0, 30), size=st.sampled_from([0, 1, 5_000, LARGEST]))
    def put(self, pick: Random, seconds: int, size: int) -> None:
        """End a flight with a reply."""
        key = pick.choice(sorted(self.flights))
        led, position = self.flights.pop(key), self.house.head
        reply = Kept(text_of(key, next(self.numbers), size), self.now_ns, self.now_ns + seconds * SECOND, position)
        done = self.house.workers[led.worker].put(led.ticket, reply.data, reply.expires_ns, self.now_ns)
        assert done is (seconds > 0)
        if done:
            self.kept[key] = reply

    @precondition(lambda self: self.flights)
    @rule(pick=st.randoms())
    def give_up(self, pick: Random) -> None:
        """End a flight with nothing."""
        led = self.flights.pop(pick.choice(sorted(self.flights)))
        self.house.workers[led.worker].give_up(led.ticket)

    @rule(key=keys)
    def invalidate(self, key: int) -> None:
        """Void a key."""
        self.house.workers[2].invalidate(key)
        self.kept.pop(key, None)
        if key in self.flights:
            self.void.append(self.flights.pop(key))

    @rule(seconds=st.sampled_from([1, 10, 62]))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now_ns += seconds * SECOND
        for key, led in list(self.flights.items()):
            if self.now_ns - led.since_ns > FLIGHT_NS + 1_300_000_000:
                self.void.append(self.flights.pop(key))
            elif self.now_ns - led.since_ns > FLIGHT_NS:  # over, or not yet: nobody can say
                self.house.workers[led.worker].give_up(self.flights.pop(key).ticket)
        self.void = [led for led in self.void if self.now_ns - led.since_ns < 1_000 * SECOND]

    @precondition(lambda self: self.void)
    @rule()
    def put_void(self) -> None:
        """Put what is void."""
        led = self.void.pop()
        assert not self.house.workers[led.worker].put(led.ticket, b"void", self.now_ns + SECOND, self.now_ns)


AgainstAModel.TestCase.settings = settings(deadline=None, max_examples=100, stateful_step_count=40)
TestAgainstAModel = AgainstAModel.TestCase


@pytest.mark.parametrize("seed", range(5))
def test_any_content_is_survived(shared: Shared, seed: int) -> None:
    """Over random bytes everything ends, stays in its memory, and gives nobody a reply."""
    size = cache_bytes(DATA)
    memory = shared(size + 4_096)
    memory[:] = Random(seed).randbytes(len(memory))  # noqa: S311 - the same bytes in every run
    beyond = bytes(memory[size:])
    house = House(memory[:size], shared(8 * WORKERS))
    for key in range(20_000):
        found = house.workers[0].look_up(key, CHECK, NOW)
        assert not isinstance(found, Hit)
        if isinstance(found, Ticket) and key % 10 == 0:
            house.workers[0].put(found, text_of(key, 0, key), LATER, NOW)
        house.workers[0].invalidate(key + 1)
    assert bytes(memory[size:]) == beyond


@pytest.mark.parametrize(
    ("data_bytes", "text"),
    [(LEAST_DATA_BYTES - 1, "data_bytes 1048575 not in"), (MOST_DATA_BYTES + 1, "not in 1048576..68719476736")],
)
def test_sizes_in_range(data_bytes: int, text: str) -> None:
    """A size is in its range, or named with it."""
    with pytest.raises(ValueError, match=text):
        cache_bytes(data_bytes)


def test_size_of_the_memory() -> None:
    """Cells cost an eighth of a line for each KiB of data, and 32 KiB at least."""
    sizes = [1 << 20, 4 << 20, 64 << 20, 1 << 36]
    assert [cache_bytes(size) - size for size in sizes] == [64 + 32_768, 64 + 32_768, 64 + 524_288, 64 + (1 << 29)]


@pytest.mark.parametrize("worker", [-1, 4])
def test_no_such_worker(house: House, worker: int) -> None:
    """A worker has a generation."""
    with pytest.raises(ValueError, match=f"worker {worker} not in 0..3"):
        house.worker(worker)


@pytest.mark.parametrize(
    ("size", "generations", "secret"),
    [(cache_bytes(DATA) - 1, 8, SECRET), (cache_bytes(DATA), 0, SECRET), (cache_bytes(DATA), 8, SECRET[1:])],
)
def test_wrong_memory(size: int, generations: int, secret: bytes) -> None:
    """Too little memory, or a secret of another length, is refused."""
    with pytest.raises(ValueError, match=r"memory of the|secret has 15 bytes"):
        ReplyCache(memoryview(bytearray(size)), DATA, memoryview(bytearray(generations)), 0, secret)


def test_a_ticket_of_another(house: House) -> None:
    """Only the object that gave a ticket takes it."""
    mine, theirs, *_ = house.workers
    ticket = lead(mine, ALICE)
    with pytest.raises(TypeError, match="a ticket of this cache"):
        theirs.put(ticket, b"x", LATER, NOW)
    with pytest.raises(TypeError, match="a ticket of this cache"):
        theirs.give_up(ticket)
    with pytest.raises(TypeError):
        mine.put(ticket, None, LATER, NOW)  # type: ignore[arg-type]  # on purpose
    assert mine.put(ticket, b"x", LATER, NOW)


# Processes.


def test_of_a_thousand_one_leads(house: House, shared: Shared, together: Together) -> None:
    """Of 1000 look-ups of a missing key in four processes exactly one is the leader, all others wait for it."""
    keys, each = 600, 250
    leaders, waits = (shared(8 * WORKERS * keys).cast("Q") for _ in range(2))

    tickets: list[Ticket] = []  # of each process, held to its end

    def work(i: int) -> None:
        for key in range(keys):
            for _ in range(each):
                found = house.workers[i].look_up(key, CHECK, NOW)
                if isinstance(found, Ticket):
                    assert found.tracked
                    tickets.append(found)
                    leaders[i * keys + key] += 1
                elif isinstance(found, int):
                    waits[i * keys + key] = found

    together(work, WORKERS)
    assert [sum(leaders[key::keys]) for key in range(keys)] == [1] * keys
    assert all(len({word for word in waits[key::keys] if word}) == 1 for key in range(keys))


def test_two_never_lead_at_once(house: House, shared: Shared, together: Together) -> None:
    """While cells of a set come and go, no key has two leaders at the same moment."""
    keys = list(crowded(house, ALICE, 6))
    leading, led = shared(8 * WORKERS * len(keys)).cast("Q"), shared(8 * WORKERS).cast("Q")

    def work(i: int) -> None:
        cache, draw = house.workers[i], Random(i)  # noqa: S311 - the same draw in every run
        for _ in range(65_000):  # fewer than a worker has numbers for
            n = draw.randrange(len(keys))
            found = cache.look_up(keys[n], CHECK, NOW)
            if isinstance(found, Ticket):
                leading[WORKERS * n + i] = 1
                assert sum(leading[WORKERS * n : WORKERS * (n + 1)]) == 1
                leading[WORKERS * n + i] = 0
                cache.give_up(found)
                led[i] += 1

    together(work, WORKERS)
    assert min(led) > 0
    assert house.held(ALICE) == [FREE] * 8


def test_no_one_is_served_what_was_invalidated(house: House, shared: Shared, together: Together) -> None:
    """After an upload, and its invalidation, nobody is served what the upstream had before, whatever is in flight."""
    keys = 5
    versions, served = shared(8 * keys).cast("Q"), shared(8 * WORKERS).cast("Q")

    def upload(rounds: int) -> None:
        for n in range(rounds):
            key = n % keys
            versions[key] += 1
            house.workers[0].invalidate(key)
            for _ in range(8):
                found = house.workers[0].look_up(key, CHECK, NOW)
                if isinstance(found, Hit):
                    served[0] += 1
                    assert int(found.data.split(b":")[1]) >= versions[key]
                elif isinstance(found, Ticket) and n % 2:
                    house.workers[0].put(found, text_of(key, versions[key], 40), LATER, NOW)
                del found

    def fetch(i: int) -> None:
        draw = Random(i)  # noqa: S311 - the same draw in every run
        for n in range(30_000):
            key = n % keys
            found = house.workers[i].look_up(key, CHECK, NOW)
            if isinstance(found, Hit):
                assert is_of(key, found.data)
                served[i] += 1
            elif isinstance(found, Ticket):
                data = text_of(key, versions[key], draw.randrange(40, 20_000))
                house.workers[i].put(found, data, LATER, NOW)

    together(lambda i: fetch(i) if i else upload(20_000), WORKERS)
    assert min(served) > 0


def test_writers_of_large_replies_lap_readers(shared: Shared, together: Together) -> None:
    """While four workers write replies of up to 1 MiB over each other's, what one reads is of one piece, or absent."""
    data_bytes, keys = 4 * LARGEST_REPLY, 8
    house = House(shared(cache_bytes(data_bytes)), shared(8 * WORKERS), data_bytes)
    served = shared(8 * WORKERS).cast("Q")

    def work(i: int) -> None:
        cache, draw = house.workers[i], Random(i)  # noqa: S311 - the same draw in every run
        for n in range(400):
            found = cache.look_up(draw.randrange(keys), CHECK, NOW)
            if isinstance(found, Hit):
                served[i] += 1
                assert is_of(found.note, found.data)
            key = draw.randrange(keys)
            cache.invalidate(key)
            found = cache.look_up(key, CHECK, NOW)
            if isinstance(found, Ticket):
                size = draw.choice([40_000, 500_000, LARGEST_REPLY])
                cache.put(found, text_of(key, WORKERS * n + i, size), LATER, NOW, key)

    together(work, WORKERS)
    assert min(served) > 0
    assert house.head > 20 * data_bytes // LINE


def test_killed_while_it_writes(house: House, start: Start) -> None:
    """Whenever a writer is killed, each reply is right or absent, and after its generation nothing is in flight."""
    keys, draw = range(40), Random(1)  # noqa: S311 - the same draw in every run

    def work(_: int) -> None:
        cache = house.worker(0)
        for n in count():
            key = n % 40
            cache.invalidate((key + 20) % 40)
            found = cache.look_up(key, CHECK, NOW)
            if isinstance(found, Ticket):
                cache.put(found, text_of(key, n, 40 + 1_000 * key + n % 1_000), LATER, NOW)

    for _ in range(15):
        (victim,) = start(work, 1)
        head = house.head
        while house.head < head + draw.randrange(20_000, 60_000):
            assert victim.is_alive()
            os.sched_yield()
        victim.kill()
        victim.join()
        house.generations[0] += 1
        for key in keys:
            found = house.workers[1].look_up(key, CHECK, NOW)
            assert not isinstance(found, int)
            assert not isinstance(found, Hit) or is_of(key, found.data)


def test_stopped_while_it_writes(house: House, start: Start) -> None:
    """A writer that is stopped, lapped by others and let go on spoils replies, but never makes a wrong one."""
    mine, keys, size = house.workers[1], range(100, 140), 60_000
    draw = Random(2)  # noqa: S311 - the same draw in every run
    ask, asked = os.pipe()
    told, tell = os.pipe()

    def work(_: int) -> None:
        cache = house.worker(0)
        while os.read(ask, 1):
            for key in range(3):
                cache.invalidate(key)
                ticket = lead(cache, key)
                cache.put(ticket, text_of(key, house.head, LARGEST), LATER, NOW)
            os.write(tell, b"x")

    (writer,) = start(work, 1)
    assert writer.pid is not None
    for _ in range(150):
        head = house.head
        os.write(asked, b"x")
        while house.head == head:
            assert writer.is_alive()
            os.sched_yield()
        for _ in range(draw.randrange(3_000)):
            pass
        os.kill(writer.pid, signal.SIGSTOP)
        os.waitpid(writer.pid, os.WUNTRACED)
        for key in keys:
            mine.invalidate(key)
            house.fill(key, size)
        os.kill(writer.pid, signal.SIGCONT)
        os.read(told, 1)
        for key in [*range(3), *keys]:
            found = kept(mine, key)
            assert found is None or is_of(key, found)
    os.close(asked)
