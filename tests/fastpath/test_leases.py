"""Leases: caps that hold among processes and survive them."""

from collections.abc import Callable
from multiprocessing.process import BaseProcess

import pytest

from fastpath.leases import CLIENT_BUSY, LEASE_BYTES, MAX_CLIENT_CAP, MAX_TOTAL_CAP, TOTAL_BUSY, Leases

SECRET = bytes(range(16))
WORDS, UPLOAD = 3, 4
ALICE, BOB = 7, 8

Shared = Callable[[int], memoryview]
Together = Callable[[Callable[[int], None], int], None]
Start = Callable[[Callable[[int], None], int], list[BaseProcess]]


class House:
    """The leases of all workers over one memory."""

    def __init__(self, shared: Shared) -> None:
        """Make empty memory for four workers in their first generation."""
        self.memory = shared(LEASE_BYTES)
        self.generations = shared(32).cast("Q")
        self.words = self.memory.cast("Q")

    def worker(self, worker: int) -> Leases:
        """Return the leases of a worker of the present generation."""
        return Leases(self.memory, self.generations, worker, SECRET)

    def held(self) -> int:
        """Return the number of words in use, dead ones too."""
        return sum(word != 0 for word in self.words)


@pytest.fixture
def house(shared: Shared) -> House:
    """Return empty leases for four workers."""
    return House(shared)


def test_a_client_has_its_cap(house: House) -> None:
    """A client holds as many as its cap says, in all workers together, and again after a release."""
    mine, theirs = house.worker(0), house.worker(1)
    handles = [mine.acquire(WORDS, ALICE, 2, 0), theirs.acquire(WORDS, ALICE, 2, 0)]
    assert min(handles) >= 0
    assert [leases.acquire(WORDS, ALICE, 2, 0) for leases in (mine, theirs)] == [CLIENT_BUSY] * 2
    theirs.release(handles[1])
    assert mine.acquire(WORDS, ALICE, 2, 0) >= 0


def test_a_class_has_its_cap(house: House) -> None:
    """A class is held by as many as its cap says, whoever they are; the refused client keeps no place."""
    mine = house.worker(0)
    handles = [mine.acquire(WORDS, client, 1, 3) for client in range(1, 4)]
    assert mine.acquire(WORDS, BOB, 1, 3) == TOTAL_BUSY
    mine.release(handles[0])
    assert mine.acquire(WORDS, BOB, 1, 3) >= 0


def test_classes_and_clients_are_apart(house: House) -> None:
    """A full client, or class, is not in the way of another."""
    mine = house.worker(0)
    mine.acquire(WORDS, ALICE, 1, 1)
    assert mine.acquire(UPLOAD, ALICE, 1, 1) >= 0
    assert mine.acquire(WORDS, BOB, 1, 2) >= 0


def test_no_cap_takes_nothing(house: House) -> None:
    """Without caps nothing is held, and the handle is good all the same."""
    mine = house.worker(0)
    for _ in range(1_000):
        mine.release(mine.acquire(WORDS, ALICE, 0, 0))
    assert mine.acquire(WORDS, ALICE, 0, 0) >= 0
    assert house.held() == 0


@pytest.mark.parametrize(("client_cap", "total_cap"), [(MAX_CLIENT_CAP, 0), (0, MAX_TOTAL_CAP), (5, 3), (3, 5)])
def test_everything_comes_back(house: House, client_cap: int, total_cap: int) -> None:
    """As many are held as the lesser cap says, and once released there is room for as many."""
    mine = house.worker(0)
    most = min(cap for cap in (client_cap, total_cap) if cap)
    for _ in range(2):
        handles = [mine.acquire(WORDS, ALICE, client_cap, total_cap) for _ in range(most)]
        assert min(handles) >= 0
        assert mine.acquire(WORDS, ALICE, client_cap, total_cap) < 0
        for handle in handles:
            mine.release(handle)
        assert house.held() == 0


def test_a_second_release_does_no_harm(house: House) -> None:
    """A handle that was released does not free the place of the next client."""
    mine = house.worker(0)
    handle = mine.acquire(WORDS, ALICE, 1, 1)
    mine.release(handle)
    mine.acquire(WORDS, BOB, 1, 1)
    mine.release(handle)
    assert mine.acquire(WORDS, ALICE, 1, 1) == TOTAL_BUSY


def test_a_dead_worker_holds_nothing(house: House) -> None:
    """With a new generation the leases of the old one are free, and it cannot release those of the new."""
    old = house.worker(0)
    handle = old.acquire(WORDS, ALICE, 1, 1)
    assert house.worker(1).acquire(WORDS, ALICE, 1, 1) == CLIENT_BUSY
    house.generations[0] += 1
    new = house.worker(0)
    assert new.acquire(WORDS, ALICE, 1, 1) >= 0
    old.release(handle)
    assert house.worker(1).acquire(WORDS, ALICE, 1, 1) == CLIENT_BUSY


