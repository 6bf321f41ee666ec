"""The policy of the cluster, on this node: settings between those of its file and those of its environment.

    HKPGUARD_CONFIG  <  policy of the cluster  <  environment

The environment wins because it is what an operator gives to one node only: a policy cannot take a node's own exception
from it, and `hkpguard policy push` says where there are such. A policy is put in force as any other configuration, by
the supervisor: it is kept in HKPGUARD_STATE_DIR, where the supervisor reads it, and the supervisor is told to read its
configuration again.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Final

from fastpath import Control
from proxy.cluster.follower import Opinion
from proxy.cluster.shared_settings import overridden, read_shared, told
from proxy.config import ConfigError
from proxy.renewal import renewed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.cluster.kept import Kept, KeptRelease
    from proxy.cluster.release import KindName
    from proxy.config import Config
    from proxy.supervisor import Parent

LOOK_S: Final = 0.02
MOST_LOOKS: Final = 500  # ten seconds: plugins are asked, each in a process of its own


class Reload:
    """Has the supervisor read its configuration again, and waits for what it says."""

    def __init__(self, control: memoryview[int], parent: Parent) -> None:
        """`control`: the words that the supervisor writes."""
        self._control = control
        self._parent = parent

    async def __call__(self, generation: int) -> str:
        """Return why the policy of this generation is not in force; nothing if it is."""
        refused = self._control[Control.RELOAD_FAILURES]
        if os.getppid() != self._parent.pid:
            return "the supervisor is gone"
        os.kill(self._parent.pid, signal.SIGHUP)
        for _ in range(MOST_LOOKS):
            if self._control[Control.RELEASE] == generation:
                return ""
            if self._control[Control.RELOAD_FAILURES] != refused:
                return "the configuration was refused, see the log"
            await asyncio.sleep(LOOK_S)
        return "the supervisor did not reload in time"

    @property
    def generation(self) -> int:
        """The generation that is in force, 0: none."""
        return self._control[Control.RELEASE]


class PolicyKeeper:
    """See `follower.Keeper`."""

    kind: KindName = "policy"
    patience_ms = 15_000

    def __init__(
        self,
        place: KeptRelease,
        parent: Parent,
        running: Callable[[], Config],
        reload: Reload,
        *,
        aside: Callable[[Callable[[], Opinion]], Awaitable[Opinion]] = asyncio.to_thread,
    ) -> None:
        """Keep policies in `place`.

        Args:
            place: Where the supervisor reads it.
            parent: The supervisor.
            running: Returns the configuration in force.
            reload: Puts another in force.
            aside: Does what takes some ten ms; plugins may be asked.

        """
        self._place = place
        self._parent = parent
        self._running = running
        self._reload = reload
        self._aside = aside

    def kept(self) -> Kept | None:
        """See `follower.Keeper`; none if the supervisor had to start without."""
        kept = self._place.read()
        return kept if kept and kept.release.generation == self._reload.generation else None

    async def opinion(self, data: bytes) -> Opinion:
        """See `follower.Keeper`."""
        return await self._aside(lambda: self._tried(data))

    def _tried(self, data: bytes) -> Opinion:
        settings, faults = read_shared(data)
        if faults:
            return Opinion(told(faults))
        try:
            renewed(self._parent.environ, self._running(), data.decode())
        except ConfigError as error:
            return Opinion(told([*error.faults]))
        return Opinion(overridden=overridden(settings, self._parent.environ))

    async def use(self, kept: Kept) -> str:
        """See `follower.Keeper`."""
        try:
            before = self._place.read()
            if before is not None and before.data == kept.data and before.release.generation == self._reload.generation:
                self._place.write(kept)  # only its name is another
                return ""
            if faults := (await self.opinion(kept.data)).faults:
                return faults
            self._place.write(kept)
            if problem := await self._reload(kept.release.generation):
                self._place.write(before)
        except OSError as error:
            return f"it cannot be kept in HKPGUARD_STATE_DIR: {error.strerror}"
        return problem
