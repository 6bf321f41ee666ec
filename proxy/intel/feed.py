"""One feed: when it is asked, what is believed of what it says, and what stays if it says nothing. Part of the courier.

What a source gives takes the place of what it gave before, if it is plausible: within the bounds of the feed, and not
of a tenth of the size all at once, which is what a list looks like whose maker had an accident. What is not plausible
is held back and told; the list before stays until it expires, and then whatever is within the bounds is taken.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from proxy.intel.formats.reading import NotAList
from proxy.intel.snapshot import Snapshot, source_of
from proxy.intel.web import FetchFailed
from proxy.plugins.runner import line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.intel.formats.reading import Parsed
    from proxy.intel.gathering import Gatherer
    from proxy.intel.snapshot import SnapshotStore
    from proxy.settings.intel import FeedConfig

Outcome = Literal["new", "same", "held", "failed"]
RETRY_SECONDS: Final = 60.0  # after the first failure; then twice as long each time, up to its usual pause
SPREAD: Final = 0.1  # of a pause that is chance, so that a thousand guards do not ask at the same second
FIRST_SECONDS: Final = 5.0  # within which a feed without a list is asked for the first time


class Report(NamedTuple):
    """How it went."""

    outcome: Outcome
    problem: str = ""  # empty if all is well
    rows: int = 0
    bad: int = 0
    left: Mapping[str, int] = {}


class Feed:
    """A feed and its last good list.

    Attributes:
        name: Of the feed.
        config: Its settings.
        snapshot: What it lists; None: nothing that is believed.
        due_s: When it is to be asked, seconds since 1970.

    """

    def __init__(  # noqa: PLR0913 - the last three are for tests
        self,
        name: str,
        config: FeedConfig,
        store: SnapshotStore,
        make: Callable[[FeedConfig, Mapping[str, str]], Gatherer],
        *,
        now_s: float,
        random: Callable[[], float],
    ) -> None:
        """Take up what was listed before.

        Args:
            name: Of the feed.
            config: Its settings.
            store: Where lists are kept.
            make: Returns its source, as `gathering.gatherer`.
            now_s: Seconds since 1970.
            random: Returns numbers from 0.0 to 1.0, without 1.0.

        """
        self.name = name
        self.config = config
        self._store = store
        self._random = random
        self._failures = 0
        self.snapshot = store.load(name, config, now_s)
        self._source = make(config, self.snapshot.marks if self.snapshot else {})
        asked_s = self.snapshot.confirmed_s if self.snapshot else now_s - self._every
        self.due_s = max(asked_s + self._every, now_s) + FIRST_SECONDS * random() * (not config.local)

    @property
    def _every(self) -> float:
        return self.config.every_ns / 1e9

    @property
    def expires_s(self) -> float | None:
        """When its list is not believed any more, if nobody confirms it."""
        return None if self.snapshot is None else self.snapshot.confirmed_s + self.config.expires_ns / 1e9

    def expire(self, now_s: float) -> bool:
        """Forget a list that nobody has confirmed for too long; tell whether there was one."""
        if self.expires_s is None or now_s < self.expires_s:
            return False
        self.snapshot = None
        self._store.remove(self.name)
        return True

    async def ask(self, now_s: float) -> Report:
        """Ask its source once; OSError never comes out of here, nor does what the source has sent."""
        try:
            gathered = await self._source.gather(now_s)
        except FetchFailed as error:
            return self._failed(str(error), now_s, error.wait_s)
        except NotAList as error:
            return self._failed(f"it is no list: {error}", now_s)
        if gathered is None and self.snapshot is not None:
            return self._confirmed(self.snapshot, now_s)
        if gathered is None:
            return self._failed("its source says that nothing has changed, and there is no list", now_s)
        parsed = gathered.parsed
        if doubt := self._doubt(parsed):
            self._rest(now_s)
            return _report("held", parsed, doubt)
        snapshot = Snapshot(
            name=self.name,
            source=source_of(self.config),
            listings=parsed.listings,
            confirmed_s=now_s,
            marks=gathered.marks,
        )
        problem = self._save(snapshot)
        # The one on disk is mapped, which takes no memory while nobody reads it.
        self.snapshot = (None if problem else self._store.load(self.name, self.config, now_s)) or snapshot
        self._source.accept()
        self._rest(now_s)
        return _report("new", parsed, problem)

    def _confirmed(self, snapshot: Snapshot, now_s: float) -> Report:
        self.snapshot = replace(snapshot, confirmed_s=now_s)
        self._rest(now_s)
        try:
            self._store.confirm(self.name, now_s)
        except OSError:
            return Report("same", self._save(self.snapshot))
        return Report("same")

    def _doubt(self, parsed: Parsed) -> str:
        """Return why a list is not plausible; empty if it is."""
        count, bounds = len(parsed.listings), self.config.bounds
        if count not in bounds:
            return f"it has {count} listings, and {bounds.start} to {bounds.stop - 1} are plausible"
        before = len(self.snapshot.listings) if self.snapshot else 0
        if self.config.format != "crowdsec" and 100 * count < self.config.shrink * before:
            return f"it has {count} listings, and had {before}: less than {self.config.shrink} per cent"
        return ""

    def _save(self, snapshot: Snapshot) -> str:
        """Write a list down, and return what is wrong with that."""
        try:
            self._store.save(snapshot)
        except OSError as error:
            return f"it is not written down: {error.strerror}"
        return ""

    def _failed(self, problem: str, now_s: float, wait_s: float = 0.0) -> Report:
        self._failures += 1
        pause = min(self._every, RETRY_SECONDS * 2.0 ** min(self._failures - 1, 16))
        self.due_s = now_s + max(pause, min(wait_s, self._every)) * (1 + SPREAD * self._random())
        return Report("failed", line(problem))

    def _rest(self, now_s: float) -> None:
        self._failures = 0
        self.due_s = now_s + self._every * (1 + SPREAD * (2 * self._random() - 1))


def _report(outcome: Outcome, parsed: Parsed, problem: str) -> Report:
    return Report(outcome, problem, parsed.rows, parsed.bad, parsed.left)
