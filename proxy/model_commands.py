"""`hkpguard train`, and `hkpguard models`: list, verify and show work on files, push and rollback on a cluster."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Never

import typer
from rich.console import Console
from rich.table import Table

from fastpath import parse_network
from proxy.admin.cluster_view import made_view
from proxy.cluster.model_pack import read_folder
from proxy.cluster_commands import tell
from proxy.config import Config, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

# What does the work loads onnxruntime. These commands are part of the command that serves, which goes without it: so
# each imports it for itself.

app = typer.Typer(help="Show and verify the models that look at behaviour.", no_args_is_help=True)


@app.command("list")
def list_all(context: typer.Context) -> None:
    """List the models: your own, and those that are shipped."""
    from proxy import own_models  # noqa: PLC0415

    view = Table(title="models", title_justify="left")
    for heading in ("model", "version", "file", "in use", "made of, or what is wrong"):
        view.add_column(heading)
    for each in own_models.found(_state_dir(context.obj)):
        version, text = (each.known.version, each.known.training_data) if each.known else ("", each.problem)
        view.add_row(each.path.stem, version, str(each.path), "yes" if each.in_use else "no", text)
    Console().print(view)


@app.command()
def verify(context: typer.Context) -> None:
    """Load every model as the guard would; exit 1 if one is damaged or does not fit."""
    from proxy import own_models  # noqa: PLC0415

    all_found = [*own_models.found(_state_dir(context.obj))]
    for each in all_found:
        typer.echo(each.problem or f"{each.path}: good", err=bool(each.problem))
    raise typer.Exit(any(each.problem for each in all_found))


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="As `list` names it", metavar="MODEL")] = "abuse-trees",
) -> None:
    """Print all that is known of the model of this name that is in use: its manifest."""
    from models.manifest import text_of  # noqa: PLC0415
    from proxy import own_models  # noqa: PLC0415

    if name not in own_models.OPENED:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(own_models.OPENED)}")
    try:
        typer.echo(text_of(own_models.in_use(_state_dir(context.obj), name)), nl=False)
    except own_models.Refused as error:
        _end(str(error))


@app.command()
def push(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Models and their manifests", file_okay=False, exists=True)],
) -> None:
    """Have every node of the cluster verify the models of a folder, and put them in force on all, or on none."""
    try:
        files = {name: b64encode(data).decode() for name, data in read_folder(folder).items()}
    except (OSError, ValueError) as error:
        _end(str(error))
    Console().print(made_view(tell(context.obj, "/models", {"files": files})))


@app.command()
def rollback(context: typer.Context) -> None:
    """Put the models before in force again, on all nodes of the cluster or on none."""
    Console().print(made_view(tell(context.obj, "/models/rollback", {})))


def train(
    context: typer.Context,
    logs: Annotated[
        list[str], typer.Argument(help="Access logs of hkpguard, also .gz, .xz; - is standard input", metavar="LOG...")
    ],
    *,
    honest: Annotated[
        list[str] | None, typer.Option(metavar="NETWORK", help="A client or network that is no abuser; repeatable")
    ] = None,
    abusive: Annotated[
        list[str] | None, typer.Option(metavar="NETWORK", help="A client or network that is one; repeatable")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train and compare, but change nothing")] = False,
) -> None:
    """Train the model of behaviour on what is normal here; it is put in use if it is no worse than the one before."""
    from proxy import own_models  # noqa: PLC0415

    keys = [frozenset(map(_key, networks or ())) for networks in (honest, abusive)]
    try:
        done = own_models.train(_config(context.obj), logs, *keys, dry_run=dry_run)
    except own_models.Refused as error:
        _end(str(error))
    typer.echo(done.summary)
    if done.path is None:
        typer.echo("Nothing is changed (--dry-run).")
    else:
        typer.echo(f"{done.path} is in use within a minute. Remove it to go back to the shipped one.")


def _state_dir(environ: Mapping[str, str]) -> str:
    return _config(environ).state_dir


def _config(environ: Mapping[str, str]) -> Config:
    try:
        return Config.from_env(environ, try_files=False)
    except ConfigError as error:
        _end("\n".join(str(fault) for fault in error.faults))


def _key(network: str) -> int:
    try:
        return parse_network(network)
    except ValueError as error:
        raise typer.BadParameter(f"{network!r}: {error}") from None


def _end(text: str) -> Never:
    typer.echo(f"hkpguard: {text}", err=True)
    raise typer.Exit(1)
