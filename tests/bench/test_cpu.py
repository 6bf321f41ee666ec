"""CPU accounting, on a made-up /proc."""

from pathlib import Path

import pytest

from bench import cpu


def _process(proc: Path, pid: int, run_ns: list[int], children: list[int]) -> None:
    for number, each in enumerate(run_ns):
        task = proc / str(pid) / "task" / str(pid + number)
        task.mkdir(parents=True)
        (task / "schedstat").write_text(f"{each} 77 3\n")
        (task / "children").write_text(" ".join(map(str, children)) if number == 0 else "")


def test_snapshot_sums_the_threads_of_each_process_of_the_tree(tmp_path: Path) -> None:
    """Grandchildren count, threads add up, strangers do not count."""
    _process(tmp_path, 100, [5], [200])
    _process(tmp_path, 200, [10, 20], [300])
    _process(tmp_path, 300, [40], [])
    _process(tmp_path, 900, [999], [])
    assert cpu.snapshot(100, tmp_path) == {100: 5, 200: 30, 300: 40}


def test_spent_gives_the_tree_and_its_busiest_process() -> None:
    """The sum is what the goals are judged on; the busiest process is the worker."""
    assert cpu.spent({1: 10, 2: 100}, {1: 15, 2: 400}) == cpu.Spent(tree_ns=305, busiest_ns=300)


def test_the_busiest_is_who_ran_longest_meanwhile() -> None:
    """Not who has run longest since its start, nor who was there before."""
    assert cpu.busiest({1: 900, 2: 10}, {1: 910, 2: 50}) == 2
    assert cpu.busiest({1: 900}, {1: 910, 2: 50}) == 2


@pytest.mark.parametrize("after", [{1: 20}, {1: 20, 2: 30, 3: 1}, {1: 20, 3: 5}])
def test_a_tree_that_changed_is_no_figure(after: dict[int, int]) -> None:
    """A worker that died took its run time with it, and one that was born did part of the work."""
    with pytest.raises(cpu.ProcessGoneError):
        cpu.spent({1: 10, 2: 10}, after)


def test_core_busy_counts_all_but_idle_and_iowait(tmp_path: Path) -> None:
    """The line of the asked core is read, and cpu1 is not taken for cpu11."""
    (tmp_path / "stat").write_text("cpu  9 9 9 9 9 9 9 9\ncpu11 9 9 9 9 9 9 9 9 0 0\ncpu1 1 2 3 500 600 4 5 6 0 0\n")
    assert cpu.core_busy_ns(1, tmp_path) == 21 * cpu.TICK_NS


def test_stolen_is_what_the_host_took_from_all_cores(tmp_path: Path) -> None:
    """The eighth figure of the line that sums the cores, in ticks."""
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 8 9 9\ncpu0 0 0 0 0 0 0 0 5 0 0\n")
    assert cpu.stolen_ns(tmp_path) == 8 * cpu.TICK_NS
