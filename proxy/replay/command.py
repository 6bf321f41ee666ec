"""`hkpguard replay`: reads logs, plays them to one node, or to two with different settings, and reports."""

import gc
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from proxy.config import Config, ConfigError
from proxy.plugins.built_in import BUILT_IN
from proxy.replay.detection import UNASKED, detection
from proxy.replay.looks import Looks
from proxy.replay.page import page
from proxy.replay.readers import STDIN, LogError, Reading, requests
from proxy.replay.report import Naming, Report, log_figures, outcome
from proxy.replay.text_report import view
from proxy.replay.world import World
from proxy.settings.sources import PREFIX
from proxy.shared_exits import SharedExits

WIDTH: Final = 120  # of a report that goes to a file
PRESENT, OTHER = "present settings", "with --set"


def replay(  # noqa: PLR0913 - each is an option
    context: typer.Context,
    logs: Annotated[list[str], typer.Argument(help="Files, also .gz and .xz; - is standard input", metavar="LOG...")],
    *,
    form: Annotated[
        Literal["hkpguard", "hockeypuck", "haproxy", "nginx", "apache"] | None,
        typer.Option("--format", help="Else it is recognised by the first lines"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Compare with other settings, such as LIMITS__CERT__BURST=30", metavar="NAME=VALUE"),
    ] = None,
    pace: Annotated[
        Literal["wait", "keep"],
        typer.Option(help="Whether a client that is delayed asks later for all that follows, as gpg does"),
    ] = "wait",
    addresses: Annotated[bool, typer.Option("--addresses", help="Name clients, not networks")] = False,
    most: Annotated[int, typer.Option("--most", min=0, max=10_000, help="Networks or clients to name")] = 20,
    models: Annotated[
        bool, typer.Option("--models/--no-models", help="Whether the models look, as the settings say")
    ] = True,
    json_file: Annotated[str | None, typer.Option("--json", help="Write JSON; - is standard output")] = None,
    html_file: Annotated[str | None, typer.Option("--html", help="Write a page with plots")] = None,
) -> None:
    """Tell what the present settings would have done with the requests of a log."""
    present = config_of(context.obj)
    changes = dict(map(_pair, settings or []))
    configs = [present, *([config_of({**context.obj, **changes})] if changes else [])]
    for name in sorted(dict(configs[-1].plugins.items() - present.plugins.items()).keys() - BUILT_IN.keys()):
        typer.echo(f"warning: --set changes nothing for {name}: plugins that are not built in are not played", err=True)
    worlds = [_world(config, patient=pace == "wait", models=models) for config in configs]
    try:
        report = run(logs, form, worlds, changes, addresses=addresses, most=most)
    except LogError as error:
        typer.echo(f"hkpguard: {error}", err=True)
        raise typer.Exit(1) from None
    if html_file:
        _write(html_file, page(report))
    if json_file:
        _write(json_file, json.dumps(asdict(report), indent=2) + "\n")
    if json_file != STDIN:
        console = Console()
        console = console if console.is_terminal else Console(width=WIDTH)
        console.print(view(report))


def config_of(environ: Mapping[str, str]) -> Config:
    """Return the configuration, or end with all its faults."""
    try:
        return Config.from_env(environ, try_files=False)
    except ConfigError as error:
        typer.echo("\n".join(str(fault) for fault in error.faults), err=True)
        raise typer.Exit(1) from None


def _pair(text: str) -> tuple[str, str]:
    """Return the variable and the value that an option sets."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE")
    name = name.upper()
    return (name if name.startswith(PREFIX) else PREFIX + name), value


def _world(config: Config, *, patient: bool, models: bool) -> World:
    exits = SharedExits()
    networks = exits.read(config)
    if exits.problem:
        typer.echo(f"warning: {exits.problem}", err=True)
    return World(config, networks, patient=patient, detection=detection(config) if models else UNASKED)


def run(  # noqa: PLR0913 - a log, and what is to be done with it
    logs: Sequence[str],
    form: str | None,
    worlds: Sequence[World],
    changes: Mapping[str, str],
    *,
    addresses: bool = False,
    most: int = 20,
) -> Report:
    """Read logs once, play them to all worlds, and return what became of it.

    Raises:
        LogError: A log cannot be read, or there is no request in it.

    """
    reading, looks = Reading(quotes=addresses), Looks()
    begin_ns = end_ns = 0
    with _progress(logs) as progress, _without_collector():
        for batch in requests(logs, form, reading, progress):
            if not batch:
                continue
            begin_ns, end_ns = begin_ns or batch[0].start_ns, batch[-1].start_ns
            for world in worlds:
                world.play(batch, looks.note if world is worlds[0] else None)
        for world in worlds:
            world.end()
        if not begin_ns:
            raise LogError(f"no request in {', '.join(logs)}")
        namings = (
            Naming(title=PRESENT, settings={}, addresses=addresses, most=most),
            Naming(title=OTHER, settings=changes, addresses=addresses, most=most),
        )
        outcomes = [outcome(world, looks, naming) for world, naming in zip(worlds, namings, strict=False)]
        return Report(log_figures(reading, begin_ns, end_ns), outcomes)


@contextmanager
def _progress(logs: Sequence[str]) -> Iterator[Callable[[int], None]]:
    """Show how far the files are read, if somebody watches; yield what is to be told."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    total = sum(Path(each).stat().st_size for each in logs if each != STDIN and Path(each).is_file())
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total or None)
        yield lambda count: progress.advance(task, count)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the collector of garbage out: a replay makes millions of tuples, and no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _write(name: str, text: str) -> None:
    if name == STDIN:
        sys.stdout.write(text)
        return
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        typer.echo(f"hkpguard: {name}: {error.strerror}", err=True)
        raise typer.Exit(1) from None
