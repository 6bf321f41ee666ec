"""Strict limits: the cluster is asked before a request goes on, not told afterwards. The reckoning; see `strict.py`.

    claims -> those of one shard that came together -> a script, on Redis's clock -> levels and grants -> answers

The script is that of the exchange (`exchange.py`), and does one thing more: of what this node has spent it adds the
cost of each claim only if the bucket has room for it, and says so. So of what is claimed all nodes together grant

    burst + rate * t        in any time t, burst including what may wait for its tokens

and not one more, however many they are: there is nothing that nodes keep to themselves, and no gap.

**What counts once.** The tokens of a claim were taken from the bucket of this node before it was made, so they are in
what is untold of it (`ledger.pyx`), and that is what the script is told, of each bucket no more than its claims want.
Whatever has been told already, by an exchange that came in between, is not told again: such a claim is granted if the
bucket, with it, is not beyond its room. What was not granted stays untold. A worker gives the tokens of a refused
request back, which leaves nothing to tell; one that has gone on without an answer does not, so the next exchange tells
them. It is the same if a claim never gets as far as here. Neither side has to know what the other one thinks.

Each bucket decides for itself. If one of them refuses a request, the others get back what they had granted with the
next exchange, and until then may refuse somebody too many: never the reverse. So does a bucket of whose claims an
exchange was quicker to tell.

**Answers that never come.** The call is made again with the same number, until there is an answer. The script keeps,
beside the number of the last call, what it granted, and says that again. Nobody waits for it any more, but the ledger
has to know what is told. If the number was lost with all data, all of the call is told as granted, for its requests
went on; the first call of a node and shard has no claims (`exchange.py`). A bucket is asked about by one call at a
time, either of an exchange or of claims.

Hot buckets of strict classes are exchanged like any other: so a node that refuses a client by its own bucket does so
without a question, and that is nearly always, once the bucket is empty.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.cluster.command import Command, Refusal, Script
from proxy.cluster.exchange import CALLS_KEPT_MS, RECORDS, Call, data_of
from proxy.cluster.keys import SHARDS, Family, ttl_ms
from proxy.cluster.ledger import MICROSECOND, MOST_MARK, Place, Size
from proxy.policy.claim import Answer as Said
from proxy.policy.claim import Decision
from proxy.settings.kinds import MILLISECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.cluster.command import Answer, Argument
    from proxy.cluster.exchange import Exchange
    from proxy.cluster.keys import Keys
    from proxy.cluster.ledger import Question
    from proxy.policy.claim import Claim, Take

GRANT: Final = Script(
    RECORDS
    + """
local count = #KEYS - 1
local claims, costs = (#ARGV - 3 - 4 * count) / 3, {} -- what they cost in each bucket, if it is done, or may be
for j = 1, claims do
  local first = 4 * count + 3 * j + 1
  local i = tonumber(ARGV[first])
  if not done or string.sub(said, j + 1, j + 1) == '1' then costs[i] = (costs[i] or 0) + tonumber(ARGV[first + 1]) end
end
local full, since, born, before = {}, {}, {}, {}
for i = 1, count do
  local told, base, most, mark =
    tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1]), tonumber(ARGV[4 * i + 2]), tonumber(ARGV[4 * i + 3])
  local perhaps = told + (costs[i] or 0)
  full[i], since[i], born[i], before[i] = tell(KEYS[i + 1], told, perhaps, base, most, mark)
end
local answers, grants = {tonumber(known)}, {}
for j = 1, claims do
  local first, at = 4 * count + 3 * j + 1, 1 + 2 * count + j
  local i, cost, room = tonumber(ARGV[first]), tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2])
  local over = full[i] + cost - now - room
  if done then
    answers[at] = string.sub(said, j + 1, j + 1) == '1' and 0 or -1
  elseif before[i] then
    answers[at], grants[j] = 0, '1' -- nobody waits for it any more: it went on
  elseif over > 0 then
    answers[at], grants[j] = -over, '0'
  else
    full[i], since[i] = full[i] + cost, since[i] + cost
    answers[at], grants[j] = full[i] - now, '1'
  end
end
for i = 1, count do
  keep(KEYS[i + 1], full[i], since[i], born[i])
  answers[2 * i], answers[2 * i + 1] = full[i] - now, born[i]
