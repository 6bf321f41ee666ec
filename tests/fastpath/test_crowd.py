"""Connection counts: what each worker adds, what all of them read, what a killed one leaves."""

from collections import Counter
from collections.abc import Callable
from itertools import count
from multiprocessing.process import BaseProcess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.crowd import Crowd, crowd_bytes
from fastpath.keys import client_key, network_key, parse_address

SECRET = bytes(range(16))
WORKERS = 3
MOST = 65_535
ALICE, BOB = (client_key(parse_address(text)) for text in ("192.0.2.1", "2001:db8::1"))

Shared = Callable[[int], memoryview]
Together = Callable[[Callable[[int], None], int], None]
Start = Callable[[Callable[[int], None], int], list[BaseProcess]]


class House:
    """The crowds of all workers over one memory."""

    def __init__(self, memory: memoryview) -> None:
        """Take memory for three workers."""
        self.memory = memory
        self.cells = memory.cast("H")
        self.workers = [self.worker(worker) for worker in range(WORKERS)]

    def worker(self, worker: int) -> Crowd:
        """Return the crowd of a worker that has not started."""
        return Crowd(self.memory, WORKERS, worker, SECRET)

    def counts(self, key: int) -> set[int]:
        """Return what the workers say."""
        return {crowd.count(key) for crowd in self.workers}


@pytest.fixture
def house(shared: Shared) -> House:
    """Return the crowds of three workers that hold nothing."""
    return House(shared(crowd_bytes(WORKERS)))


def enter(crowd: Crowd, key: int, times: int) -> None:
    """Let so many connections in."""
    for _ in range(times):
        crowd.enter(key)


def test_all_workers_count_together(house: House) -> None:
    """Every worker sees what all of them hold for a key, and who leaves is counted off."""
    mine, theirs, _ = house.workers
    assert house.counts(ALICE) == {0}
    enter(mine, ALICE, 2)
    enter(theirs, ALICE, 3)
    assert house.counts(ALICE) == {5}
    mine.leave(ALICE)
    theirs.leave(ALICE)
    assert house.counts(ALICE) == {3}


def test_clients_and_networks_are_apart(house: House) -> None:
    """Connections of a client are not its network's, unless they are counted there too, nor another client's."""
    mine, network = house.workers[0], network_key(parse_address("192.0.2.1"))
    mine.enter(ALICE)
    assert [mine.count(key) for key in (ALICE, network, BOB)] == [1, 0, 0]
    mine.enter(network)
    mine.enter(network)
    assert [mine.count(key) for key in (ALICE, network, BOB)] == [1, 2, 0]


@pytest.mark.parametrize("key", [0, 1, ALICE, 2**64 - 1])
def test_any_word_is_a_key(house: House, key: int) -> None:
    """Nothing is asked of a key but that it is a word."""
    house.workers[2].enter(key)
    assert house.counts(key) == {1}


@pytest.mark.parametrize("key", [-1, 2**64])
def test_no_word(house: House, key: int) -> None:
    """What is no word is the caller's bug."""
    for method in (house.workers[0].enter, house.workers[0].leave, house.workers[0].count):
        with pytest.raises(OverflowError):
            method(key)


def test_nobody_holds_less_than_nothing(house: House) -> None:
    """One who leaves too often leaves no debt, and takes nothing from what other workers hold."""
    mine, theirs, _ = house.workers
    theirs.enter(ALICE)
    mine.leave(ALICE)
    assert house.counts(ALICE) == {1}
    mine.enter(ALICE)
    assert house.counts(ALICE) == {2}


def test_counts_stop_at_the_top(house: House) -> None:
    """A worker's count does not wrap; it stays at 65_535, is added to the others', and comes down to 0."""
    mine, theirs, _ = house.workers
    enter(theirs, ALICE, 1)
    enter(mine, ALICE, MOST + 10)
    assert house.counts(ALICE) == {MOST + 1}
    for _ in range(MOST + 10):
        mine.leave(ALICE)
    assert house.counts(ALICE) == {1}


def test_strangers_do_not_add_up(house: House) -> None:
    """Of 20,000 keys that share a bucket with a hundred crowded ones here and there, none is counted too high."""
    mine = house.workers[0]
    for key in range(100):
        enter(mine, key, 50)
    assert [mine.count(key) for key in range(100)] == [50] * 100
    assert sum(mine.count(key) for key in range(1_000, 21_000)) == 0


