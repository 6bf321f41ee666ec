"""What nodes write about releases: the content that is in force for all, the one that is asked about, the votes on it.

    {0}:release:KIND:active        Release    the one in force; only a higher rank takes its place
    {0}:release:KIND:asked         Question   for as long as it is asked
    {0}:release:KIND:votes         a hash, node -> Vote
    {0}:release:content:SHA256     the content, in clear: its name says what it must be

All but the content is sealed. A content that is named by what is sealed, and has the hash that is its name, is what a
node of this cluster has put there.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from proxy.cluster.command import Script
from proxy.cluster.keys import FAMILIES, Family
from proxy.cluster.seal import MAC_BYTES, Forged
from proxy.settings.cluster import NODE

if TYPE_CHECKING:
    from proxy.cluster.keys import Keys
    from proxy.cluster.seal import Seal

KindName = Literal["policy", "models"]
NOTHING: Final = ""  # the content of a release after which each node has its own again
MOST_CONTENT_BYTES: Final = 8 * 1024 * 1024
MOST_RECORD_BYTES: Final = 4096
MOST_VOTES: Final = 1024
MOST_REASON: Final = 400
MOST_OVERRIDDEN: Final = 16
MOST_VARIABLE: Final = 128
KEPT_MS: Final = FAMILIES[Family.RELEASE]

Hash = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Name = Annotated[str, Field(pattern=f"^{NODE.pattern}$")]
Chance = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Generation = Annotated[int, Field(ge=1, le=2**40)]
Time = Annotated[int, Field(ge=0, le=2**53)]
Length = Annotated[int, Field(ge=0, le=MOST_CONTENT_BYTES)]


class Content(NamedTuple):
    """What a content is called, and its size."""

    hash: str = NOTHING
    size: int = 0

    @classmethod
    def of(cls, data: bytes) -> Content:
        """Name a content; nothing is called so."""
        return cls(sha256(data).hexdigest(), len(data)) if data else cls()

    def fits(self, data: bytes) -> bool:
        """Whether this is the content that is meant."""
        return Content.of(data) == self


class Record(BaseModel):
    """What is sealed."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Release(Record):
    """A content that is in force for all.

    Attributes:
        generation: One more with each.
        before: What was in force before, and is again if this is rolled back.
        at_ms: From when on (of Redis).
        until_ms: Until when a node that fails to put it in force rolls back for all; 0: it does not.
        by: The node that was told to.
        reason: Why it was rolled back to; empty if it was not.

    """

    kind: KindName
    generation: Generation
    content: Hash
    size: Length
    before: Hash
    before_size: Length
    at_ms: Time
    until_ms: Time
    by: Name
    reason: Annotated[str, Field(max_length=MOST_REASON)] = ""

    @property
    def rank(self) -> tuple[int, int, str]:
        """Of two releases that both were in force, as after a failover that lost one, that of the higher rank is."""
        return self.generation, self.at_ms, self.content

    @property
    def named(self) -> Content:
        """The content."""
        return Content(self.content, self.size)

    @property
    def named_before(self) -> Content:
        """The content before."""
        return Content(self.before, self.before_size)


class Question(Record):
    """A content that may become the next release, if every node says yes in time."""

    kind: KindName
    attempt: Chance
    generation: Generation
    content: Hash
    size: Length
    until_ms: Time
    by: Name

    @property
    def named(self) -> Content:
        """The content."""
        return Content(self.content, self.size)


class Vote(Record):
    """What a node thinks of a content.

    Attributes:
        life: Of the node: a guard that was started anew may think otherwise.
        reason: Why not.
        overridden: Variables of the node's own environment that win over the release.

    """

    attempt: Chance
    node: Name
    life: Chance
    yes: bool
    reason: Annotated[str, Field(max_length=MOST_REASON)] = ""
    overridden: Annotated[
        tuple[Annotated[str, Field(max_length=MOST_VARIABLE)], ...], Field(max_length=MOST_OVERRIDDEN)
    ] = ()


Some = TypeVar("Some", bound=Record)


def sealed(seal: Seal, record: Record) -> bytes:
    """Return a record as it is written; the same bytes each time."""
    return seal.seal(_kind(type(record)), record.model_dump_json().encode())


def opened(seal: Seal, kind: type[Some], data: object) -> Some | None:
    """Return the record that was sealed as such; None if it was not, or nothing is there."""
    if not data:
        return None
    try:
        return kind.model_validate_json(seal.open(_kind(kind), data, MOST_RECORD_BYTES))
    except (Forged, ValidationError):
        return None


def _kind(record: type[Record]) -> str:
    return f"release-{record.__name__.lower()}"


class Places(NamedTuple):
    """The keys of one kind of release."""

    active: bytes
    asked: bytes
    votes: bytes

    @classmethod
    def of(cls, keys: Keys, kind: KindName) -> Places:
        """Name them."""
        return cls(*(keys.key(Family.RELEASE, f"{kind}:{word}") for word in cls._fields))


def content_key(keys: Keys, content: Content) -> bytes:
    """Return the key of a content."""
    return keys.key(Family.RELEASE, f"content:{content.hash}")


_LONGEST: Final = MAC_BYTES + MOST_RECORD_BYTES - 1  # the last byte of a range

# active, asked, contents... -> time, active, asked. What is in use does not end: it is renewed in the second half of
# its time.
LOOK: Final = Script(
    f"""
local time = redis.call('TIME')
for index = 1, #KEYS do
  local left = redis.call('PTTL', KEYS[index])
  if index ~= 2 and left > 0 and left < {KEPT_MS // 2} then redis.call('PEXPIRE', KEYS[index], {KEPT_MS}) end
end
return {{time[1] * 1000 + math.floor(time[2] / 1000),
  redis.call('GETRANGE', KEYS[1], 0, {_LONGEST}), redis.call('GETRANGE', KEYS[2], 0, {_LONGEST})}}
"""
)
# asked, votes; question, ms -> 1, or 0 if something else is being asked.
ASK: Final = Script(
    """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
redis.call('DEL', KEYS[2])
return 1
"""
)
# asked; question -> 1, if it is no more asked now.
WITHDRAW: Final = Script("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
# asked, votes; question, node, vote, ms -> 1, or 0 if this is not asked any more.
VOTE: Final = Script(
    f"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if redis.call('HLEN', KEYS[2]) >= {MOST_VOTES} and redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
"""
)
# votes -> votes.
COUNT: Final = Script(
    f"""
if redis.call('HLEN', KEYS[1]) > {MOST_VOTES} then return {{}} end
local votes = {{}}
for _, vote in ipairs(redis.call('HVALS', KEYS[1])) do
  if #vote <= {_LONGEST + 1} then votes[#votes + 1] = vote end
end
return votes
"""
)
# active, asked; active as it is, release, question or nothing -> 1, or 0 if either is not as it was said to be.
RELEASE: Final = Script(
    f"""
if redis.call('GETRANGE', KEYS[1], 0, {_LONGEST}) ~= ARGV[1] then return 0 end
if ARGV[3] ~= '' then
  if redis.call('GET', KEYS[2]) ~= ARGV[3] then return 0 end
  redis.call('DEL', KEYS[2])
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', {KEPT_MS})
return 1
"""
)
