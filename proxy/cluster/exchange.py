"""Limits across nodes. Each decides alone, at once; what was spent is exchanged afterwards, by the analysts.

    records -> buckets -> Ledger --questions--> a script, on Redis's clock --levels--> Ledger -> buckets

A script takes some buckets: in a Redis Cluster those of one shard, on one server any. Each is a TAT as everywhere
(`fastpath._gcra_py`), but in microseconds of Redis's clock, for a script reckons in doubles. It adds what this node has
spent and answers with the level: how long the bucket takes to be full. The node puts the difference into its own bucket
(`ledger.pyx` has the reckoning), where workers find it without knowing that there is a cluster. No clock of a node is
compared with another one.

**How exact that is.** In any time t, one client gets from N nodes together at most

    (burst + rate * t) * 9/8  +  N * m          m = min(burst + rate * gap, speed * gap)

where burst includes what may wait for its tokens, speed is how many requests a second the client gets through one
node, and gap is the time from one question about the bucket to the answer to the next: interval + round trip (two of
them, if that is the longer). For a client that comes first to a node it begins when the first of its requests has
ended and was read: up to 0.1 s later. One that has kept within the eighth, and of whose bucket less than that is
missing at each look, is noticed a look later. The eighth is what nodes keep to themselves (`ledger.pyx`).

Why. Let f be the latest answer to any node that spent something afterwards. It spent, so that answer left room: all
that had been told until f is at most burst + rate * t. What is missing there each node has spent between two of its
exchanges: there cannot be another one in between, for it would be a later answer before something spent. In one gap a
node lets m through.

All that is too much stays a debt, in Redis and on all nodes that ask: the client waits it off. So the bound holds for
every stretch of time, however long, and m comes once, not again and again. That takes levels up to N + 1 bursts, which
is how far they go.

**How often.** The interval grows with the number of hot buckets, so that this node spends no more than a third of a
core on them, and all nodes together do not ask Redis for more than `STORE_PER_SECOND` levels. What a turn has no place
for waits, the fullest buckets go first.

**Answers that never come.** It is not known then whether the script ran. It is asked again with the same number, until
there is an answer; the script has kept the number of the last call of this node and shard, and does not add twice. A
call that was held up on its way, and comes after later ones, adds nothing at all. Meanwhile what was told in vain
fades (`ledger.pyx`), so that it does not count for more than it did.

**A store that has lost its data** knows no number of ours any more, and each question carries the level on which the
cluster had agreed: the bucket begins with that, or is raised to it by the first call of another node. A bucket that was
evicted alone begins with it as well. Forgotten is what others told since, below that level; and what a node knows whose
first call is about other buckets, or who does not ask. A call that is asked again, because its answer was lost with the
data, counts twice if others had heard of it. The client has one limit more each time, at the most.

**While the store is away** the limits of each node are divided by the number of nodes last seen (`Control.SHARE`), and
if k of N nodes have lost it they let through k/N of the limit more. What was spent then, and has not come back yet, is
told afterwards.

**Who may write to the database** can change levels, and Redis reckons with them, so they are not sealed: a script
cannot check a seal. It is not needed either. A level that was raised keeps one client out of one bucket, for N + 1
times as long as the bucket takes to fill at the most; raised again and again, as long as the database is in wrong
hands. One that was lowered leaves each node with what it let through itself: N lone nodes. Neither bans anybody, nor
opens a bucket further. The names of the keys do not tell whose they are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from proxy.cluster.command import Command, Refusal, Script
from proxy.cluster.keys import Family, ttl_ms
from proxy.cluster.ledger import MICROSECOND, Ledger, Place, Question
from proxy.settings.kinds import SECOND

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from models.steps import Steps
    from proxy.cluster.command import Answer, Argument
    from proxy.cluster.keys import Keys

LEVELS: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = tonumber(redis.pcall('GET', KEYS[1])) -- the last call of this node
local again = last and tonumber(ARGV[1]) <= last
local levels = {}
for i = 2, #KEYS do
  local told, base, most = tonumber(ARGV[3 * i - 3]), tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  local stored = redis.pcall('GET', KEYS[i])
  local full = type(stored) == 'string' and tonumber(stored) or 0 -- when it will be
  if full ~= full then full = 0 end -- not a number: somebody else wrote here
  full = math.max(now, math.min(full, now + most))
  if not again then
    if not last or not stored then full = math.max(full, now + base) end
    full = math.max(now, math.min(full + told, now + most))
    redis.call('SET', KEYS[i], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
  end
  levels[i - 1] = full - now
end
if not again then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return levels
""")
CALLS_KEPT_MS: Final = 24 * 3600 * 1000  # the number of the last call
MOST_OF_CALL: Final = 32  # buckets in one call: 0.2 ms to ask, and as long of Redis
MOST_CALLS: Final = 128  # on one server
MOST_NAMES: Final = 8192  # of buckets, that are not reckoned again
NODE_NS: Final = 100_000  # so much of an interval for each bucket that is looked at: to exchange it takes some 15 us
STORE_PER_SECOND: Final = 100_000


class Call:
    """One call of the script, until it is answered. `shard`: where its number is kept."""

    def __init__(self, shard: int, number: int, questions: list[Question]) -> None:
        """Begin; `number` is greater than those of this node before it."""
        self.shard = shard
        self.number = number
        self.questions = questions
        self.doubtful = False  # it may have been done


