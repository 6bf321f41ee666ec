"""Who is in the cluster: each node says so each second, and looks who else does.

    {0}:member:beats     a hash, node -> when (of Redis), life, whether it left, sealed beat

A life is one start of a node. Two lives of one name at a time are two guards that somebody gave the same name: the
script lets the one go on that was there first, and the other stays out, says so, and asks again with each beat. What
was seen before is seen no more when it has not beaten for three looks in a row: by the numbers in sealed beats, which
nobody can forge or repeat, whatever Redis says of the time. A node that goes says it, and is not waited for.

A table of a thousand nodes is some 300 KB, so it is not read by each of them each second: see `_look_ns`.

Nodes of another protocol are listed, and neither counted nor asked (`proxy.cluster.releases`): what they would say is
not known here. Nodes of other versions with the same protocol work together.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fastpath import monotonic_ns
from proxy.cluster.command import Command, Refusal, Script, StoreDown
from proxy.cluster.keys import FAMILIES, Family
from proxy.cluster.seal import Forged
from proxy.plugins.events import NodeJoined, NodeLeft
from proxy.settings.cluster import NODE
from proxy.settings.kinds import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client.core import Metric

    from proxy.cluster.command import Answer
    from proxy.cluster.keys import Keys
    from proxy.cluster.seal import Seal
    from proxy.plugins.events import Event

PROTOCOL: Final = 1  # of all that nodes say to each other
MOST_MEMBERS: Final = 1024
BEAT_S: Final = 1.0
MISSED: Final = 3  # looks without a new beat, until a node is lost
MISSED_AFTER_OUTAGE: Final = 10  # others come back one after the other
LENIENT_LOOKS: Final = 10  # after an outage
FORGOTTEN: Final = 60  # looks
FRESH_MS: Final = 5000  # how old the first beat may be that is seen of a life
TAKEN_MS: Final = 4000  # a name is free after so long
MEMBERS_A_SECOND: Final = 50  # whose beats one node reads; see `_look_ns`
MOST_BEAT_BYTES: Final = 1024
KIND: Final = "member"
KEPT: Final = "members"  # in the folder of the cluster: how many were seen last

_BEAT: Final = Script(
    """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node, life, left, beat = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local most, free_ms, purge_ms, most_bytes = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local answer = 'ok'
if redis.call('HLEN', KEYS[1]) > most then redis.call('DEL', KEYS[1]) end
if beat ~= '' then
  local held = redis.call('HGET', KEYS[1], node)
  local other = held and string.sub(held, 14, 29) ~= life and string.sub(held, 30, 30) == '0'
  if other and now - (tonumber(string.sub(held, 1, 13)) or 0) < free_ms then
    answer = 'taken'
  elseif not held and redis.call('HLEN', KEYS[1]) >= most then
    answer = 'full'
  elseif left == '0' or (held and string.sub(held, 14, 29) == life) then
    redis.call('HSET', KEYS[1], node, string.format('%013.0f', now) .. life .. left .. beat)
    redis.call('PEXPIRE', KEYS[1], purge_ms)
  end
