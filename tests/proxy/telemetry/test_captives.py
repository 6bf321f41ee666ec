"""What held clients sent, for the operator: who, how often, with what; bounded whatever they do."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import Record, client_key
from proxy.policy.actions import Action
from proxy.telemetry.captives import MOST_PATHS, MOST_TOOLS, NOT_SHOWN, Captive, Captives
from proxy.telemetry.numbers import SHADOW
from tests.proxy.admin.records_for_tests import record

ALICE = client_key(bytes([192, 0, 2, 1]))


def visit(path: bytes = b"/.env", tool: bytes = b"curl/8.0", *, number: int = 1, time_ns: int = 0) -> Record:
    """Return the record of a connection of the client with this number that was put into the tarpit."""
    address = f"192.0.{2 + number // 256}.{number % 256}"
    return record(address, action=Action.TARPIT, subject=path + b"\t" + tool, time_ns=time_ns)


def only(*records: Record) -> Captive:
    """Return what is known of the one client of these records."""
    captives = Captives()
    captives.feed(records)
    (captive,) = captives.list(10)
    return captive


def test_nobody() -> None:
    """Nobody was held."""
    captives = Captives()
    captives.feed([])
    assert captives.list(10) == ()


def test_a_profile() -> None:
    """Who, from when to when, how often, with what tools, after what paths."""
    visits = [visit(time_ns=7), visit(b"/wp-admin", time_ns=9), visit(b"/.env", b"zgrab", time_ns=8)]
    assert only(*visits) == Captive(
        client=ALICE, first_ns=7, last_ns=9, connections=3, tools=("curl/8.0", "zgrab"), paths=("/.env", "/wp-admin")
    )


@pytest.mark.parametrize("action", [*(each for each in Action if each != Action.TARPIT), SHADOW + Action.TARPIT])
def test_others_are_none_of_its_business(action: int) -> None:
    """A record whose client was not held is passed over, and so is one that a shadow mode would have held."""
    captives = Captives()
    captives.feed([visit()._replace(action=action)])
    assert captives.list(10) == ()


@pytest.mark.parametrize(
    ("subject", "paths", "tools"),
    [
        (b"/.env\tcurl", ("/.env",), ("curl",)),
        (b"/.env", ("/.env",), ()),
        (b"/.env\t", ("/.env",), ()),
        (b"\tcurl", (), ("curl",)),
        (b"", (), ()),
        (b"/a\tb\tc", ("/a",), (f"b{NOT_SHOWN}c",)),
        (b"/\x1b[2J\x00\x7f\r\n\tx\x9b", (f"/{NOT_SHOWN}[2J{NOT_SHOWN * 4}",), (f"x{NOT_SHOWN}",)),
        ("/é\u202e\u2028\u0085\t\u200f".encode(), (f"/é{NOT_SHOWN * 3}",), (NOT_SHOWN,)),
        ("/é".encode()[:-1] + b"\t" + b"\xff\xfe", (f"/{NOT_SHOWN}",), (NOT_SHOWN * 2,)),
        (b"/" + b"p" * 60, ("/" + "p" * 30,), ()),
        (b"/\t" + b"t" * 60, ("/",), ("t" * 32,)),
        (b"/with space", ("/with space",), ()),
    ],
)
def test_words(subject: bytes, paths: tuple[str, ...], tools: tuple[str, ...]) -> None:
    """Path and tool are apart, cut, and without what moves the cursor or turns the text round; none is empty."""
    captive = only(visit()._replace(subject=subject))
    assert (captive.paths, captive.tools) == (paths, tools)


def test_the_first_words_are_kept() -> None:
    """Of many tools and paths the first are kept, each once; the connections count on."""
    captive = only(*(visit(b"/%d" % (i // 2), b"tool-%d" % (i // 2)) for i in range(100)))
    assert captive.connections == 100
    assert captive.tools == tuple(f"tool-{i}" for i in range(MOST_TOOLS))
    assert captive.paths == tuple(f"/{i}" for i in range(MOST_PATHS))


def test_the_newest_come_first() -> None:
    """Who was seen last comes first, a client that came back too, and no more than asked for."""
    captives = Captives()
    captives.feed([visit(number=number, time_ns=number) for number in (1, 2, 3)])
    captives.feed([visit(number=1, time_ns=4)])
    assert [captive.last_ns for captive in captives.list(10)] == [4, 3, 2]
    assert [captive.last_ns for captive in captives.list(2)] == [4, 3]
    assert captives.list(0) == captives.list(-1) == ()


def test_the_least_recently_seen_goes_first() -> None:
    """Where there is no room for another client, the one that stayed away longest is forgotten, with its past."""
    captives = Captives(most=2)
    captives.feed([visit(number=1, time_ns=1), visit(number=2, time_ns=2), visit(number=1, time_ns=3)])
    captives.feed([visit(number=3, time_ns=4)])
    assert [captive.first_ns for captive in captives.list(10)] == [4, 1]
    captives.feed([visit(number=2, time_ns=5)])
    assert [(captive.first_ns, captive.connections) for captive in captives.list(10)] == [(5, 1), (4, 1)]


def test_times_of_several_workers() -> None:
    """Records a little out of order do not turn the times of a client round."""
    captive = only(visit(time_ns=5), visit(time_ns=3), visit(time_ns=4))
    assert (captive.first_ns, captive.last_ns) == (3, 5)


@pytest.mark.parametrize("most", [0, -1])
def test_room_for_one_at_least(most: int) -> None:
    """No room at all is a mistake of the caller."""
    with pytest.raises(ValueError, match=f"most {most} is less than 1"):
        Captives(most)


@given(subjects=st.lists(st.tuples(st.integers(1, 9), st.binary(max_size=64)), max_size=200), most=st.integers(1, 5))
def test_bounded_in_every_way(subjects: list[tuple[int, bytes]], most: int) -> None:
    """Whatever is sent: so many clients, tools and paths, so long, and nothing but printable characters."""
    captives = Captives(most)
    captives.feed(visit(number=number)._replace(subject=subject) for number, subject in subjects)
    found = captives.list(1000)
    assert len(found) == min(most, len({number for number, _ in subjects}))
    for captive in found:
        assert len(captive.tools) <= 4
        assert len(captive.paths) <= 16
        assert all(0 < len(tool) <= 32 for tool in captive.tools)
        assert all(0 < len(path) <= 48 for path in captive.paths)
        assert all(each.isprintable() or each == NOT_SHOWN for word in captive.tools + captive.paths for each in word)


def test_memory() -> None:
    """A client that tries everything costs less than 4 KB."""
    captives = Captives()
    captives.feed(visit(b"/%03d" % i + bytes(60), b"x" * i) for i in range(100))
    (profile,) = captives._profiles.values()
    words = profile.tools + profile.paths
    assert len(words) == MOST_TOOLS + MOST_PATHS
    held = [profile, profile.tools, profile.paths, *words]
    assert sum(map(sys.getsizeof, held)) < 4_000
