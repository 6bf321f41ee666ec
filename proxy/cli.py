"""The command line: what there is to say to a guard, and the groups of commands that others have.

The environment is the context's object.
"""

from __future__ import annotations

import functools
import json
import urllib.parse
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from proxy import cluster_commands, demo, geo_commands, model_commands, node, plugin_commands
from proxy.admin.client import AdminError, ask
from proxy.admin.history import By
from proxy.admin.view import bans_view, client_view, top_view, watch
from proxy.config import Config, ConfigError
from proxy.replay import command as replaying
from proxy.settings.addresses import Address
from proxy.settings.kinds import DAY, SECOND, Duration
from proxy.sockets import ListenError, bind
from proxy.telemetry import log

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

TRY_CERTS = 2
MOST_NAMED = 10  # bans that `unban` lists
BAN_LENGTH = Duration(SECOND, 365 * DAY)


app = typer.Typer(
    help="Guard for OpenPGP keyservers: a reverse proxy that gives every client a fair share.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(plugin_commands.app, name="plugins")
app.add_typer(model_commands.app, name="models")
app.add_typer(geo_commands.app, name="geo")
app.add_typer(cluster_commands.app, name="cluster")
app.add_typer(cluster_commands.policy, name="policy")
app.command("replay")(replaying.replay)
app.command("train")(model_commands.train)


def _tell_version(asked: bool) -> None:  # noqa: FBT001 - as typer calls it
    if asked:
        typer.echo(version("hkpguard"))
        raise typer.Exit


@app.callback()
def hkpguard(
    *, _: Annotated[bool, typer.Option("--version", help="Print the version and exit", callback=_tell_version)] = False
) -> None:
    """Take what is said before any command."""


@app.command()
def serve(context: typer.Context) -> None:
    """Run in front of HKPGUARD_UPSTREAM."""
    config = _config(context.obj, upstream=True)
    raise typer.Exit(_run(config, context.obj))


@app.command("demo")
def run_demo(context: typer.Context) -> None:
    """Run in front of a small embedded keyserver of made-up certificates."""
    sock = bind(Address("127.0.0.1", 0), share=False)
    settings = {**context.obj, "HKPGUARD_UPSTREAM": f"http://127.0.0.1:{sock.getsockname()[1]}"}
    config = _config(settings, upstream=True)
    typer.echo(_hints(config), err=True)
    raise typer.Exit(_run(config, settings, sock))


@app.command()
def check(context: typer.Context) -> None:
    """Print the configuration as it will be used; exit 1 with all faults if there are any."""
    config = _config(context.obj, upstream=False)
    typer.echo("\n".join(config.describe()))
    warnings = config.warnings()
    if not config.upstream:
        warnings = [*warnings, "HKPGUARD_UPSTREAM is not set: `hkpguard serve` needs it."]
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)


@app.command()
def explain(
    context: typer.Context,
    address: Annotated[str, typer.Argument(help="IPv4 or IPv6 address of a client")],
    *,
    raw: Annotated[bool, typer.Option("--json", help="Print the answer as JSON")] = False,
) -> None:
    """Show the state of each limit of a client, and what was decided about it."""
    answer = _ask(context.obj, f"/api/v1/clients/{_quoted(address)}")
    if raw:
        typer.echo(json.dumps(answer, indent=2))
    else:
        Console().print(client_view(answer))


@app.command()
def top(
    context: typer.Context,
    *,
    once: Annotated[bool, typer.Option("--once", help="Print one view and exit")] = False,
    by: Annotated[By, typer.Option(help="Who or what is counted")] = By.CLIENT,
    most: Annotated[int, typer.Option(min=1, max=100, help="Rows to show")] = 20,
) -> None:
    """Watch who asks most, or what is asked for most, and what is done about it."""
    path = f"/api/v1/top?most={most}&by={by}"
    if once:
        Console().print(top_view(_ask(context.obj, path)))
    else:
        watch(lambda: _ask(context.obj, path))


NETWORKS = "Address (of IPv6: its /64), or network: IPv4 /24, IPv6 /64, /56 or /48"
Network = Annotated[str, typer.Argument(help=NETWORKS, metavar="NETWORK")]


