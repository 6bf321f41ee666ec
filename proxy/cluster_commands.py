"""`hkpguard cluster` and `hkpguard policy`: who is in the cluster, and what is in force on all nodes."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Final, Never

import typer
from rich.console import Console

from proxy.admin.client import AdminError, ask
from proxy.admin.cluster_view import cluster_view, made_view, release_view
from proxy.config import Config, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

RELEASE_SECONDS: Final = 100.0  # all nodes try it, and then put it in force
PATH: Final = "/api/v1/cluster"

app = typer.Typer(help="Show the nodes that guard one keyserver together.", no_args_is_help=True)
policy = typer.Typer(help="Set all nodes of the cluster at once.", no_args_is_help=True)

Raw = Annotated[bool, typer.Option("--json", help="Print the answer as JSON")]


@app.callback()
def _cluster() -> None:
    """Keep `status` a word of its own: with one command typer would do without."""


@app.command()
def status(context: typer.Context, *, raw: Raw = False) -> None:
    """Show all nodes, as this one sees them."""
    answer = tell(context.obj)
    if raw:
        typer.echo(json.dumps(answer, indent=2))
    else:
        Console().print(cluster_view(answer))


@policy.command()
def push(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="TOML, as HKPGUARD_CONFIG has it", dir_okay=False, exists=True)],
) -> None:
    """Have every node try the settings of a file, and put them in force on all, or on none."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        end(f"{file}: {error}")
    Console().print(made_view(tell(context.obj, "/policy", {"text": text})))


@policy.command("status")
def policy_status(context: typer.Context, *, raw: Raw = False) -> None:
    """Show which policy is in force, and on which nodes."""
    answer = tell(context.obj, "/policy")
    if raw:
        typer.echo(json.dumps(answer, indent=2))
    else:
        Console().print(release_view("policy", answer))


@policy.command()
def rollback(context: typer.Context) -> None:
    """Put the policy before in force again, on all nodes or on none."""
    Console().print(made_view(tell(context.obj, "/policy/rollback", {})))


def tell(environ: Mapping[str, str], path: str = "", body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the running instance, or with a body tell it to release something; or end with what went wrong."""
    try:
        config = Config.from_env(environ, try_files=False)
        return ask(config, "GET" if body is None else "POST", PATH + path, body, seconds=RELEASE_SECONDS)
    except ConfigError as error:
        end("\n".join(str(fault) for fault in error.faults))
    except AdminError as error:
        end(str(error))


def end(text: str) -> Never:
    """Say what went wrong, and exit."""
    typer.echo(f"hkpguard: {text}", err=True)
    raise typer.Exit(1)
