"""Recordings as the table of features that models are trained on: `python -m bench.recording.table DIR...`.

Addresses and subjects stay in the recordings; nothing of them is in the table.

In a recording each client has an address of its own, which is not so elsewhere: an office or a university has one for
all. So there are clients in the table besides (`SHARED`) that are several honest ones of a tool put together, begun
within two hours. They are of one tool so that whatever is left out in training with its tool is left out altogether.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.peers import ROOT
from fastpath import client_key, parse_address
from models.training.table import ABUSIVE, SHARED, Table, Who, joined, table_of, write
from proxy.replay.records import records_of

SHIPPED = ROOT / "models" / "data" / "features.csv.gz"
Records = NDArray[np.void]
SEED = 5
TOGETHER = (3, 6)
WITHIN_NS = 7_200_000_000_000
START_NS = 10**15


def table_of_recordings(folders: Sequence[Path]) -> Table:
    """Return the table of all of them; runs of different ones are different."""
    return joined(
        table._replace(run=np.char.add(f"{number}-", table.run))
        for number, table in enumerate(map(table_of_recording, folders))
    )


def table_of_recording(folder: Path) -> Table:
    """Return the table of a recording."""
    clients = [*_clients(folder / "runs.jsonl", {mode: _records(folder, mode) for mode in ("shadow", "enforce")})]
    return table_of([*clients, *_shared(clients)])


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


def _shared(clients: Sequence[tuple[Who, int, Records]]) -> Iterator[tuple[Who, int, Records]]:
    """Yield several honest clients of each tool as one."""
    dice = np.random.default_rng(SEED)
    of_tool: dict[tuple[str, str], list[tuple[Who, Records]]] = {}
    for who, _, records in clients:
        if who.label != ABUSIVE and len(records):
            of_tool.setdefault((who.tool, who.mode), []).append((who, records))
    for (tool, mode), runs in sorted(of_tool.items()):
        for together in TOGETHER if len(runs) > 1 else ():
            chosen = dice.choice(len(runs), together, replace=len(runs) < together)
            begin_ns = dice.integers(0, WITHIN_NS, together)
            records = np.concatenate(
                [_moved(runs[place][1], begin) for place, begin in zip(chosen, begin_ns, strict=True)]
            )
            who = runs[0][0]._replace(run=f"{tool}-{mode}-{together}-together".replace(" ", "-"), mode=SHARED)
            yield who, 0, records[np.argsort(records["time_ns"], kind="stable")]


def _moved(records: Records, begin_ns: int) -> Records:
    """Return records as if they had come from one address, from another time on."""
    moved = records.copy()
    moved["time_ns"] += START_NS + begin_ns - records["time_ns"][0]
    moved["client"] = 1
    return moved


if __name__ == "__main__":
    made = table_of_recordings([Path(each) for each in sys.argv[1:]])
    write(made, SHIPPED)
    print(f"{SHIPPED}: {len(made.run)} looks at {made.clients.max() + 1} clients, {SHIPPED.stat().st_size} bytes")
