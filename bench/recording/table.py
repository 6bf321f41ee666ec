"""Recordings as the table of features that models are trained on: `python -m bench.recording.table DIR...`.

Addresses and subjects stay in the recordings; nothing of them is in the table.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.peers import ROOT
from fastpath import client_key, parse_address
from models.training.table import Table, Who, joined, table_of, write
from proxy.replay.records import records_of

SHIPPED = ROOT / "models" / "data" / "features.csv.gz"
Records = NDArray[np.void]


def table_of_recordings(folders: Sequence[Path]) -> Table:
    """Return the table of all of them; runs of different ones are different."""
    return joined(
        table._replace(run=np.char.add(f"{number}-", table.run))
        for number, table in enumerate(map(table_of_recording, folders))
    )


def table_of_recording(folder: Path) -> Table:
    """Return the table of a recording."""
    return table_of(_clients(folder / "runs.jsonl", {mode: _records(folder, mode) for mode in ("shadow", "enforce")}))


def _records(folder: Path, mode: str) -> Records:
    """Return what a guard has logged, client by client, each in the order of time."""
    path = folder / f"access-{mode}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    records, strange = records_of(lines)
    if strange:
        raise ValueError(f"{path}: {strange} lines are not of the access log, or lack address or subject")
    return records[np.argsort(records["client"], kind="stable")]


def _clients(runs: Path, records: Mapping[str, Records]) -> Iterator[tuple[Who, int, Records]]:
    for line in runs.read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        who = Who(*(str(run[name]) for name in Who._fields))
        of_mode = records[who.mode]
        for number, address in enumerate(run["addresses"]):
            key = np.uint64(client_key(parse_address(address)))
            first, end = np.searchsorted(of_mode["client"], [key, key + np.uint64(1)])
            yield who, number, of_mode[first:end]


if __name__ == "__main__":
    made = table_of_recordings([Path(each) for each in sys.argv[1:]])
    write(made, SHIPPED)
    print(f"{SHIPPED}: {len(made.run)} looks at {made.clients.max() + 1} clients, {SHIPPED.stat().st_size} bytes")
