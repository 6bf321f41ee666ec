"""Bodies of requests: read whole and found good, within a bounded memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from proxy.hkp.bodies import BadBody
from proxy.http.chunks import ChunkError
from proxy.http.head import CHUNKED
from proxy.http.intake import BodyStore, Intake

if TYPE_CHECKING:
    from proxy.hkp.bodies import BodyReader

ALICE, BOB, CAROL = 1, 2, 3


class Evicted(list[int]):
    """Who had to make room, by client."""


class Strict:
    """A reader that objects to a word, or to the whole."""

    def __init__(self) -> None:
        """Nothing was read."""
        self.read = b""

    def feed(self, data: bytes) -> None:
        """Read on."""
        self.read += data
        if b"bad" in self.read:
            raise BadBody(422, "The word is bad.")

    def finish(self) -> object:
        """Return what was read, unless it is nothing."""
        if not self.read:
            raise BadBody(400, "There is nothing.")
        return self.read


class World:
    """A store of 80 bytes, of which each client may have 10."""

    def __init__(self, most_bytes: int = 80) -> None:
        """Nothing is kept."""
        self.store = BodyStore(most_bytes)
        self.evicted = Evicted()

    def begin(self, length: int, client: int = ALICE, reader: BodyReader | None = None, most: int = 100) -> Intake:
        """Begin with a body."""
        intake = Intake(length, client, self.store, most_bytes=most)

        def make_room() -> None:
            self.evicted.append(client)
            intake.release()

        intake.begin(reader, make_room)
        return intake


@pytest.mark.parametrize("pieces", [[b"keysGET"], [b"ke", b"ysGET"], [b"k", b"e", b"y", b"sGET"]])
def test_body_of_known_length(pieces: list[bytes]) -> None:
    """It ends where it said, however it was cut; what follows belongs to the next request."""
    intake = World().begin(4)
    rests = [intake.feed(piece) for piece in pieces]
    assert rests == [b""] * (len(pieces) - 1) + [b"GET"]
    assert (intake.done, b"".join(intake.pieces), intake.size) == (True, b"keys", 4)


def test_chunked_body() -> None:
    """Chunks are put together."""
    intake = World().begin(CHUNKED)
    assert intake.feed(b"2\r\nke\r\n2\r\nys\r\n0\r\n\r\nGET") == b"GET"
    assert b"".join(intake.pieces) == b"keys"


def test_broken_chunk() -> None:
    """Where the framing is broken, nothing can be said about the rest."""
    with pytest.raises(ChunkError):
        World().begin(CHUNKED).feed(b"X\r\n")


def test_body_that_grows_beyond_the_limit() -> None:
    """413 as soon as it is known, and no byte more is kept."""
    intake = World().begin(CHUNKED, most=6)
    intake.feed(b"6\r\nsixsix\r\n")
    with pytest.raises(BadBody) as objection:
        intake.feed(b"1\r\nx\r\n")
    assert objection.value.status == 413
    assert intake.size == 6


def test_reader_sees_every_piece_and_the_end() -> None:
    """What it finds is kept with the body."""
    intake = World().begin(4, reader=Strict())
    intake.feed(b"ke")
    assert intake.found is None
    intake.feed(b"ys")
    assert intake.found == b"keys"


@pytest.mark.parametrize(
    ("length", "before", "piece", "status"), [(4, b"ba", b"d!", 422), (CHUNKED, b"0\r\n", b"\r\n", 400)]
)
def test_reader_objects(length: int, before: bytes, piece: bytes, status: int) -> None:
    """In the middle, or at the end."""
    intake = World().begin(length, reader=Strict())
    intake.feed(before)
    with pytest.raises(BadBody) as objection:
        intake.feed(piece)
    assert objection.value.status == status


def test_what_follows_a_body_that_is_refused() -> None:
    """The reader objects to the body, not to the request behind it."""
    intake = World().begin(4, reader=Strict())
    with pytest.raises(BadBody):
        intake.feed(b"bad!GET")
    assert (intake.done, intake.rest) == (True, b"GET")
    half = World().begin(8, reader=Strict())
    with pytest.raises(BadBody):
        half.feed(b"bad!")
    assert (half.done, half.rest) == (False, b"")


def test_tolerant_of_objections() -> None:
    """What a reader objects to in vain is told, once, and the body is kept whole."""
    intake = Intake(8, ALICE, BodyStore(80), most_bytes=100)
    intake.begin(Strict(), intake.release, tolerant=True)
    intake.feed(b"bad!")
    intake.feed(b"more")
    assert intake.objection is not None
    assert (intake.done, intake.found, b"".join(intake.pieces)) == (True, None, b"bad!more")


def test_small_pieces_take_no_more_than_they_hold() -> None:
    """A body in the smallest of pieces takes the memory that it is counted for, and a little."""
    for size in (1, 2, 100, 5_000):
        intake = World(1_000_000).begin(CHUNKED, most=100_000)
        sent = b""
        for number in range(20_000 // size):
            piece = number.to_bytes(2) * (size // 2) or b"k"
            intake.feed(b"%x\r\n%b\r\n" % (len(piece), piece))
            sent += piece
        assert sum(map(sys.getsizeof, intake.pieces)) + sys.getsizeof(intake.pieces) < 1.05 * intake.size + 500
        intake.feed(b"0\r\n\r\n")
        assert b"".join(intake.pieces) == sent


def test_part_of_one_client() -> None:
    """One client cannot have more than its part, in one body or in several; another can."""
    world = World()
    first, second = world.begin(20), world.begin(20)
    first.feed(b"k" * 6)
    with pytest.raises(BadBody) as objection:
        second.feed(b"k" * 5)
    assert objection.value.status == 429
    world.begin(20, BOB).feed(b"k" * 10)


def test_room_comes_back() -> None:
    """A body that is done with leaves nothing behind, in the store and in its client's part."""
    world = World()
    for _ in range(100):
        intake = world.begin(10)
        intake.feed(b"k" * 10)
        intake.release()
    assert world.store.used_bytes == 0


def test_who_takes_longest_makes_room() -> None:
    """When the store is full, the oldest body that is not complete is given up for a new one."""
    world = World(80)
    complete = world.begin(10, client=100)
    complete.feed(b"k" * 10)
    for client in range(7):
        world.begin(20, client).feed(b"k" * 10)
    assert world.store.used_bytes == 80
    newcomer = world.begin(5, client=101)
    newcomer.feed(b"hello")
    assert world.evicted == [0]
    assert (b"".join(newcomer.pieces), b"".join(complete.pieces)) == (b"hello", b"k" * 10)


def test_room_that_a_client_makes_for_itself() -> None:
    """A client whose own older body makes room has its part free again when all is done."""
    world = World(80)
    older, newer = world.begin(10), world.begin(10)
    older.feed(b"k" * 5)
    others = [world.begin(10, client) for client in range(100, 107)]
    for other in others:
        other.feed(b"k" * 10)
    world.begin(5, client=107).feed(b"k" * 5)
    newer.feed(b"k" * 5)
    assert world.evicted == [ALICE]
    for each in (newer, *others):
        each.release()
    world.begin(10).feed(b"k" * 10)


def test_complete_bodies_are_not_given_up() -> None:
    """When the store is full of complete bodies, a newcomer finds no room."""
    world = World(80)
    for client in range(8):
        world.begin(10, client).feed(b"k" * 10)
    with pytest.raises(BadBody) as objection:
        world.begin(5, client=101).feed(b"hello")
    assert objection.value.status == 429
    assert world.evicted == []
