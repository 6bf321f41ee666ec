"""Where the evidence of plugins goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from models.steps import Steps
    from proxy.policy.fusion import Evidence


class Court(Protocol):
    """Who weighs evidence."""

    def hear(self, evidence: Iterable[Evidence]) -> Steps[None]:
        """Take evidence in, step by step."""

    def retract(self, plugin: str) -> None:
        """Let go of all that a plugin has said."""


class NoCourt:
    """Weighs nothing."""

    def hear(self, evidence: Iterable[Evidence]) -> Steps[None]:  # noqa: ARG002 - likewise
        """See `Court`."""
        yield from ()

    def retract(self, plugin: str) -> None:
        """See `Court`."""
