"""Looks at texts that people type: search strings, and user IDs. Advice for the operator, never more.

    text -> its first 64 bytes, small letters -> sums of 1-, 2- and 3-grams (hashed to 4096 weights) -> log-odds

Linear, one graph, and all of the arithmetic in the graph: the hash as well, so it is the same here and in training.
Two things are told: whether a text is an injection (SQL, scripts, paths, commands), and whether a machine drew it by
chance. Neither proves anything: names are written in languages that the model has not seen, and who searches for
`O'Brien; DROP` may be called so. So of searches this is shown beside a verdict and in reports, and never is evidence;
of user IDs that somebody uploads (`models.writings`) it is evidence that moves nobody by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fastpath.record import SUBJECT_BYTES
from models.manifest import load
from models.scorer import BATCH, runner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Kinds = NDArray[np.bool_]

TEXT: Final = "search-text"
VERSION: Final = 1
FEATURES: Final = ("first_64_bytes",)
KINDS: Final = ("injection", "machine-made")
_CAPITALS: Final = np.arange(256, dtype=np.uint8)
_CAPITALS[ord("A") : ord("Z") + 1] += 32


class Advice(NamedTuple):
    """What a text looks like; log-odds."""

    injection: float
    machine_made: float


class TextScorer:
    """The model of texts.

    Attributes:
        manifest: What is known of it.

    """

    def __init__(self, path: Path) -> None:
        """Load the model and the manifest beside it; BadModel if either is not what it should be."""
        model, self.manifest = load(path, FEATURES, VERSION)
        self._run = runner(path, model, letters([b"", b"alice"]))

    def score(self, texts: Sequence[bytes]) -> list[Advice]:
        """Return what texts look like."""
        found: list[Advice] = []
        for start in range(0, len(texts), BATCH):
            found += [Advice(*row) for row in self._run(letters(texts[start : start + BATCH])).tolist()]
        return found

    def kinds(self, texts: Sequence[bytes]) -> Kinds:
        """Tell of each text which of KINDS it is, for all that we know; shape (n, len(KINDS))."""
        found: Kinds = np.array(self.score(texts)).reshape(-1, len(KINDS)) >= self.manifest.accuse[0]
        return found

    def remarks(self, texts: Sequence[bytes]) -> list[str]:
        """Return what there is to say of the texts that one client searched for."""
        return in_words(self.kinds(texts), "searched texts")


def in_words(kinds: Kinds, what: str) -> list[str]:
    """Return which kinds most texts of one client are of, and how many; `what` they are."""
    return [
        f"{count} of {len(kinds)} {what} look {kind}"
        for kind, count in zip(("like injections", "machine-made"), kinds.sum(axis=0).tolist(), strict=True)
        if 2 * count > len(kinds)
    ]


def letters(texts: Sequence[bytes]) -> NDArray[np.uint8]:
    """Return the bytes that the graph sees, filled up with 0, shape (n, 64)."""
    array = np.array([text[:SUBJECT_BYTES] for text in texts], f"S{SUBJECT_BYTES}")
    return _CAPITALS[array.view(np.uint8).reshape(len(texts), SUBJECT_BYTES)]
