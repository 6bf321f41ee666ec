"""`hkpguard plugins`: list, config, enable, disable, reload; all of it through the admin API."""

from __future__ import annotations

import json
import urllib.parse
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from proxy.admin.client import AdminError, ask
from proxy.admin.view import plugin_view, plugins_view
from proxy.config import Config, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

CHANGE_SECONDS = 30.0  # the old process of a plugin may be busy, the new one has to start

app = typer.Typer(help="Show and change the plugins of a running instance.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Such as ratelimit-tarpit", metavar="PLUGIN")]
Raw = Annotated[bool, typer.Option("--json", help="Print the answer as JSON")]


@app.command("list")
def list_all(context: typer.Context, *, raw: Raw = False) -> None:
    """List the plugins that are installed, those that are off among them."""
    answer = _ask(context.obj, "")
    if raw:
        typer.echo(json.dumps(answer, indent=2))
    else:
        Console().print(plugins_view(answer))


@app.command()
def config(
    context: typer.Context,
    plugin: Name,
    settings: Annotated[
        list[str] | None, typer.Argument(help="Settings for now, such as percent=10", metavar="[SETTING=VALUE]...")
    ] = None,
    *,
    raw: Raw = False,
) -> None:
    """Show the settings of a plugin, or set some of them until the configuration is read again."""
    wanted = dict(map(_pair, settings or []))
    path = f"/{_quoted(plugin)}"
    answer = _ask(context.obj, path, "PATCH", {"settings": wanted}) if wanted else _ask(context.obj, path)
    if raw:
        typer.echo(json.dumps(answer, indent=2))
    else:
        Console().print(plugin_view(answer))


@app.command()
def enable(
    context: typer.Context,
    plugin: Name,
    *,
    enforce: Annotated[
        bool, typer.Option("--enforce", help="Let what it finds count; else it is in shadow mode")
    ] = False,
) -> None:
    """Switch a plugin on until the configuration is read again."""
    _set_mode(context.obj, plugin, "enforce" if enforce else "shadow")


@app.command()
def disable(context: typer.Context, plugin: Name) -> None:
    """Switch a plugin off until the configuration is read again."""
    _set_mode(context.obj, plugin, "off")


@app.command()
def reload(context: typer.Context, plugin: Name) -> None:
    """Begin a plugin anew, from the code that is installed now; the old one stays if that fails."""
    answer = _ask(context.obj, f"/{_quoted(plugin)}/reload", "POST")
    typer.echo(f"{answer['name']} {answer['version']} runs anew, mode {answer['mode']}.")


def _set_mode(environ: Mapping[str, str], plugin: str, mode: str) -> None:
    answer = _ask(environ, f"/{_quoted(plugin)}", "PATCH", {"settings": {"mode": mode}})
    typer.echo(f"{answer['name']} is {answer['mode']} until the configuration is read again.")
    typer.echo(f"To keep it so: {answer['switch']}={mode}")
    if answer["mode"] != mode:
        typer.echo("warning: it is no stricter than HKPGUARD_MODE", err=True)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not SETTING=VALUE")
    return name.lower(), value


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _ask(
    environ: Mapping[str, str], path: str, method: str = "GET", body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Ask the running instance, or end with what went wrong."""
    try:
        config = Config.from_env(environ, try_files=False)
        return ask(config, method, f"/api/v1/plugins{path}", body, seconds=CHANGE_SECONDS)
    except (AdminError, ConfigError) as error:
        typer.echo(f"hkpguard: {error}", err=True)
        raise typer.Exit(1) from None
