"""The contract of plugins: what one is, what it may offer, and what it gets. See docs/plugins.md.

    set_up(host) -> start() -> look(block), routes, events ... -> drain() -> stop()

All of it is plain synchronous code in one thread. A plugin that is built in lives in the analyst; every other one has
a process of its own (`child.py`), which is fed records and answers with evidence, and which is killed if it hangs or
takes too much memory. So nothing here can reach a request: what a plugin finds becomes a verdict, if it is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from fastpath import PrefixBook
    from fastpath.prefixes import PrefixSet
    from geo.atlas import Atlas
    from models.coldness import Coldness
    from models.watch import Watch
    from proxy.plugins.events import Event
    from proxy.policy.fusion import Evidence

Json = dict[str, Any]
Route = Callable[[Mapping[str, str]], Json]  # of the query of a GET
Heard = Callable[[str, Json], None]  # the kind of an event, and its data
OnFailure = Literal["open", "closed"]


class Detector(Protocol):
    """Looks at what the workers record."""

    def look(self, block: NDArray[np.void], now_ns: int) -> Iterable[Evidence | None]:
        """Return evidence that the newest records give.

        One that is built in shares a process with others, and yields its evidence in steps of some tenths of a
        millisecond (`models.steps`); None is a step that found nothing.

        Args:
            block: Records (`fastpath.record_array.RECORD_DTYPE`) in the order of time, at least one; not to be kept.
            now_ns: CLOCK_MONOTONIC, as in the records.

        """


class Log(Protocol):
    """Where a plugin may say something to the operator."""

    def info(self, text: str, **more: Any) -> object:  # noqa: ANN401 - as structlog has it
        """Say what is good to know."""

    def warning(self, text: str, **more: Any) -> object:  # noqa: ANN401 - likewise
        """Say what is not as it should be."""


class Publisher(Protocol):
    """The bus, as plugins see it. Those that are not built in may publish `PluginSaid`."""

    def publish(self, event: Event) -> None:
        """Hand an event to all who want it."""


class NoSettings(BaseModel):
    """The settings of a plugin that has none of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def chosen(clients: NDArray[np.uint64], percent: int, salt: str) -> NDArray[np.bool_]:
    """Tell which clients are among a percentage: always the same ones, and others for another salt.

    Args:
        clients: Keys, as in the records.
        percent: 0 to 100.
        salt: What the percentage is of.

    """
    # The finaliser of splitmix64: a client is its hash, so no table has to remember who was chosen.
    word = clients.dtype.type  # np.uint64; NumPy is not imported here, for workers have to read this module
    mixed = clients ^ word(int.from_bytes(blake2b(salt.encode(), digest_size=8).digest()))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> word(shift))) * word(factor)
    mixed ^= mixed >> word(31)
    return mixed % word(100) < word(percent)


class Common(NamedTuple):
    """What the analyst keeps once for all plugins that are built in. It alone feeds it, before it shows them records.

    Attributes:
        coldness: Who asks for what nobody else asks for.
        watch: Windows of clients, and who of them is to be looked at.
        atlas: Where they are; None: nobody knows.
        origins: What lists and rules say of their networks; None: nothing.

    """

    coldness: Coldness
    watch: Watch
    atlas: Atlas | None = None
    origins: PrefixBook | PrefixSet | None = None


@dataclass(frozen=True, kw_only=True)
class Host:
    """What a plugin gets.

    Attributes:
        config: Its settings, an instance of its model.
        log: For the operator.
        bus: For events.
        state_dir: A folder of its own, which outlives restarts.
        features: Those that are not on for everybody, in per cent of clients.
        common: Only of those that are built in.

    """

    config: BaseModel
    log: Log
    bus: Publisher
    state_dir: Path
    features: Mapping[str, int] = field(default_factory=dict)
    common: Common | None = None

    def feature(self, name: str, clients: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Tell for which clients one of its features is on."""
        return chosen(clients, self.features.get(name, 100), name)


class Plugin:
    """A plugin. Only its name and version must be given; everything else may be left as it is.

    Attributes:
        name: Lower-case words with hyphens; also its entry point, and its variables: HKPGUARD_PLUGINS__<NAME>__...
        version: Of the plugin.
        needs: Other plugins that must run, and are started before it.
        settings: A model of its own settings; each has a default.
        features: Parts of it that can be on for a percentage of clients.
        on_failure: `open`: while it is broken the node goes on without it. `closed`: it does that as well, but says
            that it is not ready.

    """

    name: ClassVar[str]
    version: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[type[BaseModel]] = NoSettings
    features: ClassVar[tuple[str, ...]] = ()
    on_failure: ClassVar[OnFailure] = "open"

    def set_up(self, host: Host) -> None:
        """Take what the host gives; open what is needed."""

    def start(self) -> None:
        """Begin: records come from now on."""

    def drain(self) -> None:
        """Finish what was begun: no more records come."""

    def stop(self) -> None:
        """Close what is open."""

    def health(self) -> str:
        """Return what is wrong, one line; empty if all is well."""
        return ""

    def detectors(self) -> Sequence[Detector]:
        """Return what is to look at the records."""
        return ()

    def checks(self) -> Sequence[str]:
        """Return the checks in the workers that it answers for: names of `proxy/policy/judge`. Only if built in."""
        return ()

    def routes(self) -> Mapping[str, Route]:
        """Return what it answers on the admin API, by the last part of /api/v1/plugins/<name>/routes/<route>."""
        return {}

    def metrics(self) -> Mapping[str, float]:
        """Return figures by name, for `hkpguard_plugin_value`."""
        return {}

    def subscriptions(self) -> Mapping[str, Heard]:
        """Return who is to hear of events, by their kinds: `ban.placed`, `ban.*` or `*`."""
        return {}


class Description(BaseModel):
    """What a plugin says of itself before it is set up."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    needs: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    on_failure: OnFailure = "open"
    checks: tuple[str, ...] = ()
    settings: Json = {}  # JSON Schema
    built_in: bool = False


def describe(plugin: Plugin, *, built_in: bool = False) -> Description:
    """Return what a plugin says of itself."""
    kind = type(plugin)
    return Description(
        name=kind.name,
        version=kind.version,
        needs=kind.needs,
        features=kind.features,
        on_failure=kind.on_failure,
        checks=tuple(plugin.checks()),
        settings=kind.settings.model_json_schema(),
        built_in=built_in,
    )
