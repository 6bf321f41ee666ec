"""The files of models: shipped ones, those that an operator has trained, and those of the cluster.

The substance of `model_commands`.

This loads onnxruntime, and training loads more. So nobody who serves requests imports it.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from models.manifest import MODEL_ENDING, BadModel, Manifest
from models.scorer import MAIN, SECOND, SHIPPED, Scorer
from models.shelf import Shelf
from models.text import TEXT, TextScorer
from proxy.intel.composer import origins_of
from proxy.model_places import Places
from proxy.replay.readers import LogError, texts
from proxy.replay.records import records_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from proxy.config import Config

RESERVOIR: Final = "reservoir.csv.gz"
MOST_LINES: Final = 4_000_000
OPENED: Final[dict[str, Callable[[Path], Scorer | TextScorer]]] = {MAIN: Scorer, SECOND: Scorer, TEXT: TextScorer}


class Refused(Exception):
    """Something was not done; the text says why."""


class Found(NamedTuple):
    """A file of a model."""

    path: Path
    known: Manifest | None  # None: it cannot be read
    in_use: bool
    problem: str


class Trained(NamedTuple):
    """What a training came to."""

    summary: str
    path: Path | None  # None: nothing was changed


def folders(state_dir: str) -> tuple[Path, Path, Path]:
    """Return where models are: those that all nodes of a cluster have, the operator's own, and the shipped ones."""
    return *Places.of(Path(state_dir)), SHIPPED


def found(state_dir: str) -> Iterator[Found]:
    """Yield all files of models, each after loading it as the guard would."""
    for name, opened in OPENED.items():
        taken = False
        for folder in folders(state_dir):
            path = folder / (name + MODEL_ENDING)
            if not path.exists():
                continue
            try:
                known = opened(path).manifest
            except BadModel as error:
                yield Found(path, None, False, str(error))
            else:
                yield Found(path, known, not taken, "")
                taken = True


def in_use(state_dir: str, name: str) -> Manifest:
    """Return what is known of the model of this name that is in use; Refused if there is none."""
    try:
        return Shelf(name, folders(state_dir), OPENED[name]).model.manifest
    except BadModel as error:
        raise Refused(str(error)) from None


def train(
    config: Config, logs: Sequence[str], honest: frozenset[int], abusive: frozenset[int], *, dry_run: bool
) -> Trained:
    """Train the main model on logs, and put it in use unless it is worse than the one before.

    Args:
        config: Says where the operator's models are, and which databases there are of networks.
        logs: Names of files.
        honest: Keys of clients or networks that the operator calls honest.
        abusive: Likewise.
        dry_run: Change nothing.

    Raises:
        Refused: It is worse, there is too little to learn from, or a file or library is missing.

    """
    try:
        return _train(config, logs, honest, abusive, dry_run=dry_run)
    except ImportError as error:
        raise Refused(f"training needs more libraries: pip install 'hkpguard[train]' ({error})") from None
    except (LogError, BadModel, OSError, ValueError) as error:
        raise Refused(str(error)) from None


def _train(
    config: Config, logs: Sequence[str], honest: frozenset[int], abusive: frozenset[int], *, dry_run: bool
) -> Trained:
    from models.training import own, shipped, table  # noqa: PLC0415 - the guard runs without them
    from models.training.fit import Origin  # noqa: PLC0415 - likewise

    mine = Places.of(Path(config.state_dir)).own
    used = Shelf(MAIN, folders(config.state_dir), Scorer).model
    recordings, kept = table.read(shipped.FEATURES), mine / RESERVOIR
    earlier = table.read(kept) if kept.exists() else None
    origins, missing = origins_of(config)
    gathered = own.gather(
        _records(logs),
        used,
        own.Labels(honest, abusive),
        earlier,
        secrets.randbits(64),
        look_up=origins.look_up if origins is not None else None,
    )
    version = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime())
    model = own.trained(gathered, recordings, Origin(version=version, data=own.DATA, licence=own.LICENCE))
    with tempfile.TemporaryDirectory() as scratch:
        model = own.spare(model, Scorer(shipped.put(model, Path(scratch))), recordings)
        new = Scorer(shipped.put(model, Path(scratch)))
    model = own.measured(model, new, recordings, gathered)
    summary = own.summary(gathered, used, model.manifest)
    if missing:
        summary += f"\nof networks not all is known: {missing}"
    if faults := own.faults(new, used, recordings, gathered):
        raise Refused(f"{summary}\nit is not put in use: {'; '.join(faults)}")
    if dry_run:
        return Trained(summary, None)
    mine.mkdir(mode=0o700, parents=True, exist_ok=True)
    table.write(gathered.reservoir, kept)
    return Trained(summary, shipped.put(model, mine))


def _records(names: Sequence[str]) -> NDArray[np.void]:
    """Return the records of logs; LogError if there are none."""
    lines = chain.from_iterable(chain.from_iterable(texts(name, lambda _bytes: None) for name in names))
    records, strange = records_of(filter(None, islice(lines, MOST_LINES)))
    if not len(records):
        raise LogError(
            f"{strange} lines, and no request of hkpguard with address and subject among them: HKPGUARD_LOG__ACCESS, "
            "HKPGUARD_LOG__ADDRESSES and HKPGUARD_LOG__SUBJECTS have to be on, and HKPGUARD_LOG__FORMAT json"
        )
    return records
