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

**A store that has lost its data** neither forgets nor doubles. The record of a bucket has a birth mark, the time at
which it was made, and counts what it was told since. A node that agreed with the cluster in a record of another mark
knows that this one is lost. Nothing of what it had heard there was told to the new one, which then is full at

    max(when it would be, when it would have been when the node agreed + what the record was told since its birth)

as one bucket would be that had all of it: a TAT is a maximum of sums, so it does not matter which node comes first, or
comes twice. A bucket that was full again meanwhile has nothing to lose, and the question about it has no mark.

A call that is asked again may have been told to the lost record, and others may have heard of it. So what it told
belongs to what its node knows, and is not added. If it was not done after all, and others know of more, as much of it
is forgotten as they know. Its number tells whether it was done, and may be lost with the data; so the first call of a
node and shard tells nothing, and from then on a number that is not there is one that was lost. A node that hears of
that, or comes back to the store, tells again all on which the cluster had agreed, for clients may ask elsewhere now.
If the data is lost again before, the store has at least what any one node knows.

What is left: a node that has nothing at all to tell, and was never cut off, notices nothing. Nobody misses what came
back between the loss and the question that tells it again. A failover to a replica that lags changes no mark: the store
forgets what the lag has swallowed, though not those nodes that let it through; and what was told then without an answer
may count twice. So it may if Redis throws away a record, and later the number of the call that made the next one.

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
from proxy.cluster.keys import SHARDS, Family, ttl_ms
from proxy.cluster.ledger import MICROSECOND, Ledger, Place, Question
from proxy.settings.kinds import SECOND

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from models.steps import Steps
    from proxy.cluster.command import Answer, Argument
    from proxy.cluster.keys import Keys

RECORDS: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local number, retry = tonumber(ARGV[1]), ARGV[3] == '1'

-- The last call of this node: its number, 1 if the one before it was known, else 0, and likewise for what it granted.
local stored = redis.pcall('GET', KEYS[1])
local last, said = string.match(type(stored) == 'string' and stored or '', '^(%d+) ([01]+)$')
last = tonumber(last)
local done = last and number <= last
local known = done and string.sub(said, 1, 1) or last and '1' or '0'

-- Tell a bucket so much; return when it will be full, what it was told since its birth, its mark, and whether it may
-- have been told before. `perhaps`: what the first try of this call told, if it was done.
local function tell(key, told, perhaps, base, most, mark)
  local stored = redis.pcall('GET', key)
  local full, since, born = 0, 0, 0
  if type(stored) == 'string' and #stored == 24 then full, since, born = struct.unpack('<ddd', stored) end
  local valid = full == full and since == since and born >= 1 and born <= 1000000000 -- and no nan
  if not valid then full, since, born = now, 0, now % 1000000000 + 1 end
  full = math.max(now, math.min(full, now + most))
  local again, lost = number == last, mark > 0 and mark ~= born
  if done and not (again and retry and mark ~= born) then return full, since, born, true end
  local before = again or retry and not last
  if before then base, told = base + perhaps, 0 end
  if lost and not again then base = base + since end
  if lost or before then full = math.max(full, now + math.min(base, most)) end
  local after = math.max(now, math.min(full + told, now + most))
  return after, since + after - full, born, before
end

local function keep(key, full, since, born)
  redis.call('SET', key, struct.pack('<ddd', full, since, born), 'PX', math.ceil((full - now) / 1000) + 1)
end

local function finish(granted)
  if not done then redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. known .. granted, 'PX', ARGV[2]) end
end
"""
LEVELS: Final = Script(
    RECORDS
    + """
local answers = {tonumber(known)}
for i = 2, #KEYS do
  local told, base = tonumber(ARGV[4 * i - 4]), tonumber(ARGV[4 * i - 3])
  local most, mark = tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i - 1])
  local full, since, born = tell(KEYS[i], told, told, base, most, mark)
  keep(KEYS[i], full, since, born)
  answers[2 * i - 2], answers[2 * i - 1] = full - now, born
end
finish('')
return answers
"""
)
CALLS_KEPT_MS: Final = 24 * 3600 * 1000  # the number of the last call
MOST_OF_CALL: Final = 32  # buckets in one call: 0.2 ms to ask, and as long of Redis
MOST_CALLS: Final = 128  # on one server
MOST_NAMES: Final = 8192  # of buckets, that are not reckoned again
NODE_NS: Final = 100_000  # so much of an interval for each bucket that is looked at: to exchange it takes some 15 us
STORE_PER_SECOND: Final = 100_000


class Call:
    """One call of the script, until it is answered. `shard`: where its number is kept."""

    def __init__(self, shard: int, number: int, questions: list[Question], *, heard: bool) -> None:
        """Begin; `number` is greater than those of this node before it."""
        self.shard = shard
        self.number = number
        self.questions = questions
        self.heard = heard  # one of this shard was answered before: Redis knows its number, or has lost it
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
        self._heard: set[int] = set()  # shards of which a call was answered
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
        if not self._heard and not self._calls:
            for shard in range(SHARDS if self._spread else 1):
                self._open(shard)
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
                call = self._open(shard)
            if not call.doubtful and len(call.questions) < MOST_OF_CALL:
                return call
        return None

    def _open(self, shard: int) -> Call:
        self._number += 1
        call = self._calls[shard] = Call(shard, self._number, [], heard=shard in self._heard)
        return call

    def _key_of(self, place: Place) -> bytes:
        data = data_of(place)
        return self._keys.key(Family.LIMIT, self._keys.name_of(data), self._keys.shard_of(data))

    def command(self, call: Call, now_ns: int) -> Command:
        """Return what a call asks, as it is now."""
        names = [self._keys.key(Family.LIMIT, self._name, call.shard)]
        arguments: list[Argument] = [call.number, ttl_ms(Family.LIMIT, CALLS_KEPT_MS), int(call.doubtful)]
        for question in call.questions:
            self.ledger.ask(question, now_ns)
            names.append(self._names(question.place))
            # As text already: redis-py takes its time with other things.
            told, base, most = question.told_ns if call.heard else 0, question.base_ns, question.most_ns
            arguments += (b"%d" % (told // MICROSECOND), b"%d" % (base // MICROSECOND))
            arguments += (b"%d" % (most // MICROSECOND), b"%d" % question.mark)
        return Command(LEVELS, tuple(names), tuple(arguments))

    def answered(self, call: Call, answer: Answer, now_ns: int) -> None:
        """Fold the answer to a call; one that is none is counted, and what was told with it is lost."""
        if isinstance(answer, Refusal):  # nothing was done, or all: ask again
            call.doubtful = True
            return
        self._end(call)
        if not isinstance(answer, list) or len(answer) != 1 + 2 * len(call.questions):
            self.ledger.hostile += 1
            return
        self._heard.add(call.shard)
        if call.heard and answer[0] != 1:
            self.ledger.recall()
        if not call.heard:
            for question in call.questions:
                self.ledger.take_back(question)
        for question, level, mark in zip(call.questions, answer[1::2], answer[2::2], strict=True):
            level_ns = level * MICROSECOND if isinstance(level, int) else -1
            self.ledger.answered(question, level_ns, mark if isinstance(mark, int) else 0, now_ns)
        self.told += len(call.questions)

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
        if not found or len(call.questions) > room:
            found.append([])
            room = MOST_OF_CALL
        found[-1].append(call)
        room -= len(call.questions)
    return found


def data_of(place: Place) -> bytes:
    """Return what tells a bucket from others, and in which shard it is."""
    return place.number.to_bytes(1, "little") + place.key.to_bytes(8, "little")
