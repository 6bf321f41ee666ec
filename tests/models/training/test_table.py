"""The table: the looks that a guard takes, and nothing that tells who a client was."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.features import NAMES, NETWORK, compute
from models.training.table import MOST_LOOKS, Who, joined, read, table_of, write
from models.windows import Windows
from proxy.policy.actions import Reason
from tests.models.models_for_tests import world
from tests.models.traffic_for_tests import fingerprints, visit

if TYPE_CHECKING:
    from pathlib import Path

SOMEBODY = Who("run-1", "gpg refresh", "gpg", "legitimate", "train", "shadow")


@pytest.mark.parametrize(
    ("requests", "looks"),
    [(0, []), (1, [1]), (7, [7]), (8, [8]), (130, [8, 15, 30, 60, 120]), (730, [8, 15, 30, 60, 120, 240, 480, 720])],
)
def test_looks(requests: int, looks: list[int]) -> None:
    """A client is looked at when a guard would do so; one who asked for less is in the table all the same."""
    made = table_of([(SOMEBODY, 0, visit(fingerprints(requests)) if requests else visit(["A"])[:0])])
    assert made.requests.tolist() == looks
    assert made.seen.tolist() == [look >= 8 for look in looks]


def test_as_the_guard_sees_them() -> None:
    """Features are those that windows give when they are fed a record at a time."""
    records = visit(fingerprints(70))
    windows, seen = Windows(), []
    for place in range(len(records)):
        windows.feed(records[place : place + 1])
        seen += [compute(windows.columns(windows.due()))]
    assert np.array_equal(np.concatenate(seen), table_of([(SOMEBODY, 0, records)]).features)


def test_banned() -> None:
    """What a banned client met is left out, as it is by the guard."""
    records = visit(fingerprints(40))
    records["reason"][10:] = Reason.BANNED
    assert table_of([(SOMEBODY, 0, records)]).requests.tolist() == [8]
    records["reason"] = Reason.BANNED
    assert len(table_of([(SOMEBODY, 0, records)]).run) == 0


def test_bounded() -> None:
    """Of one client there are no more than so many looks."""
    assert len(table_of([(SOMEBODY, 0, visit(["A"] * 4000))]).run) == MOST_LOOKS


def test_networks_are_not_written(tmp_path: Path) -> None:
    """Of what kind a network is, is in no file: neither in the table of the recordings nor in a reservoir."""
    known = world()
    known.features[:, NETWORK] = 1.0
    write(known, tmp_path / "known.csv.gz")
    assert not read(tmp_path / "known.csv.gz").features[:, NETWORK].any()
    heading = gzip.decompress((tmp_path / "known.csv.gz").read_bytes()).partition(b"\n")[0]
    assert not {*NAMES[NETWORK]} & {*heading.decode().split(",")}


def test_written_and_read(tmp_path: Path) -> None:
    """A table that was written is read as it was, to five digits, and writes the same bytes again."""
    path, again = tmp_path / "table.csv.gz", tmp_path / "again.csv.gz"
    write(world(), path)
    found = read(path)
    write(found, again)
    assert path.read_bytes() == again.read_bytes()
    for before, after in zip(world(), found, strict=True):
        if before.dtype.kind == "U":
            assert before.tolist() == after.tolist()
        else:
            assert after == pytest.approx(before, rel=1e-4)


def test_other_features(tmp_path: Path) -> None:
    """A table of other features is refused."""
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"run,tool\n"))
    with pytest.raises(ValueError, match="no table of these features"):
        read(path)


def test_clients() -> None:
    """Looks at one client have one number, those of clients of different runs different ones."""
    made = table_of([(SOMEBODY, 0, visit(["A"] * 15)), (SOMEBODY, 1, visit(["A"] * 8))])
    both = joined([made, made._replace(run=np.char.add("2-", made.run))])
    assert both.clients.tolist() == [0, 0, 1, 2, 2, 3]
