"""What `hkpguard explain`, `hkpguard top` and `hkpguard bans` draw on a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

REFRESH_SECONDS = 1.0
# Columns of `hkpguard top`, and which field of the answer stands there.
OF_NETWORKS = {"network": "network", "requests": "requests", "subjects": "distinct_subjects"}
OF_SUBJECTS = {"subject": "subject", "operation": "operation", "requests": "requests", "clients": "distinct_clients"}
WORD_COLUMNS = 2  # the first columns of each table are words, the others figures


def client_view(answer: dict[str, Any]) -> RenderableType:
    """Return the tables for one client."""
    limits = table("limit", "mode", "burst", "per second", "remaining", "full in s", title=_headline(answer))
    for each in answer["limits"] + answer["network"]["budgets"]:
        limits.add_row(
            each["limit"],
            each["mode"],
            str(each["burst"]),
            f"{each['per_second']:.4g}",
            str(each["remaining"]),
            f"{each['full_in_seconds']:.3f}",
        )
    sources = ", ".join(sorted({each["address_source"] for each in answer["last"]}))
    title = f"last verdicts, address from {sources}"
    last = table("time", "operation", "action", "reason", "status", "cached", "wait ms", "request id", title=title)
    for each in answer["last"]:
        last.add_row(
            each["time"],
            each["operation"],
            each["action"],
            each["reason"],
            str(each["status"]),
            "yes" if each["cached"] else "",
            f"{each['wait_ms']:.0f}",
            each["request_id"],
        )
    about: list[RenderableType] = [limits, _cold(answer["network"]), _account(answer)]
    if answer["location"]:
        about.insert(1, escape(location_line(answer["location"])))
    about += [_case(each, who) for who, each in _verdicts(answer) if each["evidence"]]
    return Group(*about, last) if answer["last"] else Group(*about)


def _verdicts(answer: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    network = answer["network"]
    return [(answer["client"], answer["verdict"]), (network["network"], network["verdict"])]


def _case(verdict: dict[str, Any], who: str) -> RenderableType:
    """Return the table of what speaks for and against a client or network."""
    standing, other = verdict["standing"], verdict["without_shadow_mode"]
    instead = f", without shadow mode {other}" if other != standing else ""
    sums = f"log-odds {verdict['log_odds']:+.2f}, of which {verdict['prior']:+.1f} go for anybody"
    case = table("evidence", "reason", "weight", "seconds left", title="evidence")
    for each in verdict["evidence"]:
        weight = f"{each['weight']:+.2f}" + (" (shadow)" if each["shadow"] else "")
        case.add_row(escape(each["kind"]), escape(each["reason"]), weight, str(each["seconds_left"]))
    return Group(f"{who} is {standing}{instead}: {sums}", case)


def _cold(network: dict[str, Any]) -> str:
    """Return what is cold of what a network asked for, in a line."""
    cold = network["cold"]
    return (
        f"{network['network']} lately asked for {cold['asked']:.0f} certificates, {cold['cold']:.0f} of them cold: "
        f"{cold['proven_share']:.0%} proven, {cold['usual_share']:.0%} usual; score {cold['score']:.2f}"
    )


def location_line(location: dict[str, Any]) -> str:
    """Return where an address is, in a line: `Oxford, GB, within 100 km of 51.75, -1.25; AS786 Jisc; education`."""
    place = ", ".join(filter(None, (location["city"], location["country"])))
    if location["radius_km"] is not None:
        circle = f"within {location['radius_km']:.0f} km of {location['latitude']:.2f}, {location['longitude']:.2f}"
        place = f"{place}, {circle}" if place else circle
    number = f"AS{location['asn']}" if location["asn"] else ""
    holder = " ".join(filter(None, (number, location["holder"])))
    kind = location["kind"] if location["kind"] != "unknown" else ""
    return "; ".join(filter(None, (place, holder, kind))) or "nobody knows where it is"


def _account(answer: dict[str, Any]) -> str:
    """Return what is held against a client, in lines."""
    ban = answer["ban"]
    lines = [f"points: {answer['points']:g} of {answer['points_for_a_ban']}; rung of the ladder: {answer['rung']}"]
    if ban:
        why = f" ({ban['reason']})" if ban["reason"] else ""
        lines.insert(0, f"BANNED until {ban['until']}: {ban['network']}, {_origin(ban)}{why}")
    lines += [f"offence: {each['time']} {each['kind']}" for each in answer["offences"]]
    if knocks := answer["turned_away"]:
        since = f"since {knocks['first']}, {knocks['held']} of them held in the tarpit"
        lines.append(f"turned away: {knocks['connections']} connections {since}; {knocks['last']}: {knocks['reason']}")
    return escape("\n".join(lines))


def _headline(answer: dict[str, Any]) -> str:
    notes = [
        note
        for note, holds in (
            ("no state: never seen, or long ago", not answer["known"]),
            ("in HKPGUARD_ALLOW: no limit applies", answer["allowed_network"]),
            ("peer", answer["peer"]),
            ("nobody may ban it", answer["never_banned"]),
            ("shared exit: bans are short", answer["shared_exit"]),
            (f"rule by origin: {answer['origin']['rule']}", answer["origin"]["rule"]),
        )
        if holds
    ]
    return " - ".join((answer["client"], *notes))


def top_view(answer: dict[str, Any]) -> RenderableType:
    """Return the tables for a node: of clients, networks or subjects, as the answer has it."""
    if "networks" in answer:
        busiest = [_totals(answer, "networks", OF_NETWORKS)]
    elif "subjects" in answer:
        busiest = [_totals(answer, "subjects", OF_SUBJECTS)]
    else:
        busiest = _clients(answer)
    upstreams = ", ".join(f"{each['upstream']} {'up' if each['up'] else 'DOWN'}" for each in answer["upstreams"])
    used = answer["table"]
    walking = [_walking(answer["walking"])] if answer["walking"] else []
    knocking = [_knocking(answer["turned_away"])] if answer["turned_away"] else []
    return Group(
        *busiest,
        *walking,
        *knocking,
        f"upstreams: {escape(upstreams)}; client table: {used['used']} of {used['capacity']}",
    )


def _clients(answer: dict[str, Any]) -> list[Table]:
    clients = table("client", "requests", "refused", title=f"busiest clients, last {answer['seconds']} s")
    for each in answer["clients"]:
        clients.add_row(each["client"], str(each["requests"]), str(each["refused"]))
    operations = table("operation", "action", "requests", title="operations")
    for each in answer["operations"]:
        operations.add_row(each["operation"], each["action"], str(each["requests"]))
    return [clients, operations]


def _totals(answer: dict[str, Any], kind: str, own: dict[str, str]) -> Table:
    """Return the table of networks or subjects: `own` columns with the names of their fields, and those of both.

    It fits into 80 characters: a hash in two lines is hard to read.
    """
    totals = table(*own, "not\nfound", "refused", "MB\nsent", title=f"busiest {kind}, last {answer['seconds']} s")
    for each in answer[kind]:
        shares = (f"{each[name]:.0%}" for name in ("not_found_share", "refused_share"))
        totals.add_row(*(str(each[field]) for field in own.values()), *shares, f"{each['sent_bytes'] / 1e6:.1f}")
    return totals


def _walking(networks: list[dict[str, Any]]) -> Table:
    walking = table("network", "score", "asked", "cold", title="these seem to walk through a dump")
    for each in networks:
        walking.add_row(each["network"], f"{each['score']:.2f}", f"{each['asked']:.0f}", f"{each['cold']:.0f}")
    return walking


def _knocking(clients: list[dict[str, Any]]) -> Table:
    knocking = table("client", "last reason", "connections", "held", "since", title="these were turned away")
    for each in clients:
        numbers = (str(each["connections"]), str(each["held"]))
        knocking.add_row(each["client"], each["reason"], *numbers, each["first"])
    return knocking


def bans_view(answer: dict[str, Any]) -> RenderableType:
    """Return the table of bans."""
    in_force = ", ".join(f"{count} {origin}" for origin, count in answer["in_force"].items())
    mode = "" if answer["mode"] == "enforce" else f" - mode is {answer['mode']}: nobody is refused"
    bans = table("network", "origin", "until", "seconds left", "rung", "reason", title=f"bans: {in_force}{mode}")
    for each in answer["bans"]:
        numbers = (str(each["seconds_left"]), str(each["rung"] or ""))
        bans.add_row(each["network"], escape(_origin(each)), each["until"], *numbers, escape(each["reason"]))
    return bans


def _origin(ban: dict[str, Any]) -> str:
    """Return where a ban comes from: of another node, which."""
    return f"{ban['origin']} ({ban['node']})" if ban["node"] else str(ban["origin"])


def plugins_view(answer: dict[str, Any]) -> RenderableType:
    """Return the table of plugins."""
    plugins = table("plugin", "state", "mode", "version", "evidence", "problem", title="plugins")
    for each in answer["plugins"]:
        evidence = str(each["counts"].get("evidence", 0))
        plugins.add_row(
            each["name"], each["state"], each["mode"], escape(each["version"]), evidence, escape(each["problem"])
        )
    return plugins


def plugin_view(answer: dict[str, Any]) -> RenderableType:
    """Return the table of a plugin's settings."""
    title = f"{answer['name']} {answer['version']} - {answer['state']}, {answer['mode']}"
    settings = table("setting", "value", "what it is", title=escape(title))
    texts = answer["schema"].get("properties", {})
    for name, value in answer["settings"].items():
        settings.add_row(escape(name), escape(value), escape(str(texts.get(name, {}).get("description", ""))))
    for name, text in texts.items():
        if name not in answer["settings"]:
            usual = escape(str(text.get("default", "")))
            settings.add_row(escape(name), usual, escape(str(text.get("description", ""))))
    return settings


def watch(ask: Callable[[], dict[str, Any]]) -> None:
    """Draw `top_view` again and again until interrupted."""
    with Live(top_view(ask()), screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(REFRESH_SECONDS)
                live.update(top_view(ask()), refresh=True)
        except KeyboardInterrupt:
            return


def table(*columns: str, title: str) -> Table:
    """Return an empty table with a heading for each column."""
    made = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number < WORD_COLUMNS else "right", overflow="fold")
    return made
