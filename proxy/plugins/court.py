"""Where the evidence of plugins goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.policy.fusion import Evidence


class Court(Protocol):
    """Who weighs evidence."""

    def hear(self, evidence: Iterable[Evidence]) -> None:
        """Take evidence in."""

    def retract(self, plugin: str) -> None:
        """Let go of all that a plugin has said."""


class NoCourt:
    """Weighs nothing."""

    def hear(self, evidence: Iterable[Evidence]) -> None:
        """See `Court`."""

    def retract(self, plugin: str) -> None:
        """See `Court`."""
