"""What happens, as types: each event is a frozen model, and its JSON is what the log, the webhook and listeners get.

On the wire (names as in Standard Webhooks):

    {"id": "5f1c-17", "type": "ban.placed", "timestamp": "2026-11-21T08:31:41.120Z", "data": {...}}

A kind is `family.word`. New fields may be added to an event; those that are there stay, with their meaning.
Addresses are personal data: the fields that hold them are named in `personal`, and who need not know gets none. So are
all texts that plugins write, for nobody knows what is in them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

Json = dict[str, Any]
MOST_SHOWN: Final = 16  # pieces of evidence that one event tells of
MOST_TEXT: Final = 500  # characters of a text that comes from a plugin
MOST_NAME: Final = 64  # of what it calls something
Name = Annotated[str, Field(max_length=MOST_NAME)]
Line = Annotated[str, Field(max_length=MOST_TEXT)]


class Event(BaseModel):
    """Something that happened."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)  # JSON has neither

    kind: ClassVar[str]
    personal: ClassVar[frozenset[str]] = frozenset()

    def values(self, *, addresses: bool) -> Json:
        """Return the fields as JSON has them, those with addresses only if asked for."""
        return self.model_dump(mode="json", exclude=None if addresses else set(self.personal))


class BanPlaced(Event):
    """A client or network was banned, or its ban was made longer."""

    kind = "ban.placed"
    personal = frozenset({"network"})

    network: str
    origin: str = Field(description="ladder, widened or manual; cluster: another node placed it")
    seconds: int
    rung: int
    reason: str
    mode: str = Field(description="enforce, or shadow: nobody is refused")
    node: str = Field("", description="who placed it, if another node of the cluster did")


class BanLifted(Event):
    """A ban was ended before its time."""

    kind = "ban.lifted"
    personal = frozenset({"network"})

    network: str
    origin: str
    by: str = Field(description="operator, reload: the configuration exempts it now, or cluster: on another node")
    node: str = Field("", description="who had placed it, if another node of the cluster had")


class VerdictRaised(Event):
    """Evidence has earned a client or network a harder standing."""

    kind = "verdict.raised"
    personal = frozenset({"subject", "reasons"})

    subject: str
    before: str
    after: str
    log_odds: float
    seconds: int
    reasons: tuple[str, ...]


class VerdictLowered(VerdictRaised):
    """Evidence against a client or network is over, or was outweighed."""

    kind = "verdict.lowered"


class BudgetAlarm(Event):
    """A budget of everybody fills, is used up, or has room again."""

    kind = "budget.alarm"

    budget: str
    stage: str = Field(description="filling, slowing or calm")
    used: float = Field(description="part of its burst; above 1 some wait for what is yet to come")
    mode: str


class LoadAlarm(Event):
    """A class of operations comes under attack, costs more or less because of it, or is left alone again."""

    kind = "load.alarm"

    operation: str
    stage: str = Field(description="attack, or calm: it is over")
    times: int = Field(description="tokens of its class that a request costs")
    mode: str = Field(description="enforce, or shadow: it costs one as ever")


class UpstreamDown(Event):
    """A keyserver does not answer any more."""

    kind = "upstream.down"

    upstream: str


class UpstreamUp(Event):
    """A keyserver answers again."""

    kind = "upstream.up"

    upstream: str


class StoreLost(Event):
    """The store that nodes share is out of reach of this one; told again if that gets another reason, to be mended."""

    kind = "store.lost"

    reason: str


class StoreBack(Event):
    """The store is in reach again."""

    kind = "store.back"

    seconds: float = Field(description="that it was out of reach")


class NodeJoined(Event):
    """Another node has joined the cluster, or is back."""

    kind = "node.joined"

    node: str
    version: str
    nodes: int = Field(description="that there are now, this one included")


class NodeLeft(Event):
    """Another node has left the cluster."""

    kind = "node.left"

    node: str
    why: str = Field(description="drained: it said so, or lost: it is not heard of any more")
    nodes: int = Field(description="that there are now, this one included")


class ReleaseActive(Event):
    """A policy or models that were made for all nodes are in force on this one."""

    kind = "release.active"

    what: str = Field(description="policy or models")
    generation: int
    content: str = Field(description="its SHA-256; empty: none, each node has its own")
    reason: str = Field(description="why it was rolled back to; empty if it was not")


class ReleaseRefused(Event):
    """A policy or models that are in force in the cluster cannot be in force on this node."""

    kind = "release.refused"

    what: str = Field(description="policy or models")
    generation: int
    reason: str


class ConfigReloaded(Event):
    """Another configuration is in force."""

    kind = "config.reloaded"

    generation: int


class PluginChanged(Event):
    """A plugin was started, stopped, reloaded or set otherwise."""

    kind = "plugin.changed"

    plugin: str
    version: str
    mode: str


class PluginBroken(Event):
    """A plugin is not asked any more, because it failed; the node goes on without it."""

    kind = "plugin.broken"
    personal = frozenset({"reason"})

    plugin: str
    reason: str
    seconds: float = Field(description="until it is tried again")


class PluginRestored(Event):
    """A plugin that was broken works again."""

    kind = "plugin.restored"

    plugin: str


class PluginSaid(Event):
    """What a plugin tells of its own."""

    kind = "plugin.said"
    personal = frozenset({"data"})

    plugin: str = ""  # filled in by the guard
    topic: str = Field(max_length=MOST_NAME, pattern=r"^[a-z][a-z0-9_.-]*$")
    data: dict[Name, Line | int | float | bool] = Field(default_factory=dict, max_length=32)


class Found(BaseModel):
    """One piece of evidence, as people read it."""

    model_config = ConfigDict(frozen=True)

    subject: str
    kind: str
    weight: float
    reason: str
    shadow: bool


class EvidenceFound(Event):
    """A plugin has found evidence for or against clients or networks."""

    kind = "evidence.found"
    personal = frozenset({"found"})

    plugin: str
    count: int
    found: tuple[Found, ...] = Field(max_length=MOST_SHOWN)


EVENTS: Final[dict[str, type[Event]]] = {
    each.kind: each
    for each in (
        BanPlaced,
        BanLifted,
        VerdictRaised,
        VerdictLowered,
        BudgetAlarm,
        LoadAlarm,
        UpstreamDown,
        UpstreamUp,
        StoreLost,
        StoreBack,
        NodeJoined,
        NodeLeft,
        ReleaseActive,
        ReleaseRefused,
        ConfigReloaded,
        PluginChanged,
        PluginBroken,
        PluginRestored,
        PluginSaid,
        EvidenceFound,
    )
}


@dataclass(frozen=True, slots=True)
class Posted:
    """An event on the bus.

    Attributes:
        number: How many were published before it, by this process.
        id: The number, and which process: numbers begin anew with each.
        wall_s: When, seconds since 1970.
        event: What.

    """

    number: int
    id: str
    wall_s: float
    event: Event

    def wire(self, *, addresses: bool) -> Json:
        """Return what is sent."""
        return {
            "id": self.id,
            "type": self.event.kind,
            "timestamp": _utc(self.wall_s),
            "data": self.event.values(addresses=addresses),
        }


def unheard(_event: Event) -> None:
    """Publish where there is no bus."""


def schemas() -> Json:
    """Return the JSON Schema of the data of each kind of event."""
    return {kind: event.model_json_schema() for kind, event in EVENTS.items()}


def _utc(wall_s: float) -> str:
    milliseconds = int(wall_s * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(milliseconds // 1000))}.{milliseconds % 1000:03d}Z"
