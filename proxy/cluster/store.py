"""The store: the one way from this node to Redis. It never raises anything but `StoreDown`, and never takes long.

pipeline -> circuit closed? -> a place -> deadline -> link (redis-py) -> answers | StoreDown
                 |
run -> probes: connects, writes; the circuit opens and closes

"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from prometheus_client.core import Metric

    from proxy.cluster.command import Answer, Argument, Command, Script
    from proxy.cluster.keys import Family, Keys
    from proxy.cluster.seal import Seal
    from proxy.config import Config
    from proxy.plugins.events import Event


class State(NamedTuple):
    """How the store is.

    Args:
        up: Whether it may be asked.
        since_ns: Since when it is so, monotonic.
        reason: Why it is not up; empty if it is.

    """

    up: bool
    since_ns: int
    reason: str


class Message(NamedTuple):
    """What a node published. `data` is hostile: `Seal.open` first."""

    family: Family
    data: bytes


class Gap(NamedTuple):
    """Messages may have been missed before this moment, and none are after it: read the whole state now.

    The first thing that a listener hears, too.
    """


class Store(Collector):
    """Redis, as a node sees it.

    Attributes:
        node: The name of this node, the same after a restart.
        keys: Names of keys and channels.
        seal: For what is written, and read.

    """

    node: str
    keys: Keys
    seal: Seal

    def __init__(self, config: Config, *, publish: Callable[[Event], None]) -> None:
        """Connect from `run` on; down until then.

        Args:
            config: Has a `redis_url` and a secret.
            publish: Tells of StoreLost and StoreBack.

        Raises:
            OSError: A file of a secret or password cannot be read any more.

        """

    @property
    def state(self) -> State:
        """How the store is at the moment; never waits."""
        raise NotImplementedError

    @property
    def up(self) -> bool:
        """Whether it may be asked: `state.up`."""
        raise NotImplementedError

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        raise NotImplementedError

    async def run(self) -> None:
        """Connect, and again whenever the store is lost, until cancelled; then close all connections."""

    async def pipeline(self, commands: Sequence[Command], *, seconds: float | None = None) -> list[Answer]:
        """Send commands at once, and return their answers in order.

        They are not a transaction, only a script is atomic. Answers are those of Redis as they come (RESP2): bytes, int,
        None, lists; a command that was refused for its own sake has a `Refusal`. They are hostile, and as large as the database
        makes them: ask in a way that bounds them (HSCAN, GETRANGE, a script that looks at the length first).

        Args:
            commands: At most MOST_COMMANDS, MOST_BYTES in all; more is a ValueError.
            seconds: The deadline, waiting for a place included; None: HKPGUARD_CLUSTER__TIMEOUT.

        Raises:
            StoreDown: At once if the store is known to be down, else at the deadline at the latest. Nothing is tried again;
                see `StoreDown.maybe_done`.

        """
        raise NotImplementedError

    async def call(self, what: str | Script, *keys: bytes, args: Sequence[Argument] = ()) -> Answer:
        """Send one command; see `pipeline`. A `Refusal` is returned, not raised."""
        raise NotImplementedError

    def listen(self, *families: Family, most: int = 4096) -> AsyncIterator[Message | Gap]:
        """Hear what is published on the channels of `families`, for ever.

        It begins with a `Gap` as soon as the subscription holds; after that nothing is missed without another one: the
        connection was lost and is back, or the listener was so slow that more than `most` messages waited, which are dropped.
        While the store is down nothing comes.
        """
        raise NotImplementedError

    async def publish(self, family: Family, data: bytes) -> None:
        """Send a sealed message to all nodes that listen, this one included; StoreDown as in `pipeline`."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client's collector interface)."""
        raise NotImplementedError
