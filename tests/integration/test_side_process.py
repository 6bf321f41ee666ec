"""Work that a process of our own does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.side_process import answer_of

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 30.0


async def test_failure() -> None:
    """What it said last is told, with its status."""
    with pytest.raises(ValueError, match=r"^status 1: .{1,200}$"):
        await answer_of("proxy.intel.compose", "no descriptor", given=b"{}", seconds=SECONDS)


async def test_no_such_module() -> None:
    """A module that is not there is a failure like others."""
    with pytest.raises(ValueError, match="No module named"):
        await answer_of("proxy.gone", given=b"", seconds=SECONDS)


async def test_too_long() -> None:
    """Who takes too long is killed."""
    with pytest.raises(TimeoutError):
        await answer_of("proxy.intel.compose", given=b"", seconds=0.0)


async def test_folder_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in the folder where the guard was started is not taken for a module."""
    (tmp_path / "planted.py").write_text("print('run')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="No module named planted"):
        await answer_of("planted", given=b"", seconds=SECONDS)