def buckets(house: House, key: int) -> set[int]:
    """Return the two buckets of a key."""
    before = house.cells.tolist()
    house.workers[0].enter(key)
    found = {i // WORKERS for i, (old, new) in enumerate(zip(before, house.cells, strict=True)) if old != new}
    house.workers[0].leave(key)
    return found


def test_a_key_has_a_bucket_in_each_row(house: House) -> None:
    """The layout is the one in the theory: two rows of 65_536 buckets."""
    for key in range(10):
        first, second = sorted(buckets(house, key))
        assert 0 <= first < 65_536 <= second < 2 * 65_536


def test_a_shared_bucket_in_one_row_is_harmless(house: House) -> None:
    """The lesser of both rows counts for each worker, though different strangers crowd one row each."""
    first, second = sorted(buckets(house, ALICE))
    mine, theirs, _ = house.workers
    mine.enter(ALICE)
    theirs.enter(ALICE)
    house.cells[WORKERS * first + 0] += 100
    house.cells[WORKERS * second + 1] += 100
    assert house.counts(ALICE) == {2}


steps = st.lists(
    st.tuples(st.integers(0, WORKERS - 1), st.sampled_from(["enter", "leave", "start"]), st.integers(0, 5))
)


@given(steps)
def test_a_plain_model(steps: list[tuple[int, str, int]]) -> None:
    """Whatever the workers do, the counts are those of a dictionary for each."""
    house = House(memoryview(bytearray(crowd_bytes(WORKERS))))
    held = [Counter[int]() for _ in range(WORKERS)]
    for worker, what, key in steps:
        crowd, mine = house.workers[worker], held[worker]
        if what == "enter":
            crowd.enter(key)
            mine[key] += 1
        elif what == "leave" and mine[key]:
            crowd.leave(key)
            mine[key] -= 1
        elif what == "start" and key == 0:
            crowd.start()
            mine.clear()
        for each in range(6):
            assert house.counts(each) == {sum(counter[each] for counter in held)}
    for worker in range(WORKERS):
        house.workers[worker].start()
    assert not any(house.cells)


def test_processes_count_together(house: House, together: Together) -> None:
    """Workers that count at the same time do not disturb each other."""

    def work(i: int) -> None:
        mine = house.worker(i)
        for turn in range(20_000):
            mine.enter(ALICE)
            if turn % 20:
                mine.leave(ALICE)

    together(work, WORKERS)
    assert house.counts(ALICE) == {3_000}


def test_a_killed_worker_holds_until_its_successor_starts(house: House, shared: Shared, start: Start) -> None:
    """The cells of a killed worker are zeroed by its successor, all of them, and no others."""
    turns = shared(8).cast("Q")
    enter(house.workers[0], ALICE, 5)

    def work(_: int) -> None:
        mine = house.worker(1)
        for key in count():
            mine.enter(ALICE)
            mine.enter(key)
            turns[0] = key

    (victim,) = start(work, 1)
    while turns[0] < 1_000:
        assert victim.is_alive()
    victim.kill()
    victim.join()
    assert min(house.counts(ALICE)) > 1_000
    successor = house.worker(1)
    successor.start()
    assert house.counts(ALICE) == {5}
    assert sum(house.cells) == 2 * 5
    successor.enter(ALICE)
    assert house.counts(ALICE) == {6}


@pytest.mark.parametrize(("workers", "size"), [(1, 262_144), (2, 524_288), (256, 67_108_864)])
def test_size(workers: int, size: int) -> None:
    """The memory is two rows of 65_536 buckets with two bytes for each worker."""
    assert crowd_bytes(workers) == size


def test_the_last_worker_stays_in_its_memory(shared: Shared) -> None:
    """No key of any worker writes beyond the memory."""
    size = crowd_bytes(1)
    memory = shared(size + 4_096)
    mine = Crowd(memory[:size], 1, 0, SECRET)
    for key in range(300_000):
        mine.enter(key)
    cells = memory.cast("H").tolist()
    assert sum(cells) == 2 * 300_000
    assert not any(cells[size // 2 :])


@pytest.mark.parametrize("workers", [-1, 0, 257])
def test_how_many_workers(workers: int) -> None:
    """A number of workers out of range is named with its range."""
    with pytest.raises(ValueError, match=rf"workers {workers} not in 1\.\.256"):
        crowd_bytes(workers)
    with pytest.raises(ValueError, match=rf"workers {workers} not in 1\.\.256"):
        Crowd(memoryview(bytearray(8)), workers, 0, SECRET)


@pytest.mark.parametrize("worker", [-1, WORKERS])
def test_no_such_worker(house: House, worker: int) -> None:
    """A worker has cells."""
    with pytest.raises(ValueError, match=rf"worker {worker} not in 0\.\.2"):
        house.worker(worker)


def test_wrong_memory() -> None:
    """Too little memory is refused."""
    with pytest.raises(ValueError, match="memory of the crowd: 262144 bytes, not 524288"):
        Crowd(memoryview(bytearray(crowd_bytes(1))), 2, 0, SECRET)


def test_short_secret(shared: Shared) -> None:
    """A secret of another length is refused."""
    with pytest.raises(ValueError, match="secret has 15 bytes, not 16"):
        Crowd(shared(crowd_bytes(1)), 1, 0, bytes(15))
