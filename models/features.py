"""The features of a window: the one definition, for training, for the live scorer and for replay.

Each is one row of FEATURES and one line of `compute`. All are shares, or steps of a logarithm, so none depends on how
large or how fast a site is, nor on how long a client was watched. How much a client asked for is left out on purpose:
a refresh of 3,000 keys is no worse than one of 30, and limits and budgets count already. What is undefined, as the
share of misses of who searched for nothing, has the value of who does nothing unusual.

The last four are not of what a client does (BEHAVIOUR), but of what kind its network is (NETWORK). No window tells
that: who can look it up writes it beside the others (`of_networks`).

Whoever changes a feature, its order or its meaning raises VERSION: a model made for another version is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from fastpath.origin import NetworkKind
from models.marks import OCTAVE, SLOWEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Figures = NDArray[np.float64]
    Columns = NDArray[np.void]

VERSION: Final = 2
RANDOM_STEP: Final = 62.0  # octaves from one number of 64 bits to another, in the mean


class Feature(NamedTuple):
    """One feature; `lowest` and `highest` are the ends of its range."""

    name: str
    unit: str
    lowest: float
    highest: float
    text: str


def _share(name: str, text: str) -> Feature:
    return Feature(name, "share", 0.0, 1.0, text)


def _network(kind: NetworkKind, text: str) -> Feature:
    return Feature(kind.name.lower(), "yes or no", 0.0, 1.0, text)


_OF_BEHAVIOUR: Final = (
    _share("identity_share", "requests that search for an address"),
    _share("words_share", "requests that search for words"),
    _share("upload_share", "requests that upload"),
    _share("page_share", "requests for pages, statistics and health"),
    _share("rare_share", "requests of peers, for lists of changes, for mails, and signed ones"),
    _share("unknown_share", "requests for what no keyserver has"),
    _share("malformed_share", "requests that are no HTTP, too large, or have a body that may not be"),
    _share("unfinished_share", "requests that came too slowly, or whose answer was not waited for"),
    _share("odd_method_share", "requests that are neither GET nor POST"),
    _share("http_1_0_share", "requests in HTTP/1.0"),
    _share("distinct_share", "different subjects, of all that was looked up"),
    _share("missed_share", "not found, of the searches for addresses, words and key ids that were answered"),
    _share("domain_share", "searches for a whole domain (`example.org`, `@example.org`), of all requests"),
    _share("same_domain_share", "addresses in the domain of the one before, of all addresses"),
    _share("odd_text_share", "bytes that names and addresses do not have, of addresses and words"),
    _share("key_id_share", "certificates asked for by key id and not by fingerprint, of all certificates"),
    _share("order", "how well fingerprints, addresses or words are sorted, up or down: 0 not, 1 wholly"),
    Feature("nearness", "octaves", 0.0, RANDOM_STEP, "how much nearer ids are to the one before than by chance, mean"),
    Feature("pause", "octaves of 1 us", 0.0, SLOWEST / OCTAVE, "from the end of a request to the next, mean"),
    Feature("pause_spread", "octaves", 0.0, SLOWEST / OCTAVE / 2, "the same, standard deviation"),
    Feature("least_pause", "octaves of 1 us", 0.0, SLOWEST / OCTAVE, "the same, the shortest one"),
    _share("overlap_share", "requests that began before the one before had ended"),
    _share("burst_share", "the most requests without a rest of a second, of all"),
    Feature("upload_size", "octaves of 1 byte", 0.0, 32.0, "of an upload, mean"),
    Feature("upload_spread", "octaves", 0.0, 16.0, "the same, standard deviation"),
)
NETWORKS: Final = {
    NetworkKind.HOSTING: "in a network of servers for rent",
    NetworkKind.VPN: "in one of a VPN or public proxy",
    NetworkKind.MOBILE: "in one of a mobile carrier",
    NetworkKind.RESIDENTIAL: "in one of homes",
}
FEATURES: Final = (*_OF_BEHAVIOUR, *(_network(kind, text) for kind, text in NETWORKS.items()))
_OF_REQUESTS: Final = {
    "identity_share": "identities",
    "words_share": "words",
    "upload_share": "uploads",
    "page_share": "pages",
    "rare_share": "rare",
    "unknown_share": "unknown",
    "malformed_share": "malformed",
    "unfinished_share": "unfinished",
    "odd_method_share": "odd_methods",
    "http_1_0_share": "http_1_0",
    "domain_share": "domains",
    "overlap_share": "overlaps",
    "burst_share": "burst",
}
"""Of what the features that are shares of all requests are."""
BEHAVIOUR: Final = slice(0, len(_OF_BEHAVIOUR))
NETWORK: Final = slice(len(_OF_BEHAVIOUR), len(FEATURES))
NAMES: Final = tuple(feature.name for feature in FEATURES)
_LOWEST: Final = np.array([feature.lowest for feature in FEATURES], np.float32)
_HIGHEST: Final = np.array([feature.highest for feature in FEATURES], np.float32)


def compute(columns: Columns) -> NDArray[np.float32]:
    """Return the features of windows.

    Args:
        columns: windows.WINDOW, shape (n,).

    Returns:
        In the order of FEATURES, within their ranges, shape (n, len(FEATURES)). Networks are of no kind that is known.

    """
    features = np.zeros((len(columns), len(FEATURES)), np.float32)
    figures = _figures(columns)
    for place, feature in enumerate(_OF_BEHAVIOUR):
        features[:, place] = figures[feature.name]
    np.maximum(features, _LOWEST, out=features)
    np.minimum(features, _HIGHEST, out=features)
    return features


def of_networks(kinds: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the NETWORK features of clients in networks of these kinds (NetworkKind), shape (n, len(NETWORKS))."""
    found: NDArray[np.float32] = (kinds[:, None] == np.array([*NETWORKS])).astype(np.float32)
    return found


