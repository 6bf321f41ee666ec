"""Arrays in a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.intel.columns import BadFile, Column, read, write

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {"small": Column(np.uint8), "wide": Column(np.uint8, 16), "real": Column(np.float64)}


def arrays(rows: int) -> dict[str, np.ndarray]:
    """Return columns of so many rows."""
    return {
        "small": np.arange(rows, dtype=np.uint8),
        "wide": np.arange(16 * rows, dtype=np.uint8).reshape(rows, 16),
        "real": np.linspace(0, 1, rows),
    }


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 200])
def test_written_and_read(tmp_path: Path, rows: int) -> None:
    """What was written comes back, each column at a cache line, for its owner alone, and nobody can change it."""
    path = tmp_path / "folder" / "file"
    write(path, {"name": "ä"}, arrays(rows))
    told, found = read(path, COLUMNS)
    assert told == {"name": "ä"}
    for name, array in arrays(rows).items():
        assert np.array_equal(found[name], array)
        assert found[name].ctypes.data % 64 == 0
        assert not found[name].flags.writeable
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_who_has_it_open_keeps_it(tmp_path: Path) -> None:
    """Another file takes the place of the old one, and what is mapped stays as it was."""
    path = tmp_path / "file"
    write(path, {}, arrays(3))
    _, before = read(path, COLUMNS)
    write(path, {}, arrays(200))
    assert len(before["small"]) == 3
    assert len(read(path, COLUMNS)[1]["small"]) == 200


def test_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full costs the new file, and leaves nothing beside."""
    path = tmp_path / "file"
    write(path, {}, arrays(3))

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, {}, arrays(200))
    assert len(read(path, COLUMNS)[1]["small"]) == 3
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_damage_is_found(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever byte is another one, or missing, the file is refused."""
    path = tmp_path / "file"
    write(path, {"n": 1}, arrays(65))
    whole = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        whole[place] ^= data.draw(st.integers(1, 255))
    else:
        del whole[place:]
    path.unlink()
    path.write_bytes(whole)
    with pytest.raises(BadFile):
        read(path, COLUMNS)


@pytest.mark.parametrize(
    "columns",
    [{"other": Column(np.uint8)}, {"small": Column(np.float64)}, {"small": Column(np.uint8, 1 << 40)}],
    ids=["missing", "shorter", "far shorter"],
)
def test_other_columns(tmp_path: Path, columns: dict[str, Column]) -> None:
    """A whole file of somebody else is refused, if it has not what is expected."""
    path = tmp_path / "file"
    write(path, {}, {"small": np.arange(3, dtype=np.uint8)})
    with pytest.raises(BadFile, match="column"):
        read(path, columns)
