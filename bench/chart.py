"""The comparison as a picture: a panel for each row, bars are medians, whiskers go from least to most."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report import OURS, Summary
from bench.rows import ROWS

PANEL_INCHES = (6.0, 1.9)
OUR_COLOUR, PEER_COLOUR = "#1f6feb", "#9aa4b2"


def draw(summaries: Sequence[Summary], path: Path) -> list[Path]:
    """Write `path` as .svg and .png and return both."""
    mpl.use("agg")
    keys = list(dict.fromkeys(summary.row for summary in summaries))
    figure = Figure(figsize=(PANEL_INCHES[0], PANEL_INCHES[1] * len(keys)), layout="constrained")
    panels = figure.subplots(len(keys), 1, squeeze=False)[:, 0]
    for key, axes in zip(keys, panels, strict=True):
        _panel(axes, key, [summary for summary in summaries if summary.row == key])
    written = [path.with_suffix(suffix) for suffix in (".svg", ".png")]
    for each in written:
        figure.savefig(each, dpi=150)
    return written


def _panel(axes: Axes, key: str, summaries: Sequence[Summary]) -> None:
    """Draw one row on a logarithmic axis: aiohttp is ten times the others."""
    name, unit = (
        ("p99_us", "p99 through the proxy, us") if ROWS[key].open_loop else ("cpu_us", "CPU us per request")
    )
    spreads = [summary.figures[name] for summary in summaries]
    medians = [spread.median for spread in spreads]
    whiskers = [[each.median - each.low for each in spreads], [each.high - each.median for each in spreads]]
    colours = [OUR_COLOUR if summary.proxy == OURS else PEER_COLOUR for summary in summaries]
    bars = axes.barh([summary.proxy for summary in summaries], medians, xerr=whiskers, color=colours)
    axes.bar_label(bars, [f" {value:,.1f}" for value in medians], label_type="center")
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_title(f"({key}) {ROWS[key].title}", fontsize=9, loc="left")
    axes.set_xlabel(unit, fontsize=8)