end
finish(table.concat(grants))
return answers
"""
)
MOST_WAITING: Final = 1024  # parts of claims
LOOK_BACK_NS: Final = 50 * MILLISECOND
MOST_AT_ONCE: Final = 128  # of them that are asked about in one turn: a millisecond or two


class Case:
    """A claim, until all its buckets have spoken."""

    def __init__(self, claim: Claim, reply: Callable[[Said], object]) -> None:
        """Begin; `reply` hears once what becomes of it."""
        self.claim = claim
        self._reply = reply
        self._left = len(claim.takes)
        self._said = Said(claim.number, Decision.GRANTED, claim.takes[0].number)

    def over(self, now_ns: int) -> bool:
        """Whether nobody waits for it any more."""
        return self._left <= 0 or self.claim.until_ns <= now_ns

    def settle(self, take: Take, answer_ns: int, level_ns: int) -> None:
        """Take note of what a bucket says: the level that its grant makes, or, negative, how much room is missing."""
        decision = Decision.REFUSED if answer_ns < 0 else Decision.GRANTED
        after_ns = -answer_ns if answer_ns < 0 else max(0, answer_ns - take.burst_ns)
        if (decision, after_ns) > (self._said.decision, self._said.after_ns):
            self._said = Said(self.claim.number, decision, take.number, after_ns, level_ns)
        self._left -= 1
        if self._left == 0:
            self._reply(self._said)

    def give_up(self) -> None:
        """Say that nobody knows."""
        if self._left > 0:
            self._left = 0
            self._reply(Said(self.claim.number, Decision.NONE))


class Part(NamedTuple):
    """What a claim wants of one bucket."""

    case: Case
    take: Take

    @property
    def place(self) -> Place:
        """The bucket."""
        return Place(self.take.key, self.take.number)


class Batch(Call):
    """One call of the script, until it is answered.

    Attributes:
        parts: With the index of the question about their bucket.
        costs_us: Of each part, what was untold of its cost when that was asked.
        waits: Whether it is under way; else it is to be made again.

    """

    def __init__(
        self, shard: int, number: int, questions: list[Question], parts: list[tuple[Part, int]], *, heard: bool
    ) -> None:
        """Begin; see `Call`."""
        super().__init__(shard, number, questions, heard=heard)
        self.parts = parts
        self.costs_us: list[int] = []
        self.waits = True


class Grants:
    """The claims of one node, and what becomes of them. Without a clock or a socket of its own."""

    def __init__(self, exchange: Exchange, keys: Keys, name: str) -> None:
        """Ask beside `exchange`, about its ledger; `name`: of this node and this run, which nobody else has."""
        self._exchange = exchange
        self._ledger = exchange.ledger
        self._keys = keys
        self._name = f"{name}.strict"
        self._number = 0
        self._batches: dict[int, Batch] = {}  # by shard: one at a time
        self._heard: set[int] = set()  # as in the exchange
        self._asked: set[Place] = set()
        self._waiting: dict[int, deque[Part]] = {}  # by shard
        self._count = 0
        exchange.elsewhere = self._asked

    def file(self, claim: Claim, reply: Callable[[Said], object]) -> None:
        """Take in a claim, of which something will be said in one of the next turns."""
        case = Case(claim, reply)
        if self._count + len(claim.takes) > MOST_WAITING:
            case.give_up()
            return
        for take in claim.takes:
            part = Part(case, take)
            self._waiting.setdefault(self._keys.shard_of(data_of(part.place)), deque()).append(part)
            self._count += 1

    def begin(self, now_ns: int, *, again: bool = False) -> list[Batch]:
        """Return the calls that can be made; with `again` also those that may or may not have been done."""
        batches = [each for each in self._batches.values() if again and not each.waits]
        for batch in batches:
            batch.waits = True
        most = MOST_AT_ONCE
        shards = self._waiting if self._heard else range(SHARDS)
        for shard in [shard for shard in shards if shard not in self._batches]:
            heard = shard in self._heard
            parts = self._take(shard, most, now_ns) if heard else []  # after a call that tells nothing
            most -= len(parts)
            if parts or not heard:
                batches.append(self._batch(shard, parts, now_ns))
        return batches

    def command(self, batch: Batch, now_ns: int) -> Command:
        """Return what a call asks, as it is now."""
        names = [self._keys.key(Family.LIMIT, self._name, batch.shard)]
        arguments: list[Argument] = [batch.number, ttl_ms(Family.LIMIT, CALLS_KEPT_MS), int(batch.doubtful)]
        for question in batch.questions:
            self._ledger.ask(question, now_ns)
            names.append(self._keys.key(Family.LIMIT, self._keys.name_of(data_of(question.place)), batch.shard))
        untold_us = [each.told_ns // MICROSECOND for each in batch.questions]
        batch.costs_us = []
        for part, index in batch.parts:
            cost_us = max(0, min(part.take.cost_ns // MICROSECOND, untold_us[index]))
            untold_us[index] -= cost_us
            batch.costs_us.append(cost_us)
        for question, left_us in zip(batch.questions, untold_us, strict=True):
            base_us, most_us = question.base_ns // MICROSECOND, question.most_ns // MICROSECOND
            arguments += [left_us, base_us, most_us, question.mark]
        for (part, index), cost_us in zip(batch.parts, batch.costs_us, strict=True):
            arguments += [index + 1, cost_us, part.take.room_ns // MICROSECOND]
        return Command(GRANT, tuple(names), tuple(arguments))

    def answered(self, batch: Batch, answer: Answer, now_ns: int) -> None:
        """Fold the answer to a call, and answer those who wait for it."""
        if isinstance(answer, Refusal):  # nothing was done, or all: ask again
            self.failed(batch, maybe_done=True)
            return
        self._end(batch)
        said = _read(batch, answer)
        if not said:
            self._ledger.hostile += 1
            self._give_up(batch)
            return
        self._heard.add(batch.shard)
        if batch.heard and said[0] == 0:
            self._ledger.recall()
        first = 1 + 2 * len(batch.questions)
        marks = said[2:first:2]
        levels_ns, answers_ns = ([each * MICROSECOND for each in some] for some in (said[1:first:2], said[first:]))
        for (_, index), cost_us, answer_ns in zip(batch.parts, batch.costs_us, answers_ns, strict=True):
            if answer_ns < 0:
                self._ledger.keep(batch.questions[index], cost_us * MICROSECOND)
        for question, level_ns, mark in zip(batch.questions, levels_ns, marks, strict=True):
            self._ledger.answered(question, level_ns, mark, now_ns)
        for (part, index), answer_ns in zip(batch.parts, answers_ns, strict=True):
            part.case.settle(part.take, answer_ns, levels_ns[index])

    def failed(self, batch: Batch, *, maybe_done: bool) -> None:
        """Keep what was not answered; those who wait go on without."""
        batch.doubtful |= maybe_done
        batch.waits = False
        if not batch.doubtful:
            self._end(batch)
            for question in batch.questions:
                self._ledger.take_back(question)
        self._give_up(batch)

    def give_up(self, now_ns: int) -> None:
        """Tell all who wait that there is no store."""
        for parts in self._waiting.values():
            for part in parts:
                self._note(part.place, [part.take], part.case.claim.since_ns, now_ns)
                part.case.give_up()
        self._waiting.clear()
        self._count = 0

    def _take(self, shard: int, most: int, now_ns: int) -> list[Part]:
        """Take so many of the parts that wait, but for those about whose bucket an exchange asks just now."""
        taken: list[Part] = []
        left: deque[Part] = deque()
        for part in self._waiting.pop(shard):
            if part.case.over(now_ns):
                self._note(part.place, [part.take], part.case.claim.since_ns, now_ns)
                self._count -= 1
            elif len(taken) >= most or self._exchange.asks(part.place):
                left.append(part)
            else:
                taken.append(part)
        self._count -= len(taken)
        if left:
            self._waiting[shard] = left
        return taken

    def _batch(self, shard: int, parts: list[Part], now_ns: int) -> Batch:
        by_place: dict[Place, list[Take]] = {}
        since_ns = min((part.case.claim.since_ns for part in parts), default=now_ns)
        for part in parts:
            by_place.setdefault(part.place, []).append(part.take)
        questions = [self._question(place, takes, since_ns, now_ns) for place, takes in by_place.items()]
        index = {place: number for number, place in enumerate(by_place)}
        self._number += 1
        batch = Batch(
            shard, self._number, questions, [(part, index[part.place]) for part in parts], heard=shard in self._heard
        )
        self._batches[shard] = batch
        self._asked.update(by_place)
        return batch

    def _question(self, place: Place, takes: list[Take], since_ns: int, now_ns: int) -> Question:
        """Return what tells of a bucket what is claimed of it."""
        self._note(place, takes, since_ns, now_ns)
        return self._ledger.question(place, sum(take.cost_ns for take in takes))

    def _note(self, place: Place, takes: list[Take], since_ns: int, now_ns: int) -> None:
        """Have the ledger look at a bucket of which something was taken."""
        size = Size(takes[-1].token_ns, takes[-1].full_ns)
        tokens = sum(take.cost_ns for take in takes) // size.token_ns
        # Who took before may claim later. Whole tokens are counted, so to look back by a part of one adds none.
        since_ns = max(0, since_ns - min(size.token_ns // 2, LOOK_BACK_NS))
        self._ledger.note(place, size, since_ns, tokens, now_ns)

    def _end(self, batch: Batch) -> None:
        del self._batches[batch.shard]
        self._asked.difference_update(question.place for question in batch.questions)

    def _give_up(self, batch: Batch) -> None:
        for part, _ in batch.parts:
            part.case.give_up()


def _read(batch: Batch, answer: Answer) -> list[int]:
    """Return an answer; nothing if something in there cannot be."""
    bounds = [*_bounds(batch)]
    if not isinstance(answer, list) or len(answer) != len(bounds):
        return []
    if not all(isinstance(each, int) for each in answer):
        return []
    return answer if all(low <= each <= high for each, (low, high) in zip(answer, bounds, strict=True)) else []


def _bounds(batch: Batch) -> Iterator[tuple[int, int]]:
    """Yield what may be said: whether our last call is known, then to each question and to each part."""
    yield 0, 1
    for question in batch.questions:
        yield 0, question.most_ns // MICROSECOND
        yield 1, MOST_MARK
    for part, index in batch.parts:
        most_ns = batch.questions[index].most_ns
        yield -(most_ns + part.take.cost_ns) // MICROSECOND, min(most_ns, part.take.room_ns) // MICROSECOND