def _figures(columns: Columns) -> dict[str, Figures]:
    """Return each feature of behaviour by its name, some of them a little out of their range."""
    certs, identities, words = columns["certs"], columns["identities"], columns["words"]
    sorted_steps = columns["rises"] + columns["falls"]
    pauses, uploads = columns["pauses"], columns["uploads"]
    step = _mean(columns["step_octaves"], columns["steps"], RANDOM_STEP * OCTAVE) / OCTAVE
    of_requests = np.array([columns[name] for name in _OF_REQUESTS.values()])
    return {
        **dict(zip(_OF_REQUESTS, _mean(of_requests, columns["requests"]), strict=True)),
        "distinct_share": _mean(different(columns["members"]), certs + identities + words, 1.0),
        "missed_share": _mean(columns["missed"], columns["searches"]),
        "same_domain_share": _mean(columns["same_domain"], identities),
        "odd_text_share": _mean(columns["odd_bytes"], columns["text_bytes"]),
        "key_id_share": _mean(columns["key_ids"], certs),
        "order": _mean(np.abs(columns["rises"] - columns["falls"]), sorted_steps),
        "nearness": RANDOM_STEP - step,
        "pause": _mean(columns["pause_octaves"], pauses) / OCTAVE,
        "pause_spread": _deviation(columns["pause_octaves"], columns["pause_squares"], pauses),
        "least_pause": (SLOWEST - columns["haste"]) / OCTAVE,
        "upload_size": _mean(columns["upload_octaves"], uploads) / OCTAVE,
        "upload_spread": _deviation(columns["upload_octaves"], columns["upload_squares"], uploads),
    }


def different(members: NDArray[np.uint32]) -> Figures:
    """Estimate how many different members have set these bits: linear counting (Whang et al., 1990).

    Of 256 bits the standard error is 5 % for 240 different members, and 6 % for 480, the most there can be in a window.

    Args:
        members: Shape (n, words).

    """
    bits = members.shape[1] * 32
    empty = bits - np.bitwise_count(members).sum(axis=1, dtype=np.int64)
    found: Figures = bits * np.log(bits / np.maximum(empty, 1))
    return found


def _mean(total: NDArray[Any], count: NDArray[Any], of_none: float = 0.0) -> Figures:
    """Return the mean, `of_none` where there is nothing."""
    return np.where(count > 0, total / np.maximum(count, 1), of_none)


def _deviation(total: NDArray[Any], squares: NDArray[Any], count: NDArray[Any]) -> Figures:
    """Return the standard deviation in octaves of what was added up in steps of it."""
    mean = _mean(total, count)
    found: Figures = np.sqrt(np.maximum(_mean(squares, count) - mean * mean, 0)) / OCTAVE
    return found
