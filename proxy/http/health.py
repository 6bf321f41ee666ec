"""Health of an upstream, shared by all processes of the node: four words of shared memory.

Passive: `failures` in a row put it to rest until `down_until_ns`; any success ends the row. Active: the analyst asks
it every few seconds and writes down what it found and when; a finding older than three intervals (no analyst) does
not count. Words are written whole, so a race loses at most one count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from proxy.config import HealthConfig

# Indices of the words (`fastpath.region`, section `upstreams`).
DOWN_UNTIL_NS, FAILURES, ACTIVE_OK, CHECKED_NS = range(4)


class HealthRules(NamedTuple):
    """When an upstream counts as down."""

    failures: int  # in a row
    down_ns: int
    interval_ns: int  # of the active check

    @classmethod
    def of(cls, config: HealthConfig) -> HealthRules:
        """Return what the configuration asks for."""
        return cls(config.failures, config.down_ns, config.interval_ns)


class Health:
    """What is known of one upstream; `words` is its part of the shared memory."""

    def __init__(self, words: memoryview, rules: HealthRules) -> None:
        """`words`: four signed 64-bit words."""
        self._words = words
        self.rules = rules

    def up(self, now_ns: int) -> bool:
        """Whether requests should be sent there."""
        words = self._words
        if now_ns < words[DOWN_UNTIL_NS]:
            return False
        fresh = words[CHECKED_NS] and now_ns - words[CHECKED_NS] < 3 * self.rules.interval_ns
        return bool(words[ACTIVE_OK] or not fresh)

    def succeeded(self) -> None:
        """End the row of failures."""
        if self._words[FAILURES]:
            self._words[FAILURES] = 0

    def failed(self, now_ns: int) -> None:
        """Count a failure; the last one allowed puts the upstream to rest."""
        self._words[FAILURES] += 1
        if self._words[FAILURES] >= self.rules.failures:
            self._words[FAILURES] = 0
            self._words[DOWN_UNTIL_NS] = now_ns + self.rules.down_ns

    def checked(self, *, ok: bool, now_ns: int) -> None:
        """Write down what the active check found; a good one ends a rest."""
        self._words[ACTIVE_OK] = ok
        self._words[CHECKED_NS] = now_ns
        if ok:
            self._words[DOWN_UNTIL_NS] = 0
            self._words[FAILURES] = 0
