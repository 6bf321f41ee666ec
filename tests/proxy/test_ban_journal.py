"""What is kept of bans over a restart: by which clock, how often it is written down, and what if it cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from proxy.ban_store import BanStore
from tests.proxy.admin.records_for_tests import SECOND
from tests.proxy.wardens_for_tests import FakeNode, do, seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

A, SIX = "192.0.2.1", "2001:db8::1"


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., FakeNode]:
    """Return a starter of nodes that share a folder."""
    return lambda **settings: FakeNode(tmp_path / "state", **settings)


@pytest.mark.parametrize(
    ("down", "clock", "left"),
    [
        ("0s", "0s", 1790),
        ("10m", "0s", 1190),
        ("30m", "0s", 0),
        ("0s", "+3d", 0),  # set forward while the machine was off: it can only be taken for time that passed
        ("0s", "-3d", 1800),  # set back: never longer than it was
        ("10m", "-9m", 1730),
    ],
)
def test_restart_by_the_clock_of_the_day(start: Callable[..., FakeNode], down: str, clock: str, left: int) -> None:
    """What is left of a ban after a restart is what the clock of the day says, between nothing and all of it."""
    node = start()
    do(node, f"4xtrap {A}")
    do(node, "wait 10s")
    node.restart(seconds(down) + seconds(clock))
    assert node.left(A) == left
    assert node.rung(A) == (1 if seconds(clock) < 3 * 86_400 else 0)


def test_without_a_folder(start: Callable[..., FakeNode], tmp_path: Path) -> None:
    """Bans work, the state says what does not; when the folder can be used, all is written."""
    (tmp_path / "state").touch()
    with capture_logs() as log:
        node = start()
        do(node, f"4xtrap {A}")
        for _ in range(5):
            do(node, "wait 61s")
    assert node.left(A) == 1495
    assert "File exists" in node.warden.degraded
    assert [each["log_level"] for each in log].count("error") == 1
    (tmp_path / "state").unlink()
    do(node, "wait 61s")
    assert node.warden.degraded == ""
    do(node, "kill")
    do(node, "restart")
    assert node.left(A) == 1434


def test_after_a_failure_all_is_written(start: Callable[..., FakeNode], monkeypatch: pytest.MonkeyPatch) -> None:
    """The next file may be a new one; and it is tried again after a minute, not each second."""
    node = start()
    do(node, f"4xtrap {A}")
    do(node, "wait 1s")
    tried: list[tuple[int, bool, int]] = []
    start_ns = node.now_ns

    def fail(_store: BanStore, kept: dict[int, Any], *, replace_all: bool) -> bool:
        tried.append(((node.now_ns - start_ns) // SECOND, replace_all, len(kept)))
        return len(tried) > 2

    monkeypatch.setattr(BanStore, "save", fail)
    do(node, f"4xtrap {SIX}")
    for _ in range(122):
        do(node, "wait 1s")
    assert tried == [(1, False, 3), (61, True, 2), (121, True, 2)]  # the /64 and its networks; then all clients


def test_changes_are_written_down_each_second(start: Callable[..., FakeNode], monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it has its turn; and only if there is something to write."""
    node = start()
    do(node, "wait 1s")
    written: list[int] = []
    save = BanStore.save

    def count(*args: Any, **kwargs: Any) -> bool:
        written.append(1)
        return save(*args, **kwargs)

    monkeypatch.setattr(BanStore, "save", count)
    for number in range(30):
        node.feed("trap", f"192.0.{number}.1", 4)
        node.now_ns += SECOND // 10
        node.day_ns += SECOND // 10
        node.warden.turn(node.now_ns)
    assert len(written) == 3
    do(node, "wait 1s")
    written.clear()
    for _ in range(5):
        do(node, "wait 5s")
    assert written == []


def test_nothing_is_kept_longer_than_it_counts(start: Callable[..., FakeNode], tmp_path: Path) -> None:
    """When the rung is forgotten the address is gone from the disk."""
    node = start()
    do(node, f"4xtrap {A}")
    do(node, "wait 30m")
    do(node, "wait 1m")
    node.warden.close()
    assert b"192.0.2.1" in (tmp_path / "state" / "bans.sqlite3").read_bytes()
    do(node, "kill")
    do(node, "wait 1d")
    do(node, "wait 2m")
    do(node, "wait 2m")
    node.warden.close()
    assert b"192.0.2.1" not in b"".join(each.read_bytes() for each in (tmp_path / "state").iterdir())
