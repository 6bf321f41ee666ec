"""The process that composes origins: an order in, a set of prefixes out. `python -m proxy.intel.compose FD`.

    stdin: an Order, JSON -> databases, lists, rules -> Layers -> ranges -> FD: a set as `fastpath.prefixes` reads it
                                                                        -> stdout: an Outcome, JSON

It takes seconds of one core and hundreds of MB, which the analyst must not: so it is a process of its own, nicer than
the others, and the kernel ends it if it takes too much.
"""

from __future__ import annotations

import json
import resource
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fastpath.origin import LISTED_DENIED, MOST_ASN, NetworkKind
from fastpath.prefix_build import Rows, assembled
from geo.database import BadDatabase, Database
from geo.network_kind import kind_of
from geo.place import NOBODY, Holder
from proxy.intel.columns import BadFile
from proxy.intel.combined import Combined
from proxy.intel.layers import Layers, Rule, overlaid
from proxy.plugins.child import bound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from geo.database import Networks
    from geo.record import Found

MOST_MEMORY: Final = 3 << 30  # beyond what it has when it begins
MOST_CPU_SECONDS: Final = 180


class RuleOrder(NamedTuple):
    """Where one rule of the operator holds, as texts and numbers; what is empty is not named."""

    countries: Sequence[str]
    asns: Sequence[int]
    kinds: Sequence[int]
    networks: Sequence[str]


class Order(NamedTuple):
    """What is to be composed.

    Attributes:
        databases: Paths of mmdb files; of holders and countries the first that knows counts.
        combined: Path of what follows from all feeds; empty: there is nothing.
        rules: Of the operator, in their order.

    """

    databases: Sequence[str] = ()
    combined: str = ""
    rules: Sequence[RuleOrder] = ()

    @classmethod
    def of_json(cls, text: str) -> Order:
        """Read what `json.dumps` made of an order."""
        databases, combined, rules = json.loads(text)
        return cls(databases, combined, [RuleOrder(*rule) for rule in rules])


class Outcome(NamedTuple):
    """What came of an order."""

    ranges: int  # of which something is known
    problems: Sequence[str]  # what could not be read, and so is missing


def compose(order: Order) -> tuple[memoryview, Outcome]:
    """Return the set that an order asks for; what cannot be read is left out, and told."""
    named = sorted({country for rule in order.rules for country in rule.countries})
    problems: list[str] = []
    layers: dict[str, list[Rows]] = {"asns": [], "countries": [], "kinds": [], "guesses": [], "listed": []}
    for path in order.databases:
        _read(problems, lambda path=path: _add_database(layers, Path(path), named))  # type: ignore[misc]
    if order.combined:
        _read(problems, lambda: _add_lists(layers, Path(order.combined)))
    rules = [_rule(rule, named) for rule in order.rules]
    ranges = overlaid(Layers(**layers, rules=rules))
    known = int(sum(np.count_nonzero(family["value"]) for family in ranges))
    return assembled(ranges, known), Outcome(known, problems)


def _read(problems: list[str], read: Callable[[], None]) -> None:
    try:
        read()
    except (BadDatabase, BadFile, OSError, ValueError) as error:
        problems.append(str(error))


def _add_database(layers: dict[str, list[Rows]], path: Path, named: Sequence[str]) -> None:
    networks = Database(path).ranges()
    numbers = {country: number for number, country in enumerate(named, 1)}

    def add(layer: str, value: Callable[[Found], int]) -> None:
        rows = _rows(networks, np.array([value(found) for found in networks.found], np.uint32))
        if len(rows.networks):
            layers[layer].append(rows)

    add("asns", _asn)
    add("kinds", _told)
    add("guesses", _guessed)
    if numbers:
        add("countries", lambda found: numbers.get(found.place.country, 0) if found.place else 0)


def _rows(networks: Networks, values: NDArray[np.uint32]) -> Rows:
    """Return the networks of which something is said: in a database nothing is nested, so the others are no holes."""
    of_all = values[networks.which]
    said = of_all != 0
    return Rows(networks.networks[said], networks.lengths[said], of_all[said])


def _asn(found: Found) -> int:
    asn = (found.holder or NOBODY).asn
    return asn if asn <= MOST_ASN else 0


def _told(found: Found) -> int:
    """Return the kind that the database says, or that goes with the number of the holder."""
    return kind_of(Holder((found.holder or NOBODY).asn, ""), (found.kind,))


def _guessed(found: Found) -> int:
    return kind_of(Holder(0, (found.holder or NOBODY).name), ())


def _add_lists(layers: dict[str, list[Rows]], path: Path) -> None:
    verdicts = Combined(path).verdicts
    for layer, values in (("kinds", verdicts.kinds), ("listed", verdicts.rules)):
        if values.max(initial=0) > (max(NetworkKind) if layer == "kinds" else LISTED_DENIED):
            raise BadFile("its numbers are not ours")
        layers[layer].append(Rows(verdicts.networks, verdicts.lengths, values.astype(np.uint32)))


def _rule(rule: RuleOrder, named: Sequence[str]) -> Rule:
    return Rule(
        countries=tuple(named.index(country) + 1 for country in rule.countries),
        asns=tuple(rule.asns),
        kinds=tuple(NetworkKind(kind) for kind in rule.kinds),
        networks=_networks(rule.networks) if rule.networks else None,
    )


def _networks(texts: Iterable[str]) -> Rows:
    networks = [ip_network(text) for text in texts]
    return Rows.of((network.network_address.packed, network.prefixlen, 1) for network in networks)


def main(arguments: Sequence[str], given: str) -> Outcome:
    """Do what is ordered, within bounds."""
    bound(MOST_MEMORY)
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_SECONDS, MOST_CPU_SECONDS))
    built, outcome = compose(Order.of_json(given))
    with open(int(arguments[0]), "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(built)
    return outcome


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:], sys.stdin.read())))
