"""A report as one page of HTML that needs nothing else: no script, no font, no picture from elsewhere."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from proxy.replay.report import FATES, Hit, Outcome, Report, Suspect
from proxy.replay.text_report import (
    HEADINGS,
    LEGEND,
    SUSPECT_HEADINGS,
    UNTOLD,
    cells,
    figures,
    sentences,
    suspect_cells,
)

WIDTH, HEIGHT, BAR = 900, 220, 18  # of plots, pixels
LABEL_WIDTH: Final = 170
COLOURS: Final = ("#4c9f70", "#e3b23c", "#d1495b", "#5b2333", "#aaaaaa")  # by fate
STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}"
    "td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:right}"
    "td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}.key span{margin-right:1rem}"
    "p{overflow-wrap:anywhere}"
)
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: Report) -> str:
    """Return the page; everything that comes from a log or from settings is escaped."""
    return "\n".join(_page(report))


def _page(report: Report) -> Iterator[str]:
    yield '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>hkpguard replay</title>'
    yield f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{STYLE}</style></head><body>'
    yield "<h1>What would have happened</h1>"
    yield from (f"<p>{escape(each)}</p>" for each in sentences(report.log))
    yield from _summary(report.outcomes)
    for outcome in report.outcomes:
        yield f"<h2>{escape(outcome.title)}</h2>"
        yield _key()
        yield timeline(outcome)
        yield bars(outcome.limits)
        yield from _hits(outcome.limits, "limit or reason")
        if outcome.worst:
            yield "<h3>Who was hit most</h3>"
            yield from _hits(outcome.worst, "who")
        yield f"<h3>Accused by the models</h3><p>{escape(outcome.models)}</p>"
        if outcome.suspects:
            yield from _suspects(outcome.suspects)
        if outcome.untold:
            yield f"<p>{UNTOLD}</p>"
    yield f"<p>{escape(LEGEND)}</p></body></html>"


def _summary(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "<table>" + _row("th", ["", *(outcome.title for outcome in outcomes)])
    columns = [list(figures(outcome)) for outcome in outcomes]
    for rows in zip(*columns, strict=True):
        yield _row("td", [rows[0][0].replace("  ", "\N{NO-BREAK SPACE}" * 3), *(text for _, text in rows)])
    for name in sorted({name for outcome in outcomes for name in outcome.settings}):
        yield _row("td", [name, *(outcome.settings.get(name, "") for outcome in outcomes)])
    yield "</table>"


def _hits(hits: Sequence[Hit], who: str) -> Iterator[str]:
    named = any(hit.limit for hit in hits)
    yield "<table>" + _row("th", [who, *HEADINGS, *(["mostly by"] if named else [])])
    for hit in hits:
        yield _row("td", [hit.name, *cells(hit), *([hit.limit] if named else [])])
    yield "</table>"


def _suspects(suspects: Sequence[Suspect]) -> Iterator[str]:
    yield "<table>" + _row("th", ["who", *SUSPECT_HEADINGS])
    for suspect in suspects:
        yield _row("td", [suspect.name, *suspect_cells(suspect)])
    yield "</table>"


def _row(tag: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts) + "</tr>"


def _key() -> str:
    spans = (f'<span style="color:{colour}">\N{BLACK SQUARE} {fate}</span>' for fate, colour in _layers())
    return f'<p class="key">{"".join(spans)}</p>'


def _layers() -> Iterator[tuple[str, str]]:
    return zip(FATES, COLOURS, strict=True)


def timeline(outcome: Outcome) -> str:
    """Return a plot of requests by time, a stack of fates for each column."""
    if not outcome.timeline:
        return ""
    begin_s, end_s = outcome.timeline[0][0], outcome.timeline[-1][0] + outcome.column_s
    most = max(sum(fates) for _, fates in outcome.timeline)
    across, up = WIDTH / (end_s - begin_s), HEIGHT / most
    title = f"Requests in {outcome.column_s / 60:g} min; the highest column has {most:,}"
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 20}" role="img"><title>{title}</title>']
    for at_s, fates in outcome.timeline:
        top = float(HEIGHT)
        for count, colour in zip(fates, COLOURS, strict=True):
            if count:
                top -= count * up
                x, width = (at_s - begin_s) * across, max(0.5, outcome.column_s * across)
                parts.append(
                    f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{count * up:.1f}" fill="{colour}"/>'
                )
    parts.append(f'<text x="0" y="{HEIGHT + 15}" font-size="12">{title}; {(end_s - begin_s) / 3600:.1f} h</text></svg>')
    return "".join(parts)


def bars(hits: Sequence[Hit]) -> str:
    """Return a plot of what each limit did: delayed, refused, by a ban."""
    shown = [hit for hit in hits if hit.delayed + hit.refused + hit.banned]
    if not shown:
        return "<p>Nobody was delayed or refused.</p>"
    most = max(hit.delayed + hit.refused + hit.banned for hit in shown)
    across = (WIDTH - LABEL_WIDTH) / most
    parts = [f'<svg viewBox="0 0 {WIDTH} {BAR * len(shown)}" role="img"><title>What each limit did</title>']
    for number, hit in enumerate(shown):
        y, x = BAR * number, float(LABEL_WIDTH)
        parts.append(f'<text x="0" y="{y + BAR - 5}" font-size="13">{escape(hit.name)}</text>')
        for count, colour in zip((hit.delayed, hit.refused, hit.banned), COLOURS[1:4], strict=True):
            width = count * across
            parts.append(f'<rect x="{x:.1f}" y="{y + 2}" width="{width:.1f}" height="{BAR - 4}" fill="{colour}"/>')
            x += width
    return "".join([*parts, "</svg>"])
