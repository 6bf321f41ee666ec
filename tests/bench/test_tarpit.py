"""Figures of the tarpit."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench.memory import kernel_bytes
from bench.tarpit import NAMES, Figures, Memory, Turn, content, table

EACH = Memory(256, 999, 9999)
GOOD = Figures(
    proxy="hkpguard", turns=[Turn(10.0, 10.5, 1.0, EACH), Turn(20.0, 20.0, 1.0, EACH), Turn(10.0, 30.0, 1.0, EACH)]
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
        (replace(GOOD, turns=[Turn(10.0, 10.6, 1.0, EACH)]), ["CPU"]),
        (replace(GOOD, turns=[Turn(10.0, 10.0, 1.0, Memory(257, 0, 0))]), ["memory"]),
    ],
)
def test_goals_of_the_issue(figures: Figures, missed: list[str]) -> None:
    """At most 5 % more CPU for a request, at most 256 bytes for a held connection."""
    assert figures.missed() == missed


def test_haproxy_is_measured_in_the_same_run() -> None:
    """With its own tarpit."""
    assert NAMES == ("hkpguard", "haproxy")


def test_what_is_shown_and_saved_says_the_same() -> None:
    """Medians and verdict in the table, each turn in the file."""
    output = StringIO()
    Console(width=200, file=output).print(table([GOOD], 10_000))
    assert all(word in output.getvalue() for word in ("10,000 held", "10.0 > 20.0", "1.050", "256", "met"))
    saved = json.loads(json.dumps(content([GOOD], 10_000)))
    assert [turn["held_us"] for turn in saved["proxies"][0]["turns"]] == [10.5, 20.0, 30.0]
    assert saved["proxies"][0]["turns"][0]["each"]["kernel"] == 9999
