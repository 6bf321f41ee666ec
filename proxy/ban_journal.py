"""What the ladder holds, kept over a restart. Part of the warden.

The ladder goes by CLOCK_MONOTONIC; what is written down goes by the clock of the day, because nothing else outlives the
machine's next start. After a restart a ban lasts as long as the clock of the day says, and never longer than it was
long. When the clock of the day was set, all is written down anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.ban_store import BanStore, Row
from proxy.policy.offender import Ban
from proxy.settings.kinds import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.policy.ladder import Ladder

SAVE_NS: Final = SECOND  # how often changes are written down
RETRY_NS: Final = 60 * SECOND  # how often that is tried again after a failure
CLOCK_STEP_NS: Final = SECOND  # the clock of the day was set if it moved so far against the other one


class BanJournal:
    """Writes down the bans and rungs of a ladder."""

    def __init__(self, folder: str, ladder: Ladder, *, wall: Callable[[], int], now_ns: int) -> None:
        """Open the file in `folder`; `wall` is the clock of the day, ns since 1970."""
        self._store = BanStore(folder)
        self._ladder = ladder
        self._wall = wall
        self._offset_ns = wall() - now_ns
        self._unsaved: set[int] | None = None  # keys; None: everything
        self._next_save_ns = now_ns

    @property
    def problem(self) -> str:
        """Why nothing is written at the moment; empty if all is well."""
        return self._store.problem

    def restore(self, now_ns: int) -> None:
        """Give the ladder what was written down."""
        for row in self._store.load():
            self._ladder.restore(self._ban(row, now_ns), now_ns)

    def note(self, changed: set[int]) -> None:
        """Take note of the keys whose bans or rungs have changed."""
        if self._unsaved is not None:
            self._unsaved |= changed

    def turn(self, now_ns: int) -> None:
        """Write down what has changed, if it is time for that."""
        self._notice_clock_step(now_ns)
        if self._unsaved != set() and now_ns >= self._next_save_ns:
            self.save(now_ns)

    def close(self, now_ns: int) -> None:
        """Write down what is not yet, and let go of the file."""
        self._notice_clock_step(now_ns)
        if self._unsaved != set():
            self.save(now_ns)
        self._store.close()

    def _notice_clock_step(self, now_ns: int) -> None:
        offset_ns = self._wall() - now_ns
        if abs(offset_ns - self._offset_ns) > CLOCK_STEP_NS:
            self._offset_ns = offset_ns
            self._unsaved = None

    def save(self, now_ns: int) -> None:
        """Write down what has changed, whenever that was done last."""
        keys = self._ladder.recorded() if self._unsaved is None else self._unsaved
        kept = {key: [self._row(ban) for ban in self._ladder.record(key, now_ns)] for key in keys}
        if self._store.save(kept, replace_all=self._unsaved is None):
            self._unsaved = set()
            self._next_save_ns = now_ns + SAVE_NS
        else:
            self._unsaved = None  # the next file may be a new one
            self._next_save_ns = now_ns + RETRY_NS

    def _row(self, ban: Ban) -> Row:
        since, until = ((time_ns + self._offset_ns) / SECOND for time_ns in (ban.since_ns, ban.until_ns))
        return Row(ban.key, ban.origin, since, until, ban.rung, ban.reason)

    def _ban(self, row: Row, now_ns: int) -> Ban:
        """Return a ban that was written down; what is left of it is at most what it was."""
        length_ns = int((row.until - row.since) * SECOND)
        left_ns = min(int(row.until * SECOND) - self._offset_ns - now_ns, length_ns)
        return Ban(row.key, row.origin, now_ns + left_ns - length_ns, now_ns + left_ns, row.rung, row.reason)
