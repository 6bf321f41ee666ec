"""What is remembered of a client that did something, and of how many clients."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from struct import Struct
from typing import Final, NamedTuple

from proxy.policy.offences import WORTH, OffenceKind

MOST_OFFENDERS: Final = 65_536
LAST_OFFENCES: Final = 8  # kept of each offender, for whoever asks
WORTHLESS: Final = 0.5  # points below are none
_OFFENCE: Final = Struct("<Bq")  # kind, time in ns: eight of them take less room so than one tuple


class Origin(StrEnum):
    """Where a ban comes from."""

    LADDER = "ladder"
    WIDENED = "widened"  # a network is banned because of the clients in it
    MANUAL = "manual"
    CLUSTER = "cluster"  # another node placed it


class Ban(NamedTuple):
    """A client or network that is, or was, banned."""

    key: int
    origin: Origin
    since_ns: int
    until_ns: int
    rung: int = 0  # of the ladder, from 1; 0: not on it
    reason: str = ""
    node: str = ""  # who placed it; empty: this node, or it is not known any more which

    def in_force(self, now_ns: int) -> bool:
        """Tell whether it has not ended."""
        return now_ns < self.until_ns


@dataclass(slots=True)
class Offender:
    """Points, last offences and last ban of a client."""

    points: float = 0.0
    points_ns: int = 0  # when they were so many
    rung: int = 0  # of the last ban
    since_ns: int = 0
    until_ns: int = 0
    reason: str = ""
    _last: bytes = b""

    def points_at(self, now_ns: int, half_life_ns: int) -> float:
        """Return what time has left of the points."""
        return float(self.points * 0.5 ** (max(0, now_ns - self.points_ns) / half_life_ns))

    def rung_at(self, now_ns: int, forget_ns: int) -> int:
        """Return what time has left of the rung; during the ban nothing is forgotten."""
        return max(0, self.rung - max(0, now_ns - self.until_ns) // forget_ns)

    def note(self, kind: OffenceKind, now_ns: int, half_life_ns: int) -> None:
        """Add an offence; one that is told of late is worth what time has left of it."""
        late_ns = max(0, self.points_ns - now_ns)
        self.points = self.points_at(now_ns, half_life_ns) + WORTH[kind].points * 0.5 ** (late_ns / half_life_ns)
        self.points_ns = max(now_ns, self.points_ns)
        self._last = (self._last + _OFFENCE.pack(kind, now_ns))[-LAST_OFFENCES * _OFFENCE.size :]

    def offences(self) -> list[tuple[OffenceKind, int]]:
        """Return the last offences and their times in ns, the newest first."""
        return [(OffenceKind(kind), time_ns) for kind, time_ns in _OFFENCE.iter_unpack(self._last)][::-1]

    def start(self, rung: int, since_ns: int, length_ns: int) -> None:
        """Begin a ban; the points are paid with it."""
        kinds = Counter(kind.name.lower() for kind, _ in self.offences())
        self.rung, self.since_ns, self.until_ns = rung, since_ns, since_ns + length_ns
        self.reason = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        self.points = 0.0

    def ban(self, client: int) -> Ban:
        """Return the last ban as others see it."""
        return Ban(client, Origin.LADDER, self.since_ns, self.until_ns, self.rung, self.reason)


class Offenders:
    """MOST_OFFENDERS at most; of those that are not banned the one goes first who offended the longest ago."""

    def __init__(self, forgotten: Callable[[int], None]) -> None:
        """`forgotten` is called with each client that has to go, or against whom nothing is held any more."""
        self._forgotten = forgotten
        self._free: OrderedDict[int, Offender] = OrderedDict()  # the last to offend at the end
        self._banned: dict[int, Offender] = {}

    def __iter__(self) -> Iterator[int]:
        """Yield all clients."""
        yield from self._banned
        yield from self._free

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._banned) + len(self._free)

    def get(self, client: int) -> Offender | None:
        """Return an offender, None if nothing is known."""
        return self._banned.get(client) or self._free.get(client)

    def banned(self) -> list[tuple[int, Offender]]:
        """Return those that were filed as banned; the bans of some may be over."""
        return list(self._banned.items())

    def remember(self, client: int) -> Offender | None:
        """Return an offender, a new one if nothing is known; None if there is no room because all are banned."""
        offender = self.get(client)
        if offender is None:
            if len(self) >= MOST_OFFENDERS and not self._forget_oldest():
                return None
            offender = self._free[client] = Offender()
        if client in self._free:
            self._free.move_to_end(client)
        return offender

    def _forget_oldest(self) -> bool:
        if not self._free:
            return False
        client, _ = self._free.popitem(last=False)
        self._forgotten(client)
        return True

    def file(self, client: int, offender: Offender, *, banned: bool) -> None:
        """Keep an offender safe from being forgotten, as long as he is banned; afterwards he is as the newest."""
        self.drop(client)
        (self._banned if banned else self._free)[client] = offender

    def drop(self, client: int) -> None:
        """Forget a client, if anything is known."""
        self._banned.pop(client, None)
        self._free.pop(client, None)

    def sweep(self, now_ns: int, *, half_life_ns: int, forget_ns: int) -> None:
        """Forget those against whom nothing is held any more."""
        blank = [
            client
            for client, offender in self._free.items()
            if offender.points_at(now_ns, half_life_ns) < WORTHLESS and not offender.rung_at(now_ns, forget_ns)
        ]
        for client in blank:
            del self._free[client]
            self._forgotten(client)
