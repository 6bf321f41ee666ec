"""The last good lists on disk."""

from __future__ import annotations

import numpy as np
import pytest

from proxy.intel.listing import Listings
from proxy.intel.snapshot import Snapshot, SnapshotStore, source_of
from tests.proxy.intel.feeds_for_tests import NOW_S, feed_config, listings

FEED = feed_config(expires="1h")


@pytest.fixture
def store(tmp_path):  # noqa: ANN001, ANN201 - pytest's
    """Return a store in a folder of its own."""
    return SnapshotStore(tmp_path)


def snapshot(of: Listings, **more: object) -> Snapshot:
    """Return a snapshot of FEED."""
    given = {"name": "a", "source": source_of(FEED), "confirmed_s": NOW_S, "marks": {"etag": '"1"'}, "listings": of}
    return Snapshot(**given | more)


def test_kept(store: SnapshotStore) -> None:
    """What was saved comes back: the list, when it was confirmed, and what to ask with."""
    of = listings("1.2.3.0/24", "2a00::/32", severity=0.75, until_s=NOW_S + 60)
    store.save(snapshot(of))
    found = store.load("a", FEED, NOW_S + 10)
    assert found is not None
    assert [*found.listings] == [*of]
    assert (found.confirmed_s, found.marks) == (NOW_S, {"etag": '"1"'})


@pytest.mark.parametrize(
    ("later_s", "url", "there"),
    [
        (3599, "https://lists.example/list.txt", True),
        (3600, "https://lists.example/list.txt", False),
        (10, "https://lists.example/other.txt", False),
        (-60, "https://lists.example/list.txt", True),
    ],
    ids=["fresh", "expired", "of another source", "the clock was set back"],
)
def test_believed(store: SnapshotStore, later_s: float, url: str, there: bool) -> None:  # noqa: FBT001 - a row
    """A list is believed for so long after it was confirmed, and only of the source that is configured."""
    store.save(snapshot(listings("1.2.3.4")))
    assert (store.load("a", feed_config(expires="1h", url=url), NOW_S + later_s) is not None) is there


def test_confirmed(store: SnapshotStore) -> None:
    """To be confirmed writes nothing but a time."""
    store.save(snapshot(listings("1.2.3.4")))
    store.confirm("a", NOW_S + 3000)
    found = store.load("a", FEED, NOW_S + 5000)
    assert found is not None
    assert found.confirmed_s == NOW_S + 3000


def test_damaged(store: SnapshotStore, tmp_path) -> None:  # noqa: ANN001 - pytest's
    """A damaged file is no list, and no error."""
    store.save(snapshot(listings("1.2.3.4")))
    path = tmp_path / "a.feed"
    path.write_bytes(path.read_bytes()[:-1])
    assert store.load("a", FEED, path.stat().st_mtime) is None


@pytest.mark.parametrize(
    ("name", "column"),
    [("lengths", np.array([129], np.uint8)), ("note_numbers", np.array([7], np.uint32)), ("until_s", np.zeros(2))],
)
def test_whole_but_wrong(store: SnapshotStore, name: str, column: np.ndarray) -> None:
    """A file whose checksum is right may still be none of ours."""
    of = listings("1.2.3.4")
    parts = {part: getattr(of, part) for part in ("networks", "lengths", "severities", "until_s", "note_numbers")}
    store.save(snapshot(Listings(**parts | {name: column}, notes=("",))))
    assert store.load("a", FEED, NOW_S) is None


def test_keep(store: SnapshotStore, tmp_path) -> None:  # noqa: ANN001 - pytest's
    """Lists of feeds that are not configured any more go, other files do not."""
    store.save(snapshot(listings("1.2.3.4")))
    store.save(snapshot(listings("1.2.3.4"), name="b"))
    (tmp_path / "combined").touch()
    store.keep(["b"])
    assert {path.name for path in tmp_path.iterdir()} == {"b.feed", "combined"}
