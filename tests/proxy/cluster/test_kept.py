"""Releases that are kept over a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cluster.kept import Kept, KeptRelease, forget_policy, kept_policy
from tests.proxy.cluster.kept_for_tests import DATA, config, release

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("data", [DATA, b"", b"\x00" * 100_000])
def test_what_is_kept_is_read(tmp_path: Path, data: bytes) -> None:
    """A release comes back as it was; only its owner may read the file."""
    place = KeptRelease(config(tmp_path), "policy")
    assert place.read() is None
    place.write(Kept(release(data), data))
    assert place.read() == Kept(release(data), data)
    assert (tmp_path / "cluster" / "policy").stat().st_mode & 0o777 == 0o600
    place.write(None)
    assert place.read() is None


@given(st.integers(0, 2000), st.integers(1, 255))
def test_what_was_changed_is_not_there(tmp_path_factory: pytest.TempPathFactory, place: int, change: int) -> None:
    """A file that differs in one bit is no release, and nothing is raised."""
    folder = tmp_path_factory.mktemp("state")
    kept = KeptRelease(config(folder), "policy")
    kept.write(Kept(release(), DATA))
    path = folder / "cluster" / "policy"
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= change
    path.write_bytes(data)
    assert kept.read() is None


def test_of_another_cluster_or_kind_it_is_not_there(tmp_path: Path) -> None:
    """A release of another secret, prefix or kind is none, and a content that its record does not name neither."""
    mine = KeptRelease(config(tmp_path), "policy")
    mine.write(Kept(release(), DATA))
    for other in (config(tmp_path, CLUSTER__SECRET="t" * 32), config(tmp_path, CLUSTER__PREFIX="other")):
        assert KeptRelease(other, "policy").read() is None
    (tmp_path / "cluster" / "models").write_bytes((tmp_path / "cluster" / "policy").read_bytes())
    assert KeptRelease(config(tmp_path), "models").read() is None
    mine.write(Kept(release(), b"another content"))
    assert mine.read() is None


def test_policy_of_a_start(tmp_path: Path) -> None:
    """A node begins with the policy that is kept; if it stands alone, or the policy is no text, without."""
    given = config(tmp_path)
    assert kept_policy(given) is None
    KeptRelease(given, "policy").write(Kept(release(), DATA))
    found = kept_policy(given)
    assert found is not None
    assert found == (3, DATA.decode())
    assert kept_policy(given.model_copy(update={"redis_url": None})) is None
    KeptRelease(given, "policy").write(Kept(release(b"\xff"), b"\xff"))
    assert kept_policy(given) is None
    forget_policy(given)
    assert not (tmp_path / "cluster" / "policy").exists()
