"""Settings of what answers abuse: bans, traps and the tarpit."""

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from proxy.settings.kinds import (
    DAY,
    HOUR,
    MIB,
    MILLISECOND,
    MINUTE,
    PATH_PREFIX,
    SECOND,
    Choice,
    Duration,
    Kind,
    ListOf,
    OrEmpty,
    Size,
    Spelled,
    Whole,
)
from proxy.settings.limits import Mode
from proxy.settings.section import Section

# What a client may search for.
SUBJECT: Final = Spelled(
    re.compile(r"[^,\x00-\x20\x7f]{1,128}"), "a fingerprint, a key id or an address, 1 to 128 characters"
)
MONTH: Final = 30 * DAY


@dataclass(frozen=True, slots=True)
class Ladder(Kind[tuple[int, ...]]):
    """Durations in ns, each at least as long as the one before."""

    rung: Duration

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return f"a list of at least one, none shorter than the one before, each item {self.rung.allowed}"

    def parse(self, given: object) -> tuple[int, ...]:
        """See `Kind`."""
        rungs = ListOf(self.rung).parse(given)
        if not rungs or list(rungs) != sorted(rungs):
            raise self.refusal()
        return rungs

    def render(self, value: tuple[int, ...]) -> str:
        """See `Kind`."""
        return ListOf(self.rung).render(value)


class BansConfig(Section):
    """When a client is banned, for how long, and when its network is."""

    mode: Mode = "enforce"
    points: Annotated[int, Whole(1, 1_000_000)] = 100  # of offences that earn a ban
    half_life_ns: Annotated[int, Duration(SECOND, DAY)] = Field(default=10 * MINUTE, alias="half_life")
    ladder_ns: Annotated[tuple[int, ...], Ladder(Duration(SECOND, MONTH))] = Field(
        default=(30 * MINUTE, 2 * HOUR, 8 * HOUR, 24 * HOUR), alias="ladder"
    )
    forget_ns: Annotated[int, Duration(MINUTE, 366 * DAY)] = Field(default=DAY, alias="forget")  # a rung, if good
    shared_ns: Annotated[int, Duration(SECOND, DAY)] = Field(default=MINUTE, alias="shared")  # of a shared exit
    widen_ipv4: Annotated[int, Whole(2, 256)] = 8  # banned addresses of a /24
    widen_ipv6: Annotated[int, Whole(2, 256)] = 4  # banned /64 of a /56, or such /56 of a /48
    refusal: Annotated[Literal["close", "reset", "tarpit"], Choice(("close", "reset", "tarpit"))] = "close"


class TrapsConfig(Section):
    """What no client of a keyserver asks for."""

    mode: Mode = "enforce"
    paths: Annotated[tuple[str, ...] | None, OrEmpty(ListOf(PATH_PREFIX))] = None  # None: built in
    subjects: Annotated[tuple[str, ...], ListOf(SUBJECT)] = ()


class TarpitConfig(Section):
    """Connections that are held instead of answered. The bounds are those of one worker."""

    mode: Annotated[Literal["off", "slow", "sticky", "random"], Choice(("off", "slow", "sticky", "random"))] = "slow"
    connections: Annotated[int, Whole(0, 1_048_576)] = 4096
    kernel_bytes: Annotated[int, Size(0, 65_536 * MIB)] = 128 * MIB
    interval_ns: Annotated[int, Duration(100 * MILLISECOND, MINUTE)] = Field(default=5 * SECOND, alias="interval")
    hold_ns: Annotated[int, Duration(SECOND, DAY)] = Field(default=15 * MINUTE, alias="hold")
