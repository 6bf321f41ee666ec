"""What scripts keep for nodes on a real server, words and beats: it is bounded, and it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from proxy.cluster.beat import BEAT
from proxy.cluster.blackboard import MOST_OF_PAGE, Blackboard, Sealed, page_of
from proxy.cluster.keys import Family, Keys
from proxy.cluster.seal import MAC_BYTES
from proxy.cluster.secret import ClusterSecret
from proxy.cluster.word import MOST_BYTES
from tests.integration.redis_servers import SECRET, Server, server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy.cluster.command import Command

MOST = 10
FOR_EVER_US = 2**52
FREE_MS, PURGE_MS, MOST_BEAT = 60_000, 90_000, 100
LIVES = ("a" * 16, "b" * 16)


@pytest.fixture
def redis(store_program: str, tmp_path: Path) -> Iterator[Server]:
    """Return a server."""
    with server(store_program, tmp_path / "redis") as started:
        yield started


@pytest.fixture
def board() -> Blackboard:
    """Return the blackboard of bans, which has room for a few."""
    return Blackboard(Keys("hkpguard", ClusterSecret(SECRET)), Family.BAN, MOST)


def do(redis: Server, command: Command) -> Any:
    """Do a script on a server."""
    return redis.ask("EVAL", command.what.source, len(command.keys), *command.keys, *command.args)  # type: ignore[arg-type,union-attr]


def sizes(redis: Server, said: Command) -> tuple[int, int]:
    """Return how many words there are, and how many ends."""
    words, ends = said.keys
    return redis.ask("HLEN", words), redis.ask("ZCARD", ends)  # type: ignore[arg-type]


def words(*numbers: int, until_us: int = FOR_EVER_US) -> list[Sealed]:
    """Return words, of which a later one ends later."""
    return [Sealed(b"%d" % number, until_us + number * 1000, b"word %d" % number) for number in numbers]


def test_words_that_are_over(redis: Server, board: Blackboard) -> None:
    """They go with the next one that is written."""
    said = board.say(words(1, 2, until_us=1000))
    do(redis, said)
    assert sizes(redis, said) == (2, 2)
    do(redis, board.say(words(3)))
    assert sizes(redis, said) == (1, 1)


def test_words_are_bounded(redis: Server, board: Blackboard) -> None:
    """Of too many those go that end first, and all end if nobody writes any more."""
    said = board.say(words(*range(MOST + 5)))
    do(redis, said)
    assert sizes(redis, said) == (MOST, MOST)
    page = page_of(do(redis, board.read(b"0")))
    assert sorted(page.words) == sorted(word.data for word in words(*range(5, MOST + 5)))  # type: ignore[type-var]
    assert all(redis.ask("PTTL", key) > 0 for key in said.keys)  # type: ignore[arg-type]


def test_words_of_others_are_bounded(redis: Server, board: Blackboard) -> None:
    """What is too long or too much of a page is not sent; a hash that outgrew its ends goes with the next word."""
    said = board.say(words(1))
    do(redis, said)
    key, _ = said.keys
    redis.ask("HSET", key, "long", "x" * (MAC_BYTES + MOST_BYTES + 1))  # type: ignore[arg-type]
    assert page_of(do(redis, board.read(b"0"))).words == [b"word 1"]
    for number in range(3 * MOST_OF_PAGE):
        redis.ask("HSET", key, number, "x")  # type: ignore[arg-type]
    assert len(page_of(do(redis, board.read(b"0"))).words) <= MOST_OF_PAGE
    do(redis, said)
    assert redis.ask("PTTL", key) <= 1  # type: ignore[arg-type]


def beat(redis: Server, node: str, life: str, *, left: int = 0, data: str = "beat", most: int = 3) -> tuple[bytes, Any]:
    """Beat; return what the script says of that, and all beats."""
    bounds = (most, FREE_MS, PURGE_MS, MOST_BEAT)
    _, word, beats = redis.ask("EVAL", BEAT.source, 1, "beats", node, life, left, data, 1, *bounds)
    return word, beats


def test_beats(redis: Server) -> None:
    """A name is of who was there first, until he leaves; there is room for so many; what is too long is not sent."""
    first, second = LIVES
    assert beat(redis, "x", first) == (b"ok", [b"beat"])
    assert beat(redis, "x", second, data="other") == (b"taken", [b"beat"])
    assert beat(redis, "x", second, left=1) == (b"taken", [b"beat"])
    assert beat(redis, "x", first, left=1, data="gone") == (b"ok", [b"gone"])
    assert beat(redis, "x", second, data="other") == (b"ok", [b"other"])
    assert beat(redis, "y", first)[0] == beat(redis, "z", first)[0] == b"ok"
    assert beat(redis, "w", first)[0] == b"full"
    assert 0 < redis.ask("PTTL", "beats") <= PURGE_MS
    redis.ask("HSET", "beats", "z", "9" * 13 + first + "0" + "x" * (MOST_BEAT + 1))
    assert sorted(beat(redis, "x", second, data="other")[1]) == [b"beat", b"other"]


@pytest.mark.parametrize("planted", ["", "x", "0" * 13 + "f" * 16 + "0", "nan", "\0" * 40, "9" * 400])
def test_beats_of_others(redis: Server, planted: str) -> None:
    """Whatever stands in the table, the script answers, and keeps no more than there may be."""
    redis.ask("HSET", "beats", "y", planted)
    word, _ = beat(redis, "x", LIVES[0])
    assert word == b"ok"
    for number in range(5):
        redis.ask("HSET", "beats", f"more-{number}", planted)
    assert beat(redis, "x", LIVES[0])[0] in {b"ok", b"full"}
    assert redis.ask("HLEN", "beats") <= 3


@pytest.mark.parametrize("which", [0, 1], ids=["words", "ends"])
def test_what_is_no_table_is_replaced(redis: Server, board: Blackboard, which: int) -> None:
    """A key of another type where words or their ends should be silences nobody: it goes with the next word."""
    said = board.say(words(1))
    redis.ask("SET", said.keys[which], "x")  # type: ignore[arg-type]
    assert page_of(do(redis, board.read(b"0"))).words == []
    do(redis, said)
    assert sizes(redis, said) == (1, 1)
    assert page_of(do(redis, board.read(b"0"))).words == [b"word 1"]


def test_what_is_no_table_of_beats_is_replaced(redis: Server) -> None:
    """Who beats next makes a new table."""
    redis.ask("SET", "beats", "x")
    assert beat(redis, "x", LIVES[0]) == (b"ok", [b"beat"])
