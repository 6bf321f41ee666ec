"""What the store is asked, what it answers, and how it fails: the words that all of `proxy.cluster` shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from typing import Final, NamedTuple

Argument = bytes | str | int | float
Answer = object  # bytes, int, None, a list of these, or Refusal; hostile: check types and bounds

MOST_COMMANDS: Final = 1024  # of one pipeline
MOST_BYTES: Final = 16 * 1024 * 1024  # that one pipeline sends
_FRAME_BYTES: Final = 6  # what RESP puts around an argument, at least
_NUMBER_BYTES: Final = 16


class StoreDown(Exception):
    """The store did not do what it was asked, or nobody knows whether it did. There is nothing else that it raises.

    Attributes:
        maybe_done: Whether some of the commands may have been done: the answer did not come, or not in time. False:
            certainly none was.

    """

    def __init__(self, text: str, *, maybe_done: bool = False) -> None:
        """Say why, in words for operators."""
        super().__init__(text)
        self.maybe_done = maybe_done


class Refusal(NamedTuple):
    """The answer to one command that Redis refused, while it did others of the pipeline: a key of another type, say."""

    text: str


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script: atomic, and for keys of one shard. It is sent once to each server, and called by its SHA1 then.

    It reads the time with `redis.call('TIME')`, never from its caller: clocks of nodes differ.
    """

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        """Name it as Redis does."""
        object.__setattr__(self, "sha", sha1(self.source.encode(), usedforsecurity=False).hexdigest())


class Command(NamedTuple):
    """One command: `Command("SET", (key,), (value, "PX", 500))`, `Command(SCRIPT, (key, other), (7,))`.

    Args:
        what: A Redis command, in capitals, or a script.
        keys: What it touches; of one shard if there are several.
        args: What comes after the keys.

    """

    what: str | Script
    keys: tuple[bytes, ...] = ()
    args: tuple[Argument, ...] = ()

    @property
    def size(self) -> int:
        """How many bytes are sent, to a few for each argument."""
        arguments = (self.what if isinstance(self.what, str) else self.what.sha, *self.keys, *self.args)
        return sum(map(_size, arguments)) + _FRAME_BYTES * len(arguments)


def _size(argument: Argument) -> int:
    return len(argument) if isinstance(argument, bytes | str) else _NUMBER_BYTES
