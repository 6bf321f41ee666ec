"""Medians, ratios and goals."""

from io import StringIO

import pytest
from rich.console import Console

from bench import report
from bench.rows import Sample

FIGURES = ("worker_cpu_us", "rate", "core_share", "foreign_share", "p50_us", "p99_us")


def _sample(proxy: str, turn: int, cpu_us: float, row: str = "a") -> Sample:
    return Sample(row=row, proxy=proxy, round=turn, figures={"cpu_us": cpu_us, **dict.fromkeys(FIGURES, 1.0)})


def _ours(row: str, cpu_us: float, reference_us: float = 10.0) -> report.Summary:
    samples = [_sample("haproxy", 0, reference_us, row), _sample(report.OURS, 0, cpu_us, row)]
    return next(each for each in report.summarise(samples) if each.proxy == report.OURS)


def test_ratios_are_taken_within_a_round() -> None:
    """A round in which the machine was slow for all has the same ratio as a quick one."""
    cpu_us = {"haproxy": [10.0, 40.0, 10.0], report.OURS: [11.0, 44.0, 9.0]}
    samples = [_sample(name, turn, each) for name, costs in cpu_us.items() for turn, each in enumerate(costs)]
    ours = report.summarise(samples)[1]
    assert ours.figures["cpu_us"] == (11.0, 9.0, 44.0)
    assert ours.ratios["cpu_us"] == pytest.approx((1.1, 0.9, 1.1))


@pytest.mark.parametrize(
    ("row", "cpu_us", "word"),
    [
        ("a", 10.0, "met"),
        ("a", 10.1, "MISSED"),
        ("b", 10.0, "met"),
        ("c", 9.0, "met"),
        ("c", 9.1, "MISSED"),
        ("e", 10.1, "MISSED"),
        ("f", 12.0, "met"),
        ("f", 12.1, "MISSED"),
    ],
)
def test_goals_of_the_issue(row: str, cpu_us: float, word: str) -> None:
    """(a), (b) and (e) at most HAProxy's, (c) at most 0.9 of it, (f) 1.2 times."""
    assert report.judged(_ours(row, cpu_us)).startswith(f"{word}:")


@pytest.mark.parametrize(("added_us", "word"), [(1000.0, "met"), (1000.1, "MISSED")])
def test_goal_of_latency_needs_no_reference(added_us: float, word: str) -> None:
    """(d) is judged on what is added at the 99th percentile."""
    sample = Sample(row="d", proxy=report.OURS, round=0, figures={"cpu_us": 1.0, "added_p99_us": added_us})
    assert report.judged(report.summarise([sample])[0]).startswith(f"{word}:")


def test_a_goal_without_its_reference_is_unknown() -> None:
    """Nothing is claimed when HAProxy was not measured in the same run."""
    summary = report.summarise([_sample(report.OURS, 0, 1.0)])[0]
    assert report.judged(summary).startswith("unknown:")


def test_the_tables_name_every_proxy() -> None:
    """Each proxy has a line with its median in the table of its row."""
    samples = [_sample("haproxy", 0, 12.25), _sample("nginx", 0, 13.5)]
    output = StringIO()
    console = Console(width=200, file=output)
    report.show(console, {"cpu": "abacus"}, report.summarise(samples))
    text = output.getvalue()
    assert all(word in text for word in ("abacus", "haproxy", "12.2", "nginx", "13.5", "1.10"))