def test_a_generation_wraps(house: House) -> None:
    """Only 16 bits of the generation are in a lease; the rest does not disturb."""
    house.generations[0] = 0xFFFF
    handle = house.worker(0).acquire(WORDS, ALICE, 1, 1)
    house.generations[0] += 1
    assert handle >= 0
    assert house.worker(0).acquire(WORDS, ALICE, 1, 1) >= 0


def test_a_set_of_others_is_busy(house: House) -> None:
    """If the places of a set are held by other clients a newcomer is refused, not let through."""
    mine = house.worker(0)
    answers = [mine.acquire(WORDS, client, 1, 0) for client in range(1, 50_001)]
    assert min(answers) == CLIENT_BUSY
    assert house.held() == sum(answer >= 0 for answer in answers)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((-1, ALICE, 1, 1), "bucket -1 not in 0..11"),
        ((12, ALICE, 1, 1), "bucket 12 not in 0..11"),
        ((WORDS, ALICE, -1, 1), "client_cap -1 not in 0..16"),
        ((WORDS, ALICE, 17, 1), "client_cap 17 not in 0..16"),
        ((WORDS, ALICE, 1, -1), "total_cap -1 not in 0..256"),
        ((WORDS, ALICE, 1, 257), "total_cap 257 not in 0..256"),
    ],
)
def test_out_of_range(house: House, arguments: tuple[int, int, int, int], text: str) -> None:
    """A wrong argument is the caller's bug and is named with its range."""
    with pytest.raises(ValueError, match=text):
        house.worker(0).acquire(*arguments)


@pytest.mark.parametrize("handle", [1 << 62, 4_096 * 16 + 1, (12 * 256 + 1) << 17])
def test_not_a_handle(house: House, handle: int) -> None:
    """A handle that points outside the memory is refused."""
    with pytest.raises(ValueError, match="is not a handle"):
        house.worker(0).release(handle)


@pytest.mark.parametrize("worker", [-1, 4])
def test_no_such_worker(house: House, worker: int) -> None:
    """A worker has a generation."""
    with pytest.raises(ValueError, match=f"worker {worker} not in 0..3"):
        house.worker(worker)


@pytest.mark.parametrize(("size", "generations"), [(LEASE_BYTES - 8, 8), (LEASE_BYTES, 0)])
def test_wrong_memory(size: int, generations: int) -> None:
    """Too little memory is refused."""
    with pytest.raises(ValueError, match="memory of the"):
        Leases(memoryview(bytearray(size)), memoryview(bytearray(generations)), 0, SECRET)


@pytest.mark.parametrize(("client_cap", "total_cap"), [(2, 0), (0, 2), (2, 2)])
def test_a_crowd_never_holds_too_many(
    house: House, shared: Shared, together: Together, client_cap: int, total_cap: int
) -> None:
    """Four processes that take and release, and report what they hold, never exceed the cap at once.

    Who is seen to hold, and took nothing anew while all were looked at, held when the look began.
    """
    holding, most, got = (shared(32).cast("Q") for _ in range(3))

    def work(i: int) -> None:
        mine = house.worker(i)
        for _ in range(3_000):
            handle = mine.acquire(WORDS, ALICE, client_cap, total_cap)
            if handle >= 0:
                got[i] += 1
                holding[i] = 1
                before, held, after = list(got), list(holding), list(got)
                most[i] = max(most[i], sum(a == b and h for a, b, h in zip(before, after, held, strict=True)))
                holding[i] = 0
                mine.release(handle)

    together(work, 4)
    assert max(most) <= 2
    assert sum(got) > 0
    assert house.held() == 0


def test_a_killed_holder_comes_free(house: House, shared: Shared, start: Start) -> None:
    """What a killed process held is free once its generation is over, not before."""
    held = shared(8).cast("Q")

    def work(i: int) -> None:
        mine = house.worker(i)
        held[0] = sum(mine.acquire(WORDS, ALICE, 3, 3) >= 0 for _ in range(3))
        while True:
            pass

    (victim,) = start(work, 1)
    while held[0] < 3:
        assert victim.is_alive()
    victim.kill()
    victim.join()
    assert house.worker(1).acquire(WORDS, ALICE, 3, 3) == CLIENT_BUSY
    house.generations[0] += 1
    assert min(house.worker(1).acquire(WORDS, ALICE, 3, 3) for _ in range(3)) >= 0
