"""The comparison as a picture: a panel for each row, dots are medians, whiskers go from least to most."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

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
    """Draw one row, on a logarithmic axis (aiohttp is tenfold), so without bars: they need a zero."""
    name, unit = ("p99_us", "p99, us") if ROWS[key].open_loop else ("cpu_us", "CPU us per request")
    for place, summary in enumerate(summaries):
        middle, low, high = summary.figures[name]
        colour = OUR_COLOUR if summary.proxy == OURS else PEER_COLOUR
        axes.errorbar(middle, place, xerr=[[middle - low], [high - middle]], fmt="o", color=colour, capsize=3)
    labels = [f"{summary.proxy}  {summary.figures[name].median:,.1f}" for summary in summaries]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xscale("log", subs=[])
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.invert_yaxis()
    axes.margins(x=0.2, y=0.2)
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.set_title(f"({key}) {ROWS[key].title}", fontsize=9, loc="left")
    axes.set_xlabel(unit, fontsize=8)
