"""What follows from all feeds together: for each network that somebody lists, a rule, a kind and a weight. Pure.

    snapshots -> every prefix, with what is said of it and of the networks around it -> rule, kind, weight

Lists overlap: one names an address, another its /24, a third says that an address in it must not be blocked. A look-up
finds the longest prefix and no other, so each prefix is given all that holds of the prefixes around it.

**Voices.** A feed says of an address how bad it is: the severity times the weight of the feed, in per cent. Feeds of
one group copy from each other and are one voice: the loudest of them. Lists of networks that are no accusation (Tor,
VPNs, clouds) give a kind, and no voice.

**Rules.** DENIED: one voice reaches `deny`, or `deny_feeds` voices reach `price` each. PRICED: one voice reaches
`price`. Whatever is said, there is no rule

- for what must not be blocked: the networks of HKPGUARD_ALLOW, of peers, of trusted proxies, and what a list of kind
  `warning` holds. Nothing is said of them at all. (Addresses that are not public no parser lets through.)
- where many people are behind an address: Tor exits, carriers' NAT, shared exits. That one of them was bad is no news,
  and the rule would hit all.

**Weights.** What is no rule may be evidence: log-odds of `LOUDEST` times the chance that one of the voices is right,
were they right as often as they are loud.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from fastpath.origin import LISTED_DENIED, LISTED_PRICED, NetworkKind
from proxy.intel.listing import HOST_MASKS, ListingKind, Prefixes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from proxy.intel.listing import Listings
    from proxy.settings.intel import IntelConfig

LOUDEST: Final = 6.0  # log-odds, below fusion.MOST_WEIGHT
ACCUSING: Final = frozenset({ListingKind.ABUSE, ListingKind.SCANNER})
# The later ones win: an exit in a data centre is an exit.
KINDS: Final = {
    ListingKind.CLOUD: NetworkKind.HOSTING,
    ListingKind.HOSTING: NetworkKind.HOSTING,
    ListingKind.MOBILE: NetworkKind.MOBILE,
    ListingKind.VPN: NetworkKind.VPN,
    ListingKind.TOR: NetworkKind.TOR,
}
SHARED: Final = (ListingKind.TOR, ListingKind.MOBILE)  # many people behind an address


class Voice(NamedTuple):
    """A feed, as it is heard here."""

    name: str
    kind: ListingKind
    weight: float  # 1.0: its severities are taken as they are
    group: str
    listings: Listings


class Spared(NamedTuple):
    """Networks about which lists have less to say, or nothing."""

    never: Prefixes  # allowed, peers, trusted proxies
    shared: Prefixes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdicts:
    """Prefixes with what follows for them, as columns; those of which nothing is said are left out."""

    networks: NDArray[np.uint8]  # (n, 16), network order, IPv4 mapped, sorted
    lengths: NDArray[np.uint8]  # (n,)
    rules: NDArray[np.uint8]  # LISTED_DENIED, LISTED_PRICED or 0
    kinds: NDArray[np.uint8]  # NetworkKind
    weights: NDArray[np.float32]  # log-odds, 0: it is no evidence
    feeds: NDArray[np.uint32]  # bit i: voice i lists it, or a network around it


def combine(voices: Sequence[Voice], spared: Spared, bounds: IntelConfig, now_s: float) -> Verdicts:
    """Return what follows from all that is listed at this time.

    Args:
        voices: Up to 32.
        spared: Of the configuration.
        bounds: Of severity.
        now_s: Listings that have ended are left out.

    """
    heard = [each._replace(listings=_current(each.listings, now_s)) for each in voices]
    parts = [*(each.listings.prefixes for each in heard), *spared]
    networks, lengths, rows = _distinct(parts)
    groups = sorted({each.group for each in heard if each.kind in ACCUSING})
    said = _Said(len(lengths), max(1, len(groups)))
    for number, (voice, own) in enumerate(zip(heard, rows, strict=False)):
        said.feeds[own] |= np.uint32(1 << number)
        if voice.kind in ACCUSING:
            loud = np.rint(100 * np.minimum(voice.listings.severities * voice.weight, 1.0)).astype(np.uint8)
            column = said.voices[:, groups.index(voice.group)]
            column[own] = np.maximum(column[own], loud)
    said.never[rows[-2]] = True
    said.shared[rows[-1]] = True
    _hand_down(networks, lengths, said)
    return _judged(networks, lengths, said, [each.kind for each in heard], bounds)


class _Said:
    """What is said of each prefix."""

    def __init__(self, count: int, groups: int) -> None:
        self.feeds = np.zeros(count, np.uint32)
        self.voices = np.zeros((count, groups), np.uint8)  # per cent
        self.never = np.zeros(count, bool)
        self.shared = np.zeros(count, bool)

    def hand_down(self, above: int, first: int, last: int) -> None:
        """Let rows from `first` to `last`, which is not among them, have what one above them has."""
        self.feeds[first:last] |= self.feeds[above]
        np.maximum(self.voices[first:last], self.voices[above], out=self.voices[first:last])
        self.never[first:last] |= self.never[above]
        self.shared[first:last] |= self.shared[above]


def _current(listings: Listings, now_s: float) -> Listings:
    return listings.chosen(listings.until_s > now_s)


def _distinct(parts: Sequence[Prefixes]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[NDArray[np.intp]]]:
    """Return each prefix once, sorted, a network before those in it; and where those of each part are."""
    networks = np.concatenate([part.networks for part in parts])
    lengths = np.concatenate([part.lengths for part in parts])
    words = np.ascontiguousarray(networks).view(">u8").astype(np.uint64).reshape(-1, 2)
    order = np.lexsort((lengths, words[:, 1], words[:, 0]))
    words, sorted_lengths = words[order], lengths[order]
    new = np.ones(len(order), bool)
    new[1:] = (words[1:] != words[:-1]).any(axis=1) | (sorted_lengths[1:] != sorted_lengths[:-1])
    row_of = np.empty(len(order), np.intp)
    row_of[order] = np.cumsum(new) - 1
    ends = np.cumsum([len(part.lengths) for part in parts])[:-1]
    kept = order[new]
    return networks[kept], lengths[kept], np.split(row_of, ends)


def _hand_down(networks: NDArray[np.uint8], lengths: NDArray[np.uint8], said: _Said) -> None:
    """Let each prefix have what holds of the networks around it. No network of IPv6 is around one of IPv4."""
    for above, first, last in _nests(networks, lengths):
        said.hand_down(above, first, last)


def _nests(networks: NDArray[np.uint8], lengths: NDArray[np.uint8]) -> Iterator[tuple[int, int, int]]:
    """Yield each row that others are in, and where these begin and end; the wider networks first.

    Those in a network follow it in the order of prefixes, so most rows are done with by a look at the next one.
    """
    if not len(lengths):
        return
    ends = networks | HOST_MASKS[lengths]
    starts, last = _texts(networks), _texts(ends)
    around = np.flatnonzero(starts[1:] <= last[:-1])
    four = Prefixes(networks, lengths).four
    stops = np.searchsorted(starts, last[around], side="right")
    first4, last4 = (int(np.flatnonzero(four)[each]) for each in (0, -1)) if four.any() else (0, -1)
    for above, stop in zip(around.tolist(), stops.tolist(), strict=True):
        if four[above] or not above < first4 <= last4 < stop:
            yield above, above + 1, stop
        else:
            yield above, above + 1, first4
            yield above, last4 + 1, stop


def _texts(addresses: NDArray[np.uint8]) -> NDArray[Any]:
    """Return addresses as bytes that compare as they do; NumPy cuts zeros at the end, which come first anyway."""
    return np.ascontiguousarray(addresses).view("S16").reshape(-1)


def _judged(
    networks: NDArray[np.uint8],
    lengths: NDArray[np.uint8],
    said: _Said,
    kinds: Sequence[ListingKind],
    bounds: IntelConfig,
) -> Verdicts:
    def listed(*wanted: ListingKind) -> NDArray[np.bool_]:
        bits = sum(1 << number for number, kind in enumerate(kinds) if kind in wanted)
        mask: NDArray[np.bool_] = said.feeds & np.uint32(bits) != 0
        return mask

    loudest = said.voices.max(axis=1, initial=0)
    agreeing = (said.voices >= max(1, bounds.price)).sum(axis=1)
    spared = said.never | listed(ListingKind.WARNING) | said.shared | listed(*SHARED)
    accused = (loudest > 0) & ~spared
    rules = np.zeros(len(lengths), np.uint8)
    if bounds.mode != "off":  # of shadow mode workers know, and tell what would have been
        rules[accused & (loudest >= bounds.price)] = LISTED_PRICED
        rules[accused & ((loudest >= bounds.deny) | (agreeing >= bounds.deny_feeds))] = LISTED_DENIED
    network_kinds = np.zeros(len(lengths), np.uint8)
    for kind, network_kind in KINDS.items():
        network_kinds[listed(kind)] = network_kind
    wrong = (1 - said.voices.astype(np.float32) / 100).prod(axis=1)
    weights = np.where(accused, LOUDEST * (1 - wrong), 0.0).astype(np.float32)
    kept = said.feeds != 0
    return Verdicts(
        networks=networks[kept],
        lengths=lengths[kept],
        rules=rules[kept],
        kinds=network_kinds[kept],
        weights=weights[kept],
        feeds=said.feeds[kept],
    )