class Exchange:
    """What is to be asked, and what becomes of the answers. Without a clock or a socket of its own.

    Attributes:
        told: Questions that were answered.
        elsewhere: Buckets about which somebody else asks just now (`grants.py`): two questions at a time about one
            bucket would each add what the other has heard.

    """

    def __init__(self, ledger: Ledger, keys: Keys, name: str, *, spread: bool = False) -> None:
        """Begin with nothing to ask.

        Args:
            ledger: Of this node.
            keys: Of the installation.
            name: Of this node and this run, which nobody else has.
            spread: Shards may be on different servers: no call touches two of them.

        """
        self.ledger = ledger
        self.told = 0
        self.elsewhere: Container[Place] = ()
        self._keys = keys
        self._name = name
        self._spread = spread
        self._number = 0
        self._calls: dict[int, Call] = {}  # by shard: one at a time
        self._asked: set[Place] = set()
        self._names = lru_cache(MOST_NAMES)(self._key_of)

    @property
    def waiting(self) -> int:
        """How many calls may or may not have been done."""
        return len(self._calls)

    def asks(self, place: Place) -> bool:
        """Whether a question about a bucket is under way."""
        return place in self._asked

    def begin(self, most: int, now_ns: int) -> Steps[list[Call]]:
        """Return the calls of a turn: those without answer first, and then what is new."""
        questions = yield from self.ledger.questions(most, now_ns)
        for count, question in enumerate(questions):
            place = question.place
            call = None if place in self._asked or place in self.elsewhere else self._call_of(place)
            if call is None:
                self.ledger.take_back(question)  # next turn, or with what is asked elsewhere
            else:
                call.questions.append(question)
                self._asked.add(place)
            if count % MOST_OF_CALL == MOST_OF_CALL - 1:
                yield
        return list(self._calls.values())

    def _call_of(self, place: Place) -> Call | None:
        """Return a call that has room for a question about a bucket; None: there is none."""
        for shard in (self._keys.shard_of(data_of(place)),) if self._spread else range(MOST_CALLS):
            call = self._calls.get(shard)
            if call is None:
                self._number += 1
                call = self._calls[shard] = Call(shard, self._number, [])
            if not call.doubtful and len(call.questions) < MOST_OF_CALL:
                return call
        return None

    def _key_of(self, place: Place) -> bytes:
        data = data_of(place)
        return self._keys.key(Family.LIMIT, self._keys.name_of(data), self._keys.shard_of(data))

    def command(self, call: Call, now_ns: int) -> Command:
        """Return what a call asks, as it is now."""
        names = [self._keys.key(Family.LIMIT, self._name, call.shard)]
        arguments: list[Argument] = [call.number, ttl_ms(Family.LIMIT, CALLS_KEPT_MS)]
        for question in call.questions:
            self.ledger.ask(question, now_ns)
            names.append(self._names(question.place))
            # As text already: redis-py takes its time with other things.
            told, base, most = question.told_ns, question.base_ns, question.most_ns
            arguments += (b"%d" % (told // MICROSECOND), b"%d" % (base // MICROSECOND), b"%d" % (most // MICROSECOND))
        return Command(LEVELS, tuple(names), tuple(arguments))

    def answered(self, call: Call, answer: Answer, now_ns: int) -> None:
        """Fold the answer to a call; one that is none is counted, and what was told with it is lost."""
        if isinstance(answer, Refusal):  # nothing was done, or all: ask again
            call.doubtful = True
            return
        self._end(call)
        if not isinstance(answer, list) or len(answer) != len(call.questions):
            self.ledger.hostile += 1
            return
        for question, level in zip(call.questions, answer, strict=True):
            self.ledger.answered(question, level * MICROSECOND if isinstance(level, int) else -1, now_ns)
        self.told += len(answer)

    def failed(self, calls: Iterable[Call], *, maybe_done: bool) -> None:
        """Keep what was not answered."""
        for call in calls:
            call.doubtful |= maybe_done
            if not call.doubtful:
                self._end(call)
                for question in call.questions:
                    self.ledger.take_back(question)

    def _end(self, call: Call) -> None:
        del self._calls[call.shard]
        self._asked.difference_update(each.place for each in call.questions)


def interval_ns(hot: int, nodes: int, least_ns: int, most_ns: int) -> int:
    """Return how long after one turn the next one is, for so many hot buckets on each of the nodes."""
    each_ns = max(NODE_NS, nodes * SECOND // STORE_PER_SECOND)
    return min(max(least_ns, hot * each_ns), most_ns)


def most_of_turn(nodes: int, most_ns: int) -> int:
    """Return how many buckets have a place in one turn."""
    return max(1, most_ns // max(NODE_NS, nodes * SECOND // STORE_PER_SECOND))


def portions(calls: Iterable[Call]) -> list[list[Call]]:
    """Return calls by pipelines, each of them about as many buckets as one call may be."""
    found: list[list[Call]] = []
    room = 0
    for call in calls:
        if len(call.questions) > room:
            found.append([])
            room = MOST_OF_CALL
        found[-1].append(call)
        room -= len(call.questions)
    return found


def data_of(place: Place) -> bytes:
    """Return what tells a bucket from others, and in which shard it is."""
    return place.number.to_bytes(1, "little") + place.key.to_bytes(8, "little")
