"""What no recording shows, and is known all the same: looks as they would be elsewhere, slips, and probes.

Elsewhere. How long somebody pauses depends on how far away and how busy he and the keyserver are, and recordings are of
one machine. So each look is there COPIES times, with all of its pauses up to eight times as long or short. And a
program speaks the HTTP of its library, which says nothing of what it is for: gpg 1.4 refreshes in 1.1 as fast as any
scraper. So in the copies the version is drawn by chance.

Slips. Honest programs that were recorded ask for nothing that no keyserver has, and break nothing off. Others do, now
and then: a browser asks for an icon, a line is bad. So in two copies of each honest look up to one request of seven is
of that kind.

Probes. Who scans, vandalises or injects may do whatever else he likes, and look as honest with it as anybody. So two
copies of each honest look, in which three requests of ten or more are of that kind, are looks at abusers. They are
PROBING of all that is known of abusers. Without them each tool that scans would be learnt by heart, by its pauses.

Uploads. Of honest programs that upload a dozen certificates one is for training, and if it is left out it is taken for
a flood: what it sends, and how, is what floods send. So each look at somebody who mostly uploads, and does nothing bad,
is there as one at an honest client as well. Then uploads say nothing for themselves; they have budgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.features import FEATURES, NAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Figures = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Places = NDArray[np.intp]

SEED: Final = 5
COPIES: Final = 7  # the first one is as it was
FARTHER: Final = 3.0  # octaves
SLIPPING, PROVOKED = (1, 2), (3, 4)  # copies of honest looks
SLIP: Final = 0.15  # of requests, at most
PROBE: Final = 0.3  # of requests, at least
PROBING: Final = 0.3
UPLOADING: Final = 0.5  # of requests
ODD_BYTES: Final = 0.16  # of a text that is an injection
BAD: Final = ("unknown_share", "malformed_share", "unfinished_share", "odd_method_share", "odd_text_share")
KINDS: Final = (
    "identity_share", "words_share", "upload_share", "page_share", "rare_share", "domain_share", *BAD[:-1]
)  # fmt: skip
"""Shares of requests, of which there are fewer when others come in between."""


class Examples(NamedTuple):
    """What trees are grown of, shape (n,) each, or (n, k)."""

    features: Figures
    abusive: Flags
    weight: Figures


def imagined(features: NDArray[np.float32], abusive: Flags, weight: Figures) -> Examples:
    """Return looks as they are, and as they might be; honest and abusive ones weigh what they did."""
    dice = np.random.default_rng(SEED)
    copies = _elsewhere(features, dice)
    number = np.repeat(np.arange(COPIES), len(features))
    abusive, weight = np.tile(abusive, COPIES), np.tile(weight / COPIES, COPIES)
    probes = copies[~abusive & np.isin(number, PROVOKED)]
    _mix_in(probes, dice.uniform(PROBE, 1.0, len(probes)), dice)
    slipping = ~abusive & np.isin(number, SLIPPING)
    slips = copies[slipping]
    _mix_in(slips, dice.uniform(0.0, SLIP, len(slips)), dice)
    copies[slipping] = slips
    of_probes = weight[~abusive & np.isin(number, PROVOKED)]
    if abusive.any() and len(probes):
        of_probes *= PROBING * weight[abusive].sum() / of_probes.sum()
        weight[abusive] *= 1 - PROBING
    floods = abusive & _uploads(copies)
    return Examples(
        np.concatenate([copies, probes, copies[floods]]),
        np.concatenate([abusive, np.ones(len(probes), np.bool_), np.zeros(floods.sum(), np.bool_)]),
        np.concatenate([weight, of_probes, weight[floods]]),
    )


def _uploads(looks: Figures) -> Flags:
    """Tell who mostly uploads, and does nothing bad with it."""
    share = looks[:, NAMES.index("upload_share")] - looks[:, [NAMES.index(name) for name in BAD]].sum(axis=1)
    found: Flags = share >= UPLOADING
    return found


def _elsewhere(features: NDArray[np.float32], dice: np.random.Generator) -> Figures:
    """Return features COPIES times, one after the other; all but the first as they could be elsewhere."""
    copies = np.tile(features.astype(np.float64), (COPIES, 1))
    others = slice(len(features), None)
    shift = dice.uniform(-FARTHER, FARTHER, len(copies[others]))
    for name in ("pause", "least_pause"):
        place = NAMES.index(name)
        ends = FEATURES[place].lowest, FEATURES[place].highest
        copies[others, place] = np.clip(copies[others, place] + shift, *ends)
    copies[others, NAMES.index("http_1_0_share")] = dice.integers(0, 2, len(shift))
    return copies


def _mix_in(looks: Figures, share: Figures, dice: np.random.Generator) -> None:
    """Make such a share of the requests of each look bad, in one way or another; changes `looks`."""
    way = dice.integers(0, len(BAD), len(looks))
    searching = looks[:, [NAMES.index("identity_share"), NAMES.index("words_share")]].sum(axis=1) >= PROBE
    way[(way == len(BAD) - 1) & ~searching] = 0  # who searches for nothing injects nothing
    texts = way == len(BAD) - 1
    kinds = [NAMES.index(name) for name in KINDS]
    looks[np.ix_(~texts, kinds)] *= 1 - share[~texts, None]
    for number, name in enumerate(BAD[:-1]):
        looks[way == number, NAMES.index(name)] += share[way == number]
    odd = NAMES.index(BAD[-1])
    looks[texts, odd] = np.maximum(looks[texts, odd], ODD_BYTES * share[texts])
