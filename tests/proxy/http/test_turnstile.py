"""Places for costly requests: who gets one, who waits, who is turned away."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, cast

import pytest

from fastpath import Region, client_key
from fastpath.leases import Leases
from proxy.http.turnstile import MOST_WAITING, NO_LEASE, POLL_SECONDS, WAITING_TIMES, Turnstile
from proxy.policy.policy import Cap
from tests.proxy.http.harness import Timer

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

SECOND = 1_000_000_000
WORDS = 3
ONE_EACH = Cap(client=1, total=0, queue_ns=2 * SECOND, enforced=True)
ONE_FOR_ALL = Cap(client=0, total=1, queue_ns=2 * SECOND, enforced=True)
WORDS_CAP = Cap(client=2, total=8, queue_ns=2 * SECOND, enforced=True)  # the default of word searches
NO_QUEUE = Cap(client=1, total=0, queue_ns=0, enforced=True)
ALICE, BOB = client_key(bytes([192, 0, 2, 1])), client_key(bytes([192, 0, 2, 2]))


def others(count: int) -> list[int]:
    """Return that many clients."""
    return [client_key(bytes([10, 0, number >> 8, number & 255])) for number in range(count)]


class FakeLoop:
    """Keeps timers until somebody fires them."""

    def __init__(self) -> None:
        """No timer."""
        self.timers: list[Timer] = []

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Timer:
        """Keep the timer."""
        self.timers.append(Timer(delay, callback, args))
        return self.timers[-1]


class FakeClock:
    """A clock that stands still."""

    now_ns = 1000 * SECOND

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ns


class Request:
    """An entrant that notes what happened to it; `at_once` makes it leave as soon as it is let in."""

    def __init__(self, world: World, key: int, cap: Cap, *, at_once: bool = False) -> None:
        """Come to the turnstile."""
        self.world = world
        self.key = key
        self.then: Callable[[], object] = lambda: None
        self.lease = NO_LEASE
        self.outcome = ""
        self.at_once = at_once
        self.takes_along: Request | None = None
        world.turnstile.enter(self, key, cap)

    def entered(self) -> None:
        """Note it."""
        self.outcome += "in"
        self.world.latest = self
        self.then()
        if self.takes_along is not None:
            self.world.turnstile.leave(self.takes_along)
        if self.at_once:
            self.world.turnstile.leave(self)

    def turned_away(self) -> None:
        """Note it, and leave as an exchange does."""
        self.outcome += "away"
        self.world.turnstile.leave(self)
        self.then()


class World:
    """A turnstile of one worker, a clock, and the leases of two workers.

    Attributes:
        latest: Who was let in last.

    """

    latest: Request

    def __init__(self) -> None:
        """Nobody is here."""
        self.region = Region.create(clients=1024, workers=2, upstreams=0)
        self.clock = FakeClock()
        self.loop = FakeLoop()
        self.turnstile = Turnstile(cast("AbstractEventLoop", self.loop), self._leases(0), WORDS, self.clock)
        self.elsewhere = self._leases(1)
        self.region.close()

    def _leases(self, worker: int) -> Leases:
        return Leases(self.region.leases, self.region.generations, worker, self.region.secret)

    def request(self, key: int = ALICE, cap: Cap = ONE_EACH, *, at_once: bool = False) -> Request:
        """Make a request come."""
        return Request(self, key, cap, at_once=at_once)

    def poll(self) -> None:
        """Let the timer of the queue go off."""
        self.loop.timers.pop().fire()


def test_place_is_free() -> None:
    """Who finds a place enters at once, and nothing is left behind when it leaves."""
    world = World()
    request = world.request()
    assert request.outcome == "in"
    world.turnstile.leave(request)
    assert request.lease == NO_LEASE
    assert world.request().outcome == "in"


def test_place_that_comes_free_is_passed_on_at_once() -> None:
    """The next in the queue enters when somebody leaves, without waiting for a timer."""
    world = World()
    first, second, third = (world.request() for _ in range(3))
    assert (first.outcome, second.outcome, third.outcome) == ("in", "", "")
    world.turnstile.leave(first)
    assert (second.outcome, third.outcome) == ("in", "")
    world.turnstile.leave(second)
    assert third.outcome == "in"


def test_client_at_its_cap_does_not_hold_up_others() -> None:
    """A client that waits for its own place does not block one that has none yet."""
    world = World()
    world.request(ALICE)
    waiting = world.request(ALICE)
    other = world.request(BOB)
    world.poll()
    assert (waiting.outcome, other.outcome) == ("", "in")


def test_total_cap_counts_all_clients() -> None:
    """Where the class has one place, the second client waits."""
    world = World()
    first, second = world.request(ALICE, ONE_FOR_ALL), world.request(BOB, ONE_FOR_ALL)
    assert (first.outcome, second.outcome) == ("in", "")
    world.turnstile.leave(first)
    assert second.outcome == "in"


def test_without_a_queue_one_is_turned_away_at_once() -> None:
    """Where the class allows no wait there is none."""
    world = World()
    world.request(cap=NO_QUEUE)
    assert world.request(cap=NO_QUEUE).outcome == "away"
    assert not world.loop.timers


def test_wait_ends_after_queue_ns() -> None:
    """Who found no place in time is turned away; 1 ns earlier it still waits."""
    world = World()
    world.request()
    waiting = world.request()
    world.clock.now_ns += ONE_EACH.queue_ns - 1
    world.poll()
    assert waiting.outcome == ""
    world.clock.now_ns += 1
    world.poll()
    assert waiting.outcome == "away"
    assert not world.loop.timers


def test_place_given_back_by_another_worker_is_found() -> None:
    """What another worker gives back is noticed by the next look, soon enough for a person not to notice."""
    world = World()
    lease = world.elsewhere.acquire(WORDS, ALICE, 1, 0)
    waiting = world.request()
    world.elsewhere.release(lease)
    assert waiting.outcome == ""
    assert world.loop.timers[-1].delay_seconds == POLL_SECONDS <= 0.05
    world.poll()
    assert waiting.outcome == "in"


def test_there_is_one_timer_for_the_queue() -> None:
    """However many wait, one timer looks after them, and none when nobody waits."""
    world = World()
    first = world.request()
    for _ in range(5):
        world.request(at_once=True)
    assert len(world.loop.timers) == 1
    world.turnstile.leave(first)
    world.poll()
    assert not world.loop.timers


def test_who_left_the_queue_is_not_called() -> None:
    """A client that goes away while it waits takes no place."""
    world = World()
    first, gone, last = (world.request() for _ in range(3))
    world.turnstile.leave(gone)
    world.turnstile.leave(first)
    assert (gone.outcome, last.outcome) == ("", "in")


def test_newcomer_does_not_overtake() -> None:
    """A place that is free when somebody comes goes to who waits, not to who comes."""
    world = World()
    lease = world.elsewhere.acquire(WORDS, ALICE, 0, 1)
    waiting = world.request(ALICE, ONE_FOR_ALL)
    world.elsewhere.release(lease)
    late = world.request(BOB, ONE_FOR_ALL)
    assert (waiting.outcome, late.outcome) == ("in", "")


def test_queue_is_bounded() -> None:
    """A full queue turns away at once."""
    world = World()
    world.request(ALICE, ONE_FOR_ALL)
    waiting = [world.request(key, ONE_FOR_ALL) for key in others(MOST_WAITING)]
    assert {each.outcome for each in waiting} == {""}
    assert world.request(ALICE, ONE_FOR_ALL).outcome == "away"
    assert {each.outcome for each in waiting} == {""}


def test_full_queue_makes_room_for_who_has_no_turn_in_it() -> None:
    """The last request of the client that has most of the queue gives way; its own next one does not get in."""
    world = World()
    world.request(ALICE, ONE_FOR_ALL)
    waiting = [world.request(BOB, ONE_FOR_ALL) for _ in range(MOST_WAITING)]
    assert world.request(BOB, ONE_FOR_ALL).outcome == "away"
    assert world.request(ALICE, ONE_FOR_ALL).outcome == ""
    assert [each.outcome for each in waiting] == [""] * (MOST_WAITING - 1) + ["away"]


def test_room_that_is_taken_by_who_gives_it() -> None:
    """A client that is turned away for another, and comes back at once, is the one that has the room."""
    world = World()
    world.request(ALICE, ONE_FOR_ALL)
    first, *_ = [world.request(key, ONE_FOR_ALL) for key in others(MOST_WAITING - 1)]
    second = world.request(others(1)[0], ONE_FOR_ALL)
    second.then = lambda: world.request(BOB, ONE_FOR_ALL)
    assert world.request(ALICE, ONE_FOR_ALL).outcome == "away"
    assert (first.outcome, second.outcome) == ("", "away")


def test_rounds() -> None:
    """Who comes last is let in after one request of each of the others, and not after all that they have queued."""
    world = World()
    running = world.request(ALICE, ONE_FOR_ALL)
    entered: list[str] = []
    for name, key in [("alice", ALICE)] * 3 + [("bob", BOB)] * 3 + [("carol", others(1)[0])]:
        request = world.request(key, ONE_FOR_ALL, at_once=True)
        request.then = functools.partial(entered.append, name)
    world.turnstile.leave(running)
    assert entered == ["alice", "bob", "carol", "alice", "bob", "alice", "bob"]


def test_who_comes_back_has_no_turns_saved_up() -> None:
    """Rounds in which a client did not wait are none of its own."""
    world = World()
    running = world.request(ALICE, ONE_FOR_ALL)
    entered: list[str] = []
    for turn in range(5):
        world.request(ALICE, ONE_FOR_ALL).then = functools.partial(entered.append, f"alice {turn}")
    for _ in range(3):
        world.turnstile.leave(running)
        running = world.latest
    for _ in range(2):
        world.request(BOB, ONE_FOR_ALL, at_once=True).then = functools.partial(entered.append, "bob")
    while running.lease != NO_LEASE:
        world.turnstile.leave(running)
        running = world.latest
    assert entered == ["alice 0", "alice 1", "alice 2", "bob", "alice 3", "bob", "alice 4"]


@pytest.mark.parametrize("clients", [4, 8, 16, 100])
def test_clients_that_never_stop_starve_nobody(clients: int) -> None:
    """Word searches: however much others have queued, one more client waits for one search of each of them."""
    world = World()
    crowd = [world.request(key, WORDS_CAP) for key in others(clients) for _ in range(2 + 2 * WAITING_TIMES)]
    assert sum(each.outcome == "in" for each in crowd) == min(2 * clients, WORDS_CAP.total)
    honest = world.request(ALICE, WORDS_CAP)
    searches = 0
    while honest.outcome == "":
        first = next(each for each in crowd if each.lease != NO_LEASE)
        crowd += [world.request(first.key, WORDS_CAP) for _ in range(2 * WAITING_TIMES)]
        world.turnstile.leave(first)
        crowd.remove(first)
        searches += 1
    assert honest.outcome == "in"
    assert searches <= clients + 1  # the last one makes room for the honest one


def test_one_client_never_has_all_places() -> None:
    """Word searches: two of eight places, and the third of its requests waits up to two seconds, then it gets 429."""
    world = World()
    mine = [world.request(ALICE, WORDS_CAP) for _ in range(8)]
    assert [each.outcome for each in mine] == ["in", "in"] + [""] * 6
    assert [world.request(key, WORDS_CAP).outcome for key in others(6)] == ["in"] * 6
    world.clock.now_ns += 2 * SECOND
    world.poll()
    assert [each.outcome for each in mine] == ["in", "in"] + ["away"] * 6


def test_one_client_has_its_part_of_the_queue() -> None:
    """Requests of one client beyond its part are turned away at once, and others still queue."""
    world = World()
    waiting = [world.request(ALICE) for _ in range(1 + WAITING_TIMES)]
    assert {each.outcome for each in waiting[1:]} == {""}
    assert world.request(ALICE).outcome == "away"
    assert world.request(BOB).outcome == "in"


def test_who_left_makes_room_in_the_queue() -> None:
    """Clients that went away do not fill the queue for those who wait."""
    world = World()
    world.request()
    for _ in range(MOST_WAITING):
        world.turnstile.leave(world.request())
    assert world.request().outcome == ""


def test_request_that_is_over_as_soon_as_it_is_let_in() -> None:
    """A request whose upstream fails at once leaves from within `entered`; the others get their turn all the same."""
    world = World()
    first = world.request()
    others = [world.request(at_once=True) for _ in range(3)]
    world.turnstile.leave(first)
    assert [each.outcome for each in others] == ["in"] * 3
    assert world.request().outcome == "in"


def test_request_that_is_over_as_soon_as_it_is_let_in_by_a_look() -> None:
    """The same from the timer, with somebody behind who must go on waiting."""
    world = World()
    lease = world.elsewhere.acquire(WORDS, ALICE, 1, 0)
    first = world.request(ALICE, at_once=True)
    world.request(BOB)
    second = world.request(ALICE, at_once=True)
    blocked = world.request(BOB)
    world.elsewhere.release(lease)
    world.poll()
    assert (first.outcome, second.outcome, blocked.outcome) == ("in", "in", "")
    assert len(world.loop.timers) == 1


def test_request_that_takes_another_one_along() -> None:
    """Who is let in may make another one in the queue leave; that one is not called."""
    world = World()
    first, second, third = (world.request(cap=ONE_FOR_ALL) for _ in range(3))
    second.takes_along = third
    second.at_once = True
    world.turnstile.leave(first)
    assert (second.outcome, third.outcome) == ("in", "")
    assert world.request().outcome == "in"


def test_each_is_told_once() -> None:
    """Nobody enters twice, or enters and is turned away."""
    world = World()
    first = world.request()
    others = [world.request(at_once=number % 2 == 0) for number in range(6)]
    world.clock.now_ns += ONE_EACH.queue_ns
    world.turnstile.leave(first)
    while world.loop.timers:
        world.poll()
    assert all(each.outcome in {"in", "away"} for each in others)
