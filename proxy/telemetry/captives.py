"""What the clients sent that the tarpit holds or has held: who they are, told by what they ask for.

Their words are evidence for an operator, and an attacker's choice: each is cut, so many are kept of a client, and so
many clients; what would move a terminal's cursor is replaced.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.policy.actions import Action

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastpath import Record

MOST_CAPTIVES: Final = 1024
MOST_TOOLS: Final = 4
MOST_PATHS: Final = 16
TOOL_BYTES: Final = 32
PATH_BYTES: Final = 31  # what a record has room for
NOT_SHOWN: Final = "\N{REPLACEMENT CHARACTER}"


class Captive(NamedTuple):
    """What is known of a client that was held. Texts are fit for display, but not free of markup."""

    client: int  # from client_key
    first_ns: int  # CLOCK_MONOTONIC of its first connection, and of its last
    last_ns: int
    connections: int  # since `first_ns`: how persistent it is
    tools: tuple[str, ...]  # the first that it called itself, at most MOST_TOOLS of at most 32 characters
    paths: tuple[str, ...]  # the first that it asked for, at most MOST_PATHS of at most 31 characters


@dataclass(slots=True)
class _Profile:
    first_ns: int
    last_ns: int
    connections: int = 0
    tools: list[bytes] = field(default_factory=list)
    paths: list[bytes] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Take note of a connection."""
        path, _, tool = record.subject.partition(b"\t")
        self.first_ns = min(self.first_ns, record.time_ns)
        self.last_ns = max(self.last_ns, record.time_ns)
        self.connections += 1
        _note(self.tools, tool[:TOOL_BYTES], MOST_TOOLS)
        _note(self.paths, path[:PATH_BYTES], MOST_PATHS)


class Captives:
    """The clients that were held last, fed with records; no other state, no clock."""

    def __init__(self, most: int = MOST_CAPTIVES) -> None:
        """Keep `most` of them, at least 1; about 3 KB each if it tries everything."""
        if most < 1:
            raise ValueError(f"most {most} is less than 1")
        self._most = most
        self._profiles: OrderedDict[int, _Profile] = OrderedDict()  # least recently fed first

    def feed(self, records: Iterable[Record]) -> None:
        """Take note of those records whose action is `tarpit`; their subjects are `path TAB user-agent`.

        The records come in the order of time, but for what different workers wrote at nearly the same time.
        """
        for record in records:
            if record.action == Action.TARPIT:
                self._profile(record).add(record)

    def _profile(self, record: Record) -> _Profile:
        """Return the profile of a client, a new one in the place of the one least recently fed if need be."""
        profile = self._profiles.get(record.client)
        if profile is None:
            if len(self._profiles) >= self._most:
                self._profiles.popitem(last=False)
            profile = self._profiles[record.client] = _Profile(record.time_ns, record.time_ns)
        self._profiles.move_to_end(record.client)
        return profile

    def list(self, most: int) -> tuple[Captive, ...]:
        """Return at most `most`, those that were seen last first."""
        newest = islice(reversed(self._profiles.items()), max(most, 0))
        return tuple(_captive(client, profile) for client, profile in newest)


def _note(seen: list[bytes], word: bytes, most: int) -> None:
    if word and word not in seen and len(seen) < most:
        seen.append(word)


def _captive(client: int, profile: _Profile) -> Captive:
    return Captive(
        client=client,
        first_ns=profile.first_ns,
        last_ns=profile.last_ns,
        connections=profile.connections,
        tools=tuple(map(_shown, profile.tools)),
        paths=tuple(map(_shown, profile.paths)),
    )


def _shown(word: bytes) -> str:
    """Return a word for display; controls, marks that change its direction and halves of characters are replaced."""
    return "".join(each if each.isprintable() else NOT_SHOWN for each in word.decode("utf-8", "replace"))