end
local beats = {}
if ARGV[5] == '1' then
  local all = redis.call('HGETALL', KEYS[1])
  for index = 1, #all, 2 do
    local held = all[index + 1]
    local age = now - (tonumber(string.sub(held, 1, 13)) or 0)
    if age >= purge_ms or (string.sub(held, 30, 30) == '1' and age >= purge_ms / 6) then
      redis.call('HDEL', KEYS[1], all[index])
    elseif #held <= most_bytes + 30 then
      beats[#beats + 1] = string.sub(held, 31)
    end
  end
end
return {now, answer, beats}
"""
)

Word = Annotated[str, Field(max_length=64)]
Whole = Annotated[int, Field(ge=0, le=2**53)]


class Held(BaseModel):
    """What a node has in force of one kind of release; generation 0: nothing."""

    model_config = ConfigDict(frozen=True, strict=True)

    generation: Whole = 0
    content: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""


class Capacity(BaseModel):
    """What a node can do."""

    model_config = ConfigDict(frozen=True, strict=True)

    workers: Whole = 0
    clients: Whole = 0  # places in its table


class Beat(BaseModel):
    """What a node says of itself. Nodes of later versions may say more."""

    model_config = ConfigDict(frozen=True, strict=True)

    node: Annotated[str, Field(pattern=f"^{NODE.pattern}$")]
    life: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    number: Whole  # one more with each beat of a life
    at_ms: Whole  # of Redis, as well as the node knows
    since_ms: Whole
    left: bool = False
    version: Word
    protocol: Whole
    capacity: Capacity = Capacity()
    policy: Held = Held()
    models: Held = Held()


State = Literal["live", "lost", "other protocol"]


@dataclass(slots=True)
class Member:
    """Another node, as it was seen last."""

    beat: Beat
    live: bool
    seen_ns: int  # its last new beat, on our clock
    missed: int = 0  # looks since

    @property
    def counted(self) -> bool:
        """Whether it is there, and we understand each other."""
        return self.live and self.beat.protocol == PROTOCOL

    @property
    def state(self) -> State:
        """How it is, in a word."""
        return "lost" if not self.live else "live" if self.counted else "other protocol"


class Asked(Protocol):
    """What is needed of the store."""

    @property
    def node(self) -> str:
        """The name of this node."""

    @property
    def keys(self) -> Keys:
        """Names of keys."""

    @property
    def seal(self) -> Seal:
        """For what is written, and read."""

    async def pipeline(self, commands: Sequence[Command], *, seconds: float | None = None) -> list[Answer]:
        """See `Store.pipeline`."""


class Members(Collector):
    """The nodes of the cluster, this one among them.

    Attributes:
        life: Of this node: chance, 16 hex digits, one for each start of the guard.
        problem: Why this node is not one of them; empty if it is, or if the store is down.

    """

    def __init__(  # noqa: PLR0913 - each is something that tests replace
        self,
        store: Asked,
        *,
        life: str,
        capacity: Capacity,
        folder: Path,
        held: Callable[[], tuple[Held, Held]],
        draining: Callable[[], bool],
        publish: Callable[[Event], None],
        clock: Callable[[], int] = monotonic_ns,
    ) -> None:
        """Know nobody yet, but how many there were when this node was running last.

        Args:
            store: Where all meet.
            life: See above.
            capacity: Of this node.
            folder: Where the number of nodes is kept over a restart.
            held: Which policy and which models are in force here.
            draining: Whether this node is about to stop.
            publish: Hears of NodeJoined and NodeLeft.
            clock: Nanoseconds, monotonic.

        """
        self.life = life
        self.problem = ""
        self._store = store
        self._key = store.keys.key(Family.MEMBER, "beats")
        self._capacity = capacity
        self._kept = folder / KEPT
        self._held = held
        self._draining = draining
        self._publish = publish
        self._clock = clock
        self._others: dict[str, Member] = {}
        self._number = 0
        self._since_ms = 0
        self._offset_ns: int | None = None  # of Redis's clock from ours
        self._joined = self._left = False
        self._looked_ns = 0
        self._looks = 0
        self._lenient = 0  # looks that are still to be lenient
        self._last_seen = self._read_last_seen()
        self._soon = asyncio.Event()
        self._log = structlog.get_logger().bind(process="analyst")

    # What others ask.

    @property
    def node(self) -> str:
        """The name of this node."""
        return self._store.node

    @property
    def live(self) -> int:
        """How many nodes there are, this one included; while the store is down, as many as were seen last."""
        if not self._looks:
            return self._last_seen
        return 1 + sum(each.counted for each in self._others.values())

    @property
    def joined(self) -> bool:
        """Whether this node is one of them."""
        return self._joined

    @property
    def others(self) -> tuple[Member, ...]:
        """The others that are known, also those that are lost."""
        return tuple(self._others.values())

    @property
    def now_ms(self) -> int | None:
        """The time of Redis, as well as it is known; None: not at all."""
        return None if self._offset_ns is None else (self._clock() + self._offset_ns) // 1_000_000

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        strangers = [node for node, each in sorted(self._others.items()) if each.live and not each.counted]
        skew = f"{len(strangers)} nodes of the cluster speak another protocol: {', '.join(strangers[:3])}"
        return "; ".join(filter(None, (self.problem, skew if strangers else "")))

    def beat_soon(self) -> None:
        """Tell the others now of what has changed here, not only in a second."""
        self._soon.set()

    # What is done.

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                await self.turn()
            except StoreDown:
                self._lenient = LENIENT_LOOKS
            try:
                await asyncio.wait_for(self._soon.wait(), BEAT_S)
            except TimeoutError:
                pass
            self._soon.clear()

    async def turn(self) -> None:
        """Beat once, and look at the others if it is time for that.

        Raises:
            StoreDown: That failed; who was seen last still counts.

        """
        if self._draining():
            await self.leave()
            return
        looks = self._clock() - self._looked_ns >= self._look_ns or not self._looks
        if self._offset_ns is None:  # what is the time?
            await self._ask(b"", looks=False)
        beats = await self._ask(self._beat(), looks=looks)
        if looks and beats is not None:
            self._looked_ns = self._clock()
            self._take(beats)

    async def leave(self) -> None:
        """Say that this node goes; StoreDown as in `turn`."""
        if self._joined:
            self._left = True
            await self._ask(self._beat(), looks=False)

    @property
    def _look_ns(self) -> int:
        """How long between two looks: a second up to MEMBERS_A_SECOND nodes, of a thousand 20 s."""
        return int(max(BEAT_S * 0.9, len(self._others) / MEMBERS_A_SECOND) * SECOND)

    def _beat(self) -> bytes:
        now_ms = self.now_ms or 0
        self._number += 1
        self._since_ms = self._since_ms or now_ms
        policy, models = self._held()
        beat = Beat(
            node=self.node,
            life=self.life,
            number=self._number,
            at_ms=now_ms,
            since_ms=self._since_ms,
            left=self._left,
            version=version("hkpguard"),
            protocol=PROTOCOL,
            capacity=self._capacity,
            policy=policy,
            models=models,
        )
        return self._store.seal.seal(KIND, beat.model_dump_json().encode())

    async def _ask(self, beat: bytes, *, looks: bool) -> Iterable[object] | None:
        """Beat; return all beats, None if the store has none that can be read."""
        purge_ms = FAMILIES[Family.MEMBER]
        bounds = (MOST_MEMBERS, TAKEN_MS, purge_ms, MOST_BEAT_BYTES)
        flags = (str(int(self._left)), beat, str(int(looks)))
        asked_ns = self._clock()
        [answer] = await self._store.pipeline([Command(_BEAT, (self._key,), (self.node, self.life, *flags, *bounds))])
        match answer:
            case [int() as now_ms, bytes() as word, list() as beats]:
                self._offset_ns = now_ms * 1_000_000 - (asked_ns + self._clock()) // 2
                if beat:
                    self._answered(word)
                return beats[:MOST_MEMBERS]
            case Refusal(text):
                self._say(f"the members of the cluster cannot be read: {text[:200]}")
            case _:
                self._say("the members of the cluster cannot be read: they are not what they should be")
        self._joined = False
        return None

    def _answered(self, word: bytes) -> None:
        """Take note of whether we are one of them."""
        self._joined = word == b"ok" and not self._left
        if word == b"taken":
            self._say(
                f"another guard is running under the name of this one, {self.node} (HKPGUARD_CLUSTER__NODE), and was
                there " "first: this one stays out of the cluster"
            )
        elif word == b"full":
            self._say(f"the cluster has {MOST_MEMBERS} nodes, which is the most: this one stays out of it")
        else:
            self._say("")

    def _say(self, problem: str) -> None:
        if problem != self.problem:
            if problem:
                self._log.error("not in the cluster", node=self.node, reason=problem)
            else:
                self._log.info("in the cluster", node=self.node)
        self.problem = problem

    def _take(self, beats: Iterable[object]) -> None:
        """Compare who beats now with who did."""
        first, now_ns, now_ms = not self._looks, self._clock(), self.now_ms or 0
        seen = set()
        for beat in self._opened(beats):
            if (beat.node, beat.life) == (self.node, self.life):
                continue
            seen.add(beat.node)
            self._saw(beat, now_ns, fresh=abs(now_ms - beat.at_ms) <= FRESH_MS, quietly=first)
        patience = MISSED_AFTER_OUTAGE if self._lenient else MISSED
        for node, member in [*self._others.items()]:
            if node not in seen:
                member.missed += 1
            if member.live and member.missed >= patience:
                member.live = False
                self._tell_left(member, "lost")
            if member.missed >= FORGOTTEN:
                del self._others[node]
        self._lenient = max(0, self._lenient - 1)
        self._looks += 1
        self._write_last_seen()

    def _saw(self, beat: Beat, now_ns: int, *, fresh: bool, quietly: bool) -> None:
        """Take note of one beat."""
        before = self._others.get(beat.node)
        if beat.left:
            if before is not None and before.beat.life == beat.life:
                del self._others[beat.node]
                if before.live:
                    self._tell_left(before, "drained")
            return
        if before is not None and before.beat.life == beat.life and before.beat.number >= beat.number:
            before.missed += 1
            return
        if before is None or before.beat.life != beat.life:
            if before is not None and not fresh:  # an old beat, that somebody has put back
                before.missed += 1
                return
            member = Member(beat, fresh, now_ns)
        else:
            member = Member(beat, live=True, seen_ns=now_ns)
        self._others[beat.node] = member
        if member.live and not quietly and (before is None or not before.live):
            self._log.info("a node has joined", node=beat.node, version=beat.version, state=member.state)
            self._publish(NodeJoined(node=beat.node, version=beat.version, nodes=self._count()))

    def _opened(self, beats: Iterable[object]) -> Iterator[Beat]:
        for each in beats:
            try:
                yield Beat.model_validate_json(self._store.seal.open(KIND, each, MOST_BEAT_BYTES))
            except (Forged, ValidationError):
                continue  # counted by the seal, or of a protocol that we do not know

    def _tell_left(self, member: Member, why: Literal["lost", "drained"]) -> None:
        say = self._log.warning if why == "lost" else self._log.info
        say("a node has left", node=member.beat.node, why=why)
        self._publish(NodeLeft(node=member.beat.node, why=why, nodes=self._count()))

    def _count(self) -> int:
        return 1 + sum(each.counted for each in self._others.values())

    def _read_last_seen(self) -> int:
        try:
            text = self._kept.read_text(encoding="ascii")[:8].strip()
        except (OSError, UnicodeDecodeError):
            return 1
        return min(max(1, int(text)), MOST_MEMBERS) if text.isdecimal() else 1

    def _write_last_seen(self) -> None:
        """Keep how many there are: a node that starts without the store takes no more than its share."""
        if self.live == self._last_seen:
            return
        self._last_seen = self.live
        try:
            self._kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._kept.write_text(f"{self._last_seen}\n", encoding="ascii")
        except OSError:
            pass  # then it begins with what it does not know

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client's collector interface)."""
        yield GaugeMetricFamily("hkpguard_cluster_members", "Nodes that count, this one included", value=self.live)
        yield GaugeMetricFamily(
            "hkpguard_cluster_joined", "1 if this node is one of the cluster, else 0", value=int(self.joined)
        )
