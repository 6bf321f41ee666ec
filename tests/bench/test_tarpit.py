"""Figures of the tarpit."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.tarpit import NAMES, Figures, Memory, kernel_bytes

GOOD = Figures(
    proxy="hkpguard", free_us=[10.0, 20.0, 10.0], held_us=[10.5, 20.0, 30.0], alone_us=1.0, each=Memory(256, 999, 9999)
)


def test_memory_is_shared_out_among_the_held() -> None:
    """The difference, for each connection."""
    assert Memory(5000, 7000, 30_000).minus(Memory(1000, 2000, 10_000), 100) == Memory(40, 50, 200)


def test_the_kernel_counts_slabs_and_buffers(tmp_path: Path) -> None:
    """KiB of the one, pages of the other."""
    (tmp_path / "net").mkdir()
    (tmp_path / "meminfo").write_text("MemTotal: 99 kB\nSlab:             1000 kB\nSReclaimable: 9 kB\n")
    (tmp_path / "net" / "sockstat").write_text("sockets: used 16\nTCP: inuse 1 orphan 0 tw 150 alloc 1 mem 207\n")
    assert kernel_bytes(tmp_path) == 1000 * 1024 + 207 * 4096


def test_the_ratio_is_taken_within_a_turn() -> None:
    """A turn in which the machine was slow for both counts like another."""
    assert GOOD.ratio == pytest.approx(1.05)


@pytest.mark.parametrize(
    ("figures", "missed"),
    [
        (GOOD, []),
        (replace(GOOD, held_us=[10.6, 21.2, 10.6]), ["CPU"]),
        (replace(GOOD, each=Memory(257, 0, 0)), ["memory"]),
    ],
)
def test_goals_of_the_issue(figures: Figures, missed: list[str]) -> None:
    """At most 5 % more CPU for a request, at most 256 bytes for a held connection."""
    assert figures.missed() == missed


def test_haproxy_is_measured_in_the_same_run() -> None:
    """With its own tarpit."""
    assert NAMES == ("hkpguard", "haproxy")
