"""Groups of clients that are suspicious, by place and by network, beside where others are. Pure, and slow.

Importing scikit-learn takes a second and 110 MB, and one run up to a tenth of a second. So this is the program of a
process of its own, `python -P -m geo.grouping`, which reads one batch from its standard input, writes its answer and
ends. It is niced: nobody waits for it.

By place: DBSCAN over the points of a sphere. LEAST networks within NEAR_KM of one of them make a group, and so does
whatever is near to those. By network: the number of the autonomous system. In both a network (/24, /48) counts once,
however many clients it has there. A group is told of if it is TIMES as frequent among the suspicious as among others:
where many live, many of all sorts live. Of others one more is counted than there are, so that where few are known
little is unusual.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from geo.sphere import EARTH_KM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Spots = NDArray[np.void]
    Labels = NDArray[np.intp]

SPOT: Final = np.dtype(
    [("client", "<u8"), ("network", "<u8"), ("asn", "<u4"), ("latitude", "<f4"), ("longitude", "<f4")]
)
"""A client; its place in degrees, NaN where it is not known well enough, and its ASN 0 where that is not known."""

HEAD: Final = struct.Struct("<IIId")  # suspicious, others, least, times
PLACE, NETWORK = "place", "network"
NEAR_KM: Final = 50.0
NICENESS: Final = 10


class Terms(NamedTuple):
    """From when on clients are a group."""

    least: int = 8  # networks
    times: float = 5.0  # as frequent among the suspicious as among others


class Found(NamedTuple):
    """One group."""

    about: str  # PLACE or NETWORK
    clients: list[int]
    networks: int
    share: float  # of the suspicious
    usual: float  # of the others


def by_network(suspicious: Spots, others: Spots, terms: Terms) -> Iterator[Found]:
    """Yield the groups that autonomous systems make."""
    known, among = _once(suspicious[suspicious["asn"] > 0]), _once(others[others["asn"] > 0])
    numbers, counts = np.unique(known["asn"], return_counts=True)
    for number in numbers[counts >= terms.least]:
        members = suspicious[suspicious["asn"] == number]
        yield from _group(NETWORK, members, len(known), int(np.sum(among["asn"] == number)), len(among), terms)


def by_place(suspicious: Spots, others: Spots, terms: Terms) -> Iterator[Found]:
    """Yield the groups of those who are near to each other.

    Raises:
        ImportError: Scikit-learn is not there.

    """
    from sklearn.cluster import DBSCAN  # noqa: PLC0415 - an extra, and slow to load
    from sklearn.neighbors import BallTree  # noqa: PLC0415 - likewise

    located = suspicious[~np.isnan(suspicious["latitude"])]
    points, among = _once(located), _once(others[~np.isnan(others["latitude"])])
    if len(points) < terms.least:
        return
    near = NEAR_KM / EARTH_KM
    labels = DBSCAN(eps=near, min_samples=terms.least, metric="haversine", algorithm="ball_tree").fit_predict(
        _radians(points)
    )
    grouped = points[labels >= 0]
    if not len(grouped):
        return
    beside = np.zeros(labels.max() + 1, np.intp)
    if len(among):
        distances, nearest = BallTree(_radians(grouped), metric="haversine").query(_radians(among))
        beside += np.bincount(labels[labels >= 0][nearest[distances <= near]], minlength=len(beside))
    for label, others_there in enumerate(beside.tolist()):
        members = located[np.isin(located["network"], points["network"][labels == label])]
        yield from _group(PLACE, members, len(points), others_there, len(among), terms)


def _group(  # noqa: PLR0913, PLR0917 - two counts of two kinds
    about: str, members: Spots, suspicious: int, others_there: int, others: int, terms: Terms
) -> Iterator[Found]:
    """Yield a group if it is unusual."""
    networks = len(np.unique(members["network"]))
    share, usual = networks / suspicious, (others_there + 1) / (others + 1)
    if share >= terms.times * usual:
        yield Found(about, members["client"].tolist(), networks, share, usual)


def _once(spots: Spots) -> Spots:
    """Return one client of each network."""
    _, first = np.unique(spots["network"], return_index=True)
    return spots[first]


def _radians(spots: Spots) -> NDArray[np.float64]:
    return np.radians(np.column_stack((spots["latitude"], spots["longitude"])).astype(np.float64))


def pack(suspicious: Spots, others: Spots, terms: Terms) -> bytes:
    """Return a batch."""
    head = HEAD.pack(len(suspicious), len(others), *terms)
    return head + suspicious.tobytes() + others.tobytes()


def answer(batch: bytes) -> bytes:
    """Return the groups in a batch, as `read_answer` reads them; those by place only with scikit-learn."""
    count, _, *terms = HEAD.unpack_from(batch)
    spots = np.frombuffer(batch, SPOT, offset=HEAD.size)
    split = spots[:count], spots[count:], Terms(*terms)
    found = [*by_network(*split)]
    with contextlib.suppress(ImportError):
        found += by_place(*split)
    return json.dumps(found).encode()


def read_answer(data: bytes) -> list[Found]:
    """Return the groups; ValueError if the answer broke off."""
    return [Found(*each) for each in json.loads(data)]


if __name__ == "__main__":
    os.nice(NICENESS)
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))
