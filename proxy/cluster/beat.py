"""What a node says of itself each second, and the script that takes it down.

    {0}:member:beats     a hash, node -> when (of Redis, 13 digits), life (16), whether it left (0, 1), sealed beat

A life is one start of a guard. The script lets nobody speak in the name of a node whose other life is speaking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from proxy.cluster.command import Script
from proxy.cluster.keys import FAMILIES, Family
from proxy.cluster.seal import Forged
from proxy.settings.cluster import NODE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from proxy.cluster.command import Argument
    from proxy.cluster.seal import Seal

PROTOCOL: Final = 1  # of all that nodes say to each other
MOST_MEMBERS: Final = 1024
TAKEN_MS: Final = 4000  # a name is free after so long
MOST_BEAT_BYTES: Final = 1024
SEALED_AS: Final = "member"

# beats; node, life, left, beat (empty: only look), whether to look, bounds... -> time, ok | taken | full, beats
BEAT: Final = Script(
    """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node, life, left, beat = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local most, free_ms, purge_ms, most_bytes = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local answer = 'ok'
local size = redis.pcall('HLEN', KEYS[1])
if type(size) ~= 'number' or size > most then redis.call('DEL', KEYS[1]) end
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
    number: Whole  # more with each beat of a life
    at_ms: Whole  # of Redis, as well as the node knows
    since_ms: Whole
    left: bool = False
    version: Word
    protocol: Whole
    capacity: Capacity = Capacity()
    policy: Held = Held()
    models: Held = Held()


def arguments(node: str, beat: Beat | None, data: bytes, *, looks: bool) -> tuple[Argument, ...]:
    """Return what BEAT is called with; without a beat nothing is taken down."""
    life, left = (beat.life, int(beat.left)) if beat else ("", 0)
    return node, life, left, data, int(looks), MOST_MEMBERS, TAKEN_MS, FAMILIES[Family.MEMBER], MOST_BEAT_BYTES


def sealed(seal: Seal, beat: Beat) -> bytes:
    """Return a beat as it is written."""
    return seal.seal(SEALED_AS, beat.model_dump_json().encode())


def opened(seal: Seal, beats: Iterable[object]) -> Iterator[Beat]:
    """Yield the beats that nodes of this cluster have written, and that are understood."""
    for each in beats:
        try:
            yield Beat.model_validate_json(seal.open(SEALED_AS, each, MOST_BEAT_BYTES))
        except (Forged, ValidationError):
            continue
