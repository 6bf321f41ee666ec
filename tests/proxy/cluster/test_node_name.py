"""The name of a node."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from proxy.cluster.node_name import FILE, node_name
from proxy.config import Config

if TYPE_CHECKING:
    from pathlib import Path


def name_in(folder: Path | str, **settings: str) -> str:
    """Return the name of a node with this state folder."""
    return node_name(Config.from_env({"HKPGUARD_STATE_DIR": str(folder)} | settings))


def test_as_it_is_set() -> None:
    """A name that is set is the name, and nothing is written."""
    assert name_in("/nowhere", HKPGUARD_CLUSTER__NODE="alpha") == "alpha"


def test_kept(tmp_path: Path) -> None:
    """A name that was made up stays; another folder has another one."""
    first = name_in(tmp_path / "a")
    assert first == name_in(tmp_path / "a") != name_in(tmp_path / "b")


@pytest.mark.parametrize("kept", [b"", b"\xff\xfe", b"x" * 1000, b"../../etc", b"other-host-01234567"])
def test_what_is_no_name(tmp_path: Path, kept: bytes) -> None:
    """A damaged file, or one that came with a copy of the folder from another host, gets a new name."""
    (tmp_path / FILE).write_bytes(kept)
    name = name_in(tmp_path)
    assert name.encode() != kept
    assert (tmp_path / FILE).read_text().strip() == name


def test_no_folder() -> None:
    """Where nothing can be written there is a name all the same."""
    assert name_in("/proc/none")


def test_odd_host_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the host is made fit."""
    for number, host in enumerate(("böse host", "", "-", "x" * 300)):
        monkeypatch.setattr(socket, "gethostname", lambda host=host: host)
        folder = tmp_path / str(number)
        name = name_in(folder)
        assert name_in(folder, HKPGUARD_CLUSTER__NODE=name) == name
