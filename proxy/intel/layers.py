"""Layers of knowledge about addresses, laid one over the other to one list of ranges: pure, and all in arrays.

    layer    prefixes with values, of one source: holders, countries, kinds of networks, lists, networks of a rule
    range    from which address on another value holds; each layer becomes a list of them, in which nothing is nested
    sweep    the addresses at which any layer changes, in order; of each layer, the value that holds there

The sweep sorts the beginnings of all ranges together. How many ranges of a layer have begun up to an address is then
a running count, and the last of them is the one that holds: no layer is searched. IPv6 addresses are two words, which
are sorted like one.

What the layers say of a place becomes its origin (`fastpath.origin`): of several holders and countries the first that
is known, of kinds the strongest (`geo.network_kind.ORDER`), and one guessed by a name only where there is no other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpath.origin import KIND_SHIFT, LISTED_DENIED, RULE_SHIFT
from fastpath.prefix_build import RANGE, Ranges, Rows, flattened
from geo.network_kind import ORDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastpath.origin import NetworkKind

Values = NDArray[np.uint64]
Begun = NDArray[np.void]  # ranges of one family, of RANGE

_RANKS: Final = np.array([ORDER.index(kind) for kind in sorted(ORDER)], np.uint8)  # by kind; 0 is the strongest
_BY_RANK: Final = np.array(ORDER, np.uint64)


class Rule(NamedTuple):
    """Where a rule holds: in all of what is named, in one of each; what is empty is not named."""

    countries: tuple[int, ...] = ()  # values of the layers of countries
    asns: tuple[int, ...] = ()
    kinds: tuple[NetworkKind, ...] = ()
    networks: Rows | None = None  # with any value but 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """What is known, by what it is of. Of equal prefixes in a layer the last counts, of nested ones the longest."""

    asns: Sequence[Rows] = ()
    countries: Sequence[Rows] = ()
    kinds: Sequence[Rows] = ()
    guesses: Sequence[Rows] = ()  # kinds
    listed: Sequence[Rows] = ()  # rules of lists; the greatest counts
    rules: Sequence[Rule] = field(default=())  # of the operator: the first that fits counts, and has number 1


def overlaid(layers: Layers) -> Ranges:
    """Return the ranges of what the layers say together, with origins as values.

    An address that is said to be denied by lists is, whatever rule fits it; one that is priced only if none does.

    Raises:
        ValueError: The arrays of a layer do not fit.

    """
    groups: Mapping[str, Sequence[Rows]] = {
        "asns": layers.asns,
        "countries": layers.countries,
        "kinds": layers.kinds,
        "guesses": layers.guesses,
        "listed": layers.listed,
        "networks": [rule.networks for rule in layers.rules if rule.networks is not None],
    }
    ranges = {name: [flattened(rows) for rows in group] for name, group in groups.items()}
    return Ranges(
        *(
            _family({name: [each[family] for each in group] for name, group in ranges.items()}, layers.rules)
            for family in range(len(Ranges._fields))
        )
    )


def _family(groups: Mapping[str, Sequence[Begun]], rules: Sequence[Rule]) -> Begun:
    everything = [ranges for group in groups.values() for ranges in group]
    swept = sweep(everything)
    values = iter(swept.values)
    said = {name: [next(values) for _ in group] for name, group in groups.items()}
    asn, country = _first_known(said["asns"], swept), _first_known(said["countries"], swept)
    guess = _first_known(said["guesses"], swept)
    kind = _strongest(said["kinds"], swept)
    kind = np.where(kind == 0, guess, kind)
    rule = _first_that_fits(rules, asn, country, kind, said["networks"])
    listed = np.maximum.reduce([swept.nothing(), *said["listed"]])
    rule = np.where((listed == LISTED_DENIED) | (rule == 0), listed, rule)
    return _joined(swept, rule << np.uint64(RULE_SHIFT) | kind << np.uint64(KIND_SHIFT) | asn)


class Sweep(NamedTuple):
    """Where anything changes, and what holds from there on; the first address is 0."""

    high: Values
    low: Values
    values: list[Values]  # of each layer

    def nothing(self) -> Values:
        """Return a value for each address that says nothing."""
        return np.zeros(len(self.high), np.uint64)


def sweep(layers: Sequence[Begun]) -> Sweep:
    """Return the addresses at which any of the layers changes; each layer begins at address 0."""
    origin = np.zeros(1, RANGE)
    high, low = (np.concatenate([origin[word], *(layer[word] for layer in layers)]) for word in ("high", "low"))
    number = np.repeat(np.arange(len(layers) + 1), [1, *map(len, layers)])
    order = np.lexsort((low, high))
    high, low, number = high[order], low[order], number[order]
    last = np.append((high[1:] != high[:-1]) | (low[1:] != low[:-1]), [True])  # of those at one address
    values = [layer["value"][np.cumsum(number == i)[last] - 1] for i, layer in enumerate(layers, 1)]
    return Sweep(high[last], low[last], values)


def _first_known(said: Sequence[Values], swept: Sweep) -> Values:
    known = swept.nothing()
    for values in said:
        known = np.where(known == 0, values, known)
    return known


def _strongest(said: Sequence[Values], swept: Sweep) -> Values:
    ranks = [_RANKS[values] for values in (swept.nothing(), *said)]
    strongest: Values = _BY_RANK[np.minimum.reduce(ranks)]
    return strongest


def _first_that_fits(
    rules: Sequence[Rule], asn: Values, country: Values, kind: Values, networks: Sequence[Values]
) -> Values:
    """Return the number of the first rule that fits, 0 where none does."""
    number, inside = np.zeros_like(asn), iter(networks)
    for i, rule in enumerate(rules, 1):
        fits = number == 0
        for values, named in ((country, rule.countries), (asn, rule.asns), (kind, rule.kinds)):
            if named:
                fits &= np.isin(values, np.array(named, np.uint64))
        if rule.networks is not None:
            fits &= next(inside) != 0
        number[fits] = i
    return number


def _joined(swept: Sweep, values: Values) -> Begun:
    """Return the ranges at which the value changes."""
    changes = np.append([True], values[1:] != values[:-1])
    ranges = np.empty(int(changes.sum()), RANGE)
    ranges["high"], ranges["low"], ranges["value"] = swept.high[changes], swept.low[changes], values[changes]
    return ranges
