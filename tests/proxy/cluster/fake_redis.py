"""A Redis that knows the scripts of members and releases, on virtual time; tests/integration has a real one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from proxy.cluster.beat import BEAT
from proxy.cluster.command import Command, Refusal, Script, StoreDown
from proxy.cluster.keys import Keys
from proxy.cluster.release import ASK, COUNT, LOOK, MOST_VOTES, RELEASE, VOTE, WITHDRAW
from proxy.cluster.seal import Seal
from proxy.cluster.secret import ClusterSecret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from proxy.cluster.command import Answer

SECRET = ClusterSecret("s" * 32)
EPOCH_MS = 1_795_249_901_000
LATENCY_S = 0.002


class FakeRedis:
    """What is stored.

    Attributes:
        values: Strings as bytes, hashes as dictionaries.
        answered: Votes on each question, when its release was made.

    """

    def __init__(self) -> None:
        """Begin empty."""
        self.values: dict[bytes, Any] = {}
        self.answered: list[tuple[bytes, list[bytes]]] = []
        self._ends_ms: dict[bytes, int] = {}
        self._scripts: dict[Script, Callable[..., Answer]] = {
            ASK: self._ask,
            BEAT: self._beat,
            COUNT: self._count,
            LOOK: self._look,
            RELEASE: self._release,
            VOTE: self._vote,
            WITHDRAW: self._withdraw,
        }

    @property
    def now_ms(self) -> int:
        """Its clock."""
        return EPOCH_MS + int(asyncio.get_running_loop().time() * 1000)

    def do(self, command: Command) -> Answer:
        """Do one command."""
        for key in [key for key, end_ms in self._ends_ms.items() if end_ms <= self.now_ms]:
            self._delete(key)
        if isinstance(command.what, Script):
            return self._scripts[command.what](command.keys, *command.args)
        [key] = command.keys
        match command.what, command.args:
            case "GETRANGE", (int() as start, int() as end):
                return bytes(self.values.get(key, b"")[start : end + 1])
            case "SETRANGE", (int() as start, bytes() as data):
                self.values[key] = self.values.get(key, b"")[:start] + data
            case "PEXPIRE", (int() as ttl_ms,):
                self._expire(key, ttl_ms)
        return 1

    def _delete(self, key: bytes) -> None:
        self.values.pop(key, None)
        self._ends_ms.pop(key, None)

    def _expire(self, key: bytes, ttl_ms: int) -> None:
        if key in self.values:
            self._ends_ms[key] = self.now_ms + ttl_ms

    def _set(self, key: bytes, value: bytes, ttl_ms: int) -> None:
        self.values[key] = value
        self._expire(key, ttl_ms)

    def _beat(self, keys: Sequence[bytes], *args: Any) -> Answer:
        node, life, left, beat, looks, most, free_ms, purge_ms, most_bytes = args
        beats: dict[str, tuple[int, str, int, bytes]] = self.values.setdefault(keys[0], {})
        word = b"ok"
        if beat:
            held = beats.get(node)
            if held and held[1] != life and not held[2] and self.now_ms - held[0] < free_ms:
                word = b"taken"
            elif not held and len(beats) >= most:
                word = b"full"
            elif not left or (held and held[1] == life):
                beats[node] = (self.now_ms, life, left, beat)
                self._expire(keys[0], purge_ms)
        for name, (at_ms, _, gone, _) in [*beats.items()]:
            if looks and self.now_ms - at_ms >= (purge_ms / 6 if gone else purge_ms):
                del beats[name]
        return [self.now_ms, word, [each[3] for each in beats.values() if len(each[3]) <= most_bytes] if looks else []]

    def _look(self, keys: Sequence[bytes]) -> Answer:
        return [self.now_ms, self.values.get(keys[0], b""), self.values.get(keys[1], b"")]

    def _ask(self, keys: Sequence[bytes], question: bytes, ttl_ms: int) -> Answer:
        if keys[0] in self.values:
            return 0
        self._set(keys[0], question, ttl_ms)
        self._delete(keys[1])
        return 1

    def _withdraw(self, keys: Sequence[bytes], question: bytes) -> Answer:
        if self.values.get(keys[0]) != question:
            return 0
        self._delete(keys[0])
        return 1

    def _vote(self, keys: Sequence[bytes], question: bytes, node: str, vote: bytes, ttl_ms: int) -> Answer:
        votes = self.values.setdefault(keys[1], {})
        if self.values.get(keys[0]) != question or (len(votes) >= MOST_VOTES and node not in votes):
            return 0
        votes[node] = vote
        self._expire(keys[1], ttl_ms)
        return 1

    def _count(self, keys: Sequence[bytes]) -> Answer:
        return list(self.values.get(keys[0], {}).values())

    def _release(self, keys: Sequence[bytes], before: bytes, release: bytes, question: bytes) -> Answer:
        if self.values.get(keys[0], b"") != before or (question and self.values.get(keys[1]) != question):
            return 0
        if question:
            self._delete(keys[1])
            votes = self.values.get(keys[1].replace(b":asked", b":votes"), {})
            self.answered.append((question, [*votes.values()]))
        self.values[keys[0]] = release
        return 1


class FakeStore:
    """A way to it.

    Attributes:
        up: Whether it is in reach.
        lose: Answers that are to be lost: what was asked is done, and nobody hears of it.

    """

    def __init__(self, redis: FakeRedis, node: str) -> None:
        """Of one node."""
        self.node = node
        self.keys = Keys("hkpguard", SECRET)
        self.seal = Seal(SECRET, "hkpguard")
        self.up = True
        self.lose = 0
        self.refuses = ""
        self._redis = redis

    async def pipeline(self, commands: Sequence[Command], *, seconds: float | None = None) -> list[Answer]:
        """See `Store.pipeline`."""
        assert seconds is None or seconds > 0
        await asyncio.sleep(LATENCY_S)
        if not self.up:
            raise StoreDown("it is out of reach")
        if self.refuses:
            return [Refusal(self.refuses) for _ in commands]
        answers = [self._redis.do(command) for command in commands]
        await asyncio.sleep(LATENCY_S)
        if self.lose:
            self.lose -= 1
            raise StoreDown("the answer was lost", maybe_done=True)
        return answers
