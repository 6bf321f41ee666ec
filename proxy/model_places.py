"""Where models are in HKPGUARD_STATE_DIR. Loads nothing: who trains, who scores and who distributes them agree here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = "models"
CLUSTER_FOLDER: Final = "cluster"
LINK: Final = "models-in-use"


class Places(NamedTuple):
    """The folders of models that are not the shipped ones, the first that is looked at first."""

    cluster: Path  # released for all nodes: a link, and only while something is released
    own: Path  # of the operator, for this node

    @classmethod
    def of(cls, state_dir: Path) -> Places:
        """Return those of a node."""
        return cls(state_dir / CLUSTER_FOLDER / LINK, state_dir / FOLDER)