@app.command()
def ban(
    context: typer.Context,
    network: Network,
    *,
    length: Annotated[
        str | None, typer.Option("--for", help="Such as 30m, 2h or 7d; else the first of HKPGUARD_BANS__LADDER")
    ] = None,
    reason: Annotated[str, typer.Option(help="For whoever asks later; up to 200 characters")] = "",
) -> None:
    """Ban a client or a network."""
    seconds = None if length is None else _seconds(length)
    answer = _ask(context.obj, "/api/v1/bans", "POST", {"network": network, "seconds": seconds, "reason": reason})
    typer.echo(f"{answer['network']} is banned until {answer['until']}.")
    for warning in answer["warnings"]:
        typer.echo(f"warning: {warning}", err=True)


@app.command()
def unban(context: typer.Context, network: Network) -> None:
    """End all bans of a client or a network and of what is in it; forget its offences."""
    answer = _ask(context.obj, f"/api/v1/bans/{_quoted(network)}", "DELETE")
    names = ", ".join(each["network"] for each in answer["lifted"][:MOST_NAMED])
    typer.echo(f"Lifted: {names}{_more(answer['count'])}.")
    if still := answer["still_banned_by"]:
        typer.echo(f"warning: {still['network']} is still banned, until {still['until']}", err=True)


def _more(count: int) -> str:
    return f" and {count - MOST_NAMED} more" if count > MOST_NAMED else ""


@app.command()
def bans(
    context: typer.Context,
    *,
    most: Annotated[int, typer.Option(min=1, max=1000, help="Bans to show, the most recent first")] = 100,
    raw: Annotated[bool, typer.Option("--json", help="Print the answer as JSON")] = False,
) -> None:
    """List the bans that are in force."""
    answer = _ask(context.obj, f"/api/v1/bans?most={most}")
    if raw:
        typer.echo(json.dumps(answer, indent=2))
    else:
        Console().print(bans_view(answer))


def _config(environ: Mapping[str, str], *, upstream: bool, try_files: bool = True) -> Config:
    """Return the configuration, or end with all its faults."""
    try:
        config = Config.from_env(environ, try_files=try_files)
        if upstream:
            config.require_upstream()
    except ConfigError as error:
        typer.echo("\n".join(str(fault) for fault in error.faults), err=True)
        raise typer.Exit(1) from None
    return config


def _run(config: Config, environ: Mapping[str, str], keyserver: socket.socket | None = None) -> int:
    log.configure(config.log)
    beside = {} if keyserver is None else {"demo": functools.partial(_serve_demo, keyserver)}
    try:
        return node.run(config, environ, beside)
    except ListenError as error:
        typer.echo(f"hkpguard: {error}", err=True)
        return 1


def _serve_demo(keyserver: socket.socket, channel: socket.socket) -> int:
    demo.run(keyserver, until_eof=channel)
    return 0


def _hints(config: Config) -> str:
    """Return what to try with the demo."""
    address = config.listen[0].address
    server = f"hkp://{address}"
    fingerprints = " ".join(demo.demo_fingerprints()[:TRY_CERTS])
    return (
        "hkpguard demo: a guarded keyserver of made-up certificates. Try:\n"
        f"  gpg --keyserver {server} --recv-keys {fingerprints}\n"
        f"  gpg --keyserver {server} --search-keys alice@example.org\n"
        f"  curl 'http://{address}/pks/lookup?op=index&options=mr&search=alice@example.org'\n"
        f"  curl http://{config.admin}/metrics\n"
        "  hkpguard top          hkpguard explain 127.0.0.1\n"
    )


def _ask(
    environ: Mapping[str, str], path: str, method: str = "GET", body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Ask the running instance through its admin API, or end with what went wrong."""
    try:
        return ask(_config(environ, upstream=False, try_files=False), method, path, body)
    except AdminError as error:
        typer.echo(f"hkpguard: {error}", err=True)
        raise typer.Exit(1) from None


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _seconds(text: str) -> int:
    """Return a duration that an option gives."""
    try:
        return BAN_LENGTH.parse(text) // SECOND
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}", param_hint="'--for'") from None
