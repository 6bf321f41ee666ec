"""The blackboard: where words stand in the store, for whoever starts or has missed some; written and told in one step.

    PREFIX:{SHARD}:FAMILY:words    a hash: field = thing and node, value = the sealed word
    PREFIX:{SHARD}:FAMILY:ends     a sorted set of the same fields by when they are over, ms
    PREFIX:FAMILY                  the channel on which each word is published as it is written

A script that writes words lets go of those that are over, some at a time, and of those that are over first if there
are too many. Both keys live on as long as somebody writes. What is read is hostile: too long a value is not even sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.cluster.command import Command, Refusal, Script
from proxy.cluster.keys import FAMILIES, Family, Keys, ttl_ms
from proxy.cluster.seal import MAC_BYTES
from proxy.cluster.word import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.cluster.command import Answer

PAGE: Final = 64  # words that are read at once, about
MOST_DIGITS: Final = 16
MOST_OF_PAGE: Final = 1024  # small hashes are given as a whole

SAY: Final = Script("""
local words, ends, most = KEYS[1], KEYS[2], tonumber(ARGV[1])
-- What somebody has put there instead is replaced.
if type(redis.pcall('HLEN', words)) ~= 'number' then redis.call('DEL', words) end
if type(redis.pcall('ZCARD', ends)) ~= 'number' then redis.call('DEL', ends) end
local function drop(fields)
  if #fields > 0 then
    redis.call('HDEL', words, unpack(fields))
    redis.call('ZREM', ends, unpack(fields))
  end
end
local time = redis.call('TIME')
local now_ms = string.format('%.0f', time[1] * 1000 + time[2] / 1000)
drop(redis.call('ZRANGE', ends, '-inf', now_ms, 'BYSCORE', 'LIMIT', 0, 256))
for at = 4, #ARGV, 3 do
  redis.call('HSET', words, ARGV[at], ARGV[at + 2])
  redis.call('ZADD', ends, ARGV[at + 1], ARGV[at])
  redis.call('PUBLISH', ARGV[3], ARGV[at + 2])
end
local over = redis.call('ZCARD', ends) - most
if over > 0 then
  drop(redis.call('ZRANGE', ends, 0, math.min(over, 256) - 1))
end
local lives_ms = ARGV[2]
if redis.call('HLEN', words) > 2 * most then  -- their ends were lost: away with all, nodes write again what holds
  lives_ms = 1
end
redis.call('PEXPIRE', words, lives_ms)
redis.call('PEXPIRE', ends, lives_ms)
return {time[1], time[2]}
""")

READ: Final = Script("""
local page = redis.pcall('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
if page.err then page = {'0', {}} end  -- no hash: there are none
local time, longest, most = redis.call('TIME'), tonumber(ARGV[3]), tonumber(ARGV[4])
local found = {}
for at = 2, #page[2], 2 do
  if #page[2][at] <= longest and #found < most then
    found[#found + 1] = page[2][at]
  end
end
return {time[1], time[2], page[1], found}
""")


class Sealed(NamedTuple):
    """A word as it is written."""

    field: bytes
    until_us: int
    data: bytes


class Page(NamedTuple):
    """Some words that were read: when, where the next ones are (b"0": there are no more), and what they are."""

    time_us: int
    cursor: bytes
    words: list[object]


class Blackboard:
    """That of one topic."""

    def __init__(self, keys: Keys, family: Family, most: int) -> None:
        """`most`: words that it has room for."""
        shard = keys.shard_of(family.encode())
        self._words = keys.key(family, "words", shard)
        self._ends = keys.key(family, "ends", shard)
        self._channel = keys.channel(family)
        self._most = most
        self._lives_ms = ttl_ms(family, FAMILIES[family])

    def say(self, words: Sequence[Sealed]) -> Command:
        """Write words and publish them; the answer is for `time_of`."""
        args: list[bytes | int] = [self._most, self._lives_ms, self._channel]
        for word in words:
            args += [word.field, word.until_us // 1000, word.data]
        return Command(SAY, (self._words, self._ends), tuple(args))

    def read(self, cursor: bytes) -> Command:
        """Read words from a cursor on, at first b"0"; the answer is for `page_of`."""
        return Command(READ, (self._words,), (cursor, PAGE, MAC_BYTES + MOST_BYTES, MOST_OF_PAGE))

    def touch(self) -> list[Command]:
        """Let it live on."""
        return [Command("PEXPIRE", (key,), (self._lives_ms,)) for key in (self._words, self._ends)]


def time_of(answer: Answer) -> int:
    """Return the time that an answer tells, µs; ValueError if it tells none."""
    if isinstance(answer, Refusal):
        raise ValueError(answer.text)  # noqa: TRY004 - what the store says is no bug of ours
    match answer:
        case [bytes() as seconds, bytes() as microseconds, *_] if seconds.isdigit() and microseconds.isdigit():
            return int(seconds[:MOST_DIGITS]) * 10**6 + int(microseconds[:MOST_DIGITS])
    raise ValueError("an answer without a time")


def page_of(answer: Answer) -> Page:
    """Return the words that were read; ValueError if there are none."""
    time_us = time_of(answer)
    match answer:
        case [_, _, bytes() as cursor, list() as words] if cursor.isdigit():
            return Page(time_us, cursor, words)
    raise ValueError("an answer without words")
