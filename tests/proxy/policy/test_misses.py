"""Searches that find nothing: who misses as people do pays nothing for it, who guesses pays more for each miss."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import Mode, bucket_key, client_key
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.policy.budgets import MISSES
from proxy.policy.judge import Client, Facts
from proxy.policy.policy import Policy
from tests.proxy.policy.tables_for_tests import tables_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
NOW = 1_000_000 * SECOND
CERT, IDENTITY, WORDS = OperationClass.CERT, OperationClass.IDENTITY, OperationClass.WORDS
ALICE, BOB = "192.0.2.1", "198.51.100.1"
HIT, MISS = 200, 404
FINGERPRINT, KEY_ID, ADDRESS = "A" * 40, "A" * 16, "a@example.org"
# A limit that nothing here exhausts; no token of it comes back in the time of a test.
ROOMY = {"BURST": "1000", "COUNT": "1", "PERIOD": "1d"}
LIMITS = {f"LIMITS__{name}__{key}": value for name in ("CERT", "IDENTITY", "WORDS") for key, value in ROOMY.items()}
INTERVAL_NS = 86_400 * SECOND


class World:
    """A policy, and clients whose requests are answered."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """Take settings without HKPGUARD_."""
        self.tables = tables_of()
        given = {**LIMITS, "LIMITS__TOTAL__MODE": "off", **(settings or {})}
        self.policy = Policy(Config.from_env({f"HKPGUARD_{name}": value for name, value in given.items()}), self.tables)
        self.now_ns = NOW

    def ask(self, status: int, subject: str = ADDRESS, kind: OperationClass = IDENTITY, address: str = ALICE) -> int:
        """Let a client ask, and the keyserver answer; return how many tokens of the class that took."""
        packed = ip_address(address).packed
        client = Client(packed, client_key(packed), 0, self.policy.profile(packed))
        before = self._owed(client, kind)
        self.policy.judge(Facts(client, kind, 1), self.now_ns)
        self.policy.misses.note(client, kind, subject, status, self.now_ns)
        return round((self._owed(client, kind) - before) / INTERVAL_NS)

    def paid(self, statuses: Iterable[int], subject: str = ADDRESS, kind: OperationClass = IDENTITY) -> list[int]:
        """Let the first client ask again and again; return what each request took."""
        return [self.ask(status, subject, kind) for status in statuses]

    def _owed(self, client: Client, kind: OperationClass) -> int:
        tats = self.tables.clients.peek(client.key)
        return max(tats[kind], NOW) if tats else NOW


@pytest.mark.parametrize(
    ("statuses", "subject", "kind", "dear"),
    [
        pytest.param(([MISS] * 7 + [HIT] * 3) * 30, ADDRESS, IDENTITY, 0, id="mail program, 70 % have no key"),
        pytest.param(([MISS] * 4 + [HIT]) * 60, ADDRESS, IDENTITY, 0, id="80 %"),
        pytest.param([MISS] * 20, ADDRESS, IDENTITY, 0, id="a letter to twenty without keys"),
        pytest.param([MISS] * 97 + [HIT] * 3, ADDRESS, IDENTITY, 77, id="dictionary, 97 % miss"),
        pytest.param([MISS] * 97 + [HIT] * 3, "alice", WORDS, 77, id="dictionary of words"),
        pytest.param([MISS] * 100, KEY_ID, CERT, 80, id="walk through key ids"),
        pytest.param([MISS] * 100, "A" * 8, CERT, 80, id="walk through short key ids"),
        pytest.param([MISS, HIT, HIT] * 100, KEY_ID, CERT, 0, id="refresh by key id, 100 of 300 unknown"),
        pytest.param([MISS, HIT, HIT] * 100, FINGERPRINT, CERT, 0, id="refresh, 100 of 300 unknown"),
        pytest.param([MISS] * 300, FINGERPRINT, CERT, 0, id="refresh, all unknown"),
        pytest.param([MISS] * 300, "A" * 32, CERT, 0, id="the same with keys of version 3"),
        pytest.param([500] * 100 + [410] * 100, ADDRESS, IDENTITY, 0, id="a keyserver that fails"),
        pytest.param([HIT] * 100, ADDRESS, IDENTITY, 0, id="onak, which answers 200 to all"),
    ],
)
def test_who_pays(statuses: list[int], subject: str, kind: OperationClass, dear: int) -> None:
    """Misses beyond twenty that no hits make up for cost three tokens, all other requests one."""
    paid = World().paid(statuses, subject, kind)
    assert sorted(paid) == [1] * (len(statuses) - dear) + [3] * dear


def test_harvester_pays_from_the_21st_miss_on() -> None:
    """No sooner; each hit, dear as they are to him, makes up for four misses."""
    assert World().paid([*[MISS] * 22, HIT, *[MISS] * 6]) == [*[1] * 20, 3, 3, 1, *[1] * 4, 3, 3]


def test_time_makes_up_for_misses() -> None:
    """A twentieth of the period for one of them, the period for all."""
    world = World()
    world.paid([MISS] * 30)
    world.now_ns += HOUR // 20
    assert world.paid([MISS] * 2) == [1, 3]
    world.now_ns += HOUR
    assert world.paid([MISS] * 21) == [*[1] * 20, 3]


@given(st.lists(st.sampled_from([HIT, MISS, MISS, MISS, MISS, MISS, 500]), max_size=200))
def test_first_dear_miss_ends_a_bad_stretch(statuses: list[int]) -> None:
    """It is the first that ends a stretch with more than twenty misses beyond four for each hit."""
    worth = {HIT: -4, MISS: 1, 500: 0}
    worst, expected = 0, None
    for number, status in enumerate(statuses):
        worst = max(0, worst + worth[status])  # the worst of all stretches that end here
        if worst > 20:
            expected = number
            break
    paid = World().paid(statuses)
    assert paid[:expected] == [1] * (len(statuses) if expected is None else expected)
    assert expected is None or paid[expected] == 3


def test_each_client_and_class_for_itself() -> None:
    """Others, and what the same client asks for otherwise, are not dearer."""
    world = World()
    world.paid([MISS] * 30)
    assert world.ask(MISS, address=BOB) == 1
    assert world.ask(MISS, "alice", WORDS) == 1
    assert world.ask(MISS, KEY_ID, CERT) == 1
    assert world.ask(MISS) == 3


def test_settings() -> None:
    """Each of them is heard."""
    world = World({"MISSES__MINIMUM": "10", "MISSES__PER_HIT": "1", "MISSES__PERIOD": "1m", "MISSES__FACTOR": "5"})
    assert world.paid([*[MISS] * 11, HIT, MISS, MISS]) == [*[1] * 10, 5, 1, 1, 5]
    world.now_ns += 6 * SECOND
    assert world.paid([MISS, MISS]) == [1, 5]


def test_it_refuses_nobody_by_itself() -> None:
    """Where the limit of the class is off, or only watched, a miss is a miss."""
    world = World({"LIMITS__IDENTITY__MODE": "off"})
    assert world.paid([MISS] * 30) == [0] * 30


@pytest.mark.parametrize("settings", [{"MODE": "shadow"}, {"MISSES__MODE": "shadow"}])
def test_shadow(settings: dict[str, str]) -> None:
    """Misses are counted for whoever asks the admin API, and cost nothing more."""
    world = World(settings)
    assert world.policy.misses.limit.mode is Mode.SHADOW
    assert world.paid([MISS] * 30) == [1] * 30
    assert world.tables.buckets.peek(_bucket(IDENTITY)) == NOW + HOUR


def test_off() -> None:
    """Nothing is counted."""
    world = World({"MISSES__MODE": "off"})
    assert world.paid([MISS] * 30) == [1] * 30
    assert world.tables.buckets.peek(_bucket(IDENTITY)) is None


def test_allowed_network() -> None:
    """Nothing is counted of those whom no limit touches."""
    world = World({"ALLOW": "192.0.2.0/24"})
    world.paid([MISS] * 30)
    assert world.tables.buckets.peek(_bucket(IDENTITY)) is None


def _bucket(kind: OperationClass) -> int:
    return bucket_key(MISSES, client_key(ip_address(ALICE).packed), kind)
