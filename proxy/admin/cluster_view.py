"""What `hkpguard cluster`, `hkpguard policy` and `hkpguard models push` draw on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape

from proxy.admin.view import table

if TYPE_CHECKING:
    from rich.table import Table

SHOWN_DIGITS: Final = 12  # of a hash


def cluster_view(answer: dict[str, Any]) -> RenderableType:
    """Return the table of nodes, and what holds for all of them."""
    columns = ("node", "state", "version", "beat s ago", "workers", "policy", "models")
    nodes = table(*columns, title=f"nodes of the cluster: {answer['nodes']} count")
    for each in [answer["self"], *answer["others"]]:
        words = (escape(each["node"]), each["state"], escape(each["version"]))
        nodes.add_row(*words, *(str(each[column]) for column in ("beat_seconds", "workers", "policy", "models")))
    store = answer["store"]
    reach = f"the store has been {'in' if store['up'] else 'out of'} reach for {store['seconds']} s"
    lines = [f"{reach}: {store['reason']}" if store["reason"] else reach]
    lines += [f"without it each node gives 1/{answer['nodes']} of each limit"]
    lines += [f"{name}: {value}" for name, value in answer["figures"].items()]
    lines += [f"PROBLEM: {answer['problem']}"] if answer["problem"] else []
    return Group(nodes, escape("\n".join(lines)))


def release_view(what: str, answer: dict[str, Any]) -> RenderableType:
    """Return what is in force, and where."""
    active = answer["active"]
    nodes: Table = table("node", "generation", "content", title=f"{what} of the cluster")
    for node, held in answer["nodes"].items():
        nodes.add_row(escape(node), str(held["generation"]), held["content"][:SHOWN_DIGITS] or "none")
    if active is None:
        line = f"No {what} was ever released: each node has its own."
    else:
        content = active["content"][:SHOWN_DIGITS] or "none, each node has its own"
        line = f"generation {active['generation']}: {content}; through {active['by']}"
        line += f"; rolled back because of {active['rolled_back_because']}" if active["rolled_back_because"] else ""
    problem = f"\nPROBLEM: {answer['problem']}" if answer["problem"] else ""
    return Group(nodes, escape(line + problem))


def made_view(answer: dict[str, Any]) -> RenderableType:
    """Return what became of a push."""
    count = len(answer["ballots"])
    lines = [f"Generation {answer['generation']} is in force on {count} node{'s' if count != 1 else ''}."]
    lines += [
        f"{each['node']}: its own environment wins in {', '.join(each['overridden'])}"
        for each in answer["ballots"]
        if each["overridden"]
    ]
    return escape("\n".join(lines))
