"""Cold certificates: who asks for what nobody else asks for.

What people ask for repeats itself: many want the same certificates, and each person wants the same ones again and
again. Who walks through a dump asks for each certificate once, and nearly all of them are wanted by nobody else. A
budget of each network does not stop a walk from a thousand networks; its coldness gives it away.

Definitions. A network has *asked* for a certificate if it got it; once within the window (7 days since the last
time), however often. That was *cold* if no other network had got it within the window. It is not taken back when
others come later: else two networks of one walker would clear each other, for one more request each. Which records
count is said in `proxy.cold_watch`.

Score of a network, 0..1. Of `asked` certificates `cold` were cold; both halve each day. The share that is *proven*
is the lower end of Wilson's interval, three standard deviations down: 0.31 if 4 of 4 were cold, 0.90 if 81 of 81
were. The score is how far that is above what is *usual*, in parts of what there is above it:

    score = max(0, (proven - usual) / (1 - usual))

*Usual* is the site's own. Each hour the median is taken of the shares of all networks that asked for VOTE or more,
and of these hours, the last 168 in which anybody asked, again the median. A network is held against what was usual
when it asked. So on a small server, where each certificate is cold, nobody is suspicious; and a walk becomes usual
only if most networks walk, and that for most of the hours that are known.

Bounds. Two memories of words, of certificates and of pairs of a network and a certificate, 4 MiB each, and 16,384
networks in 0.5 MiB. A walk overruns both memories. So a certificate that a second network asked for is kept for
twice the window, and forgotten last: a walk pushes out what was asked for once, mostly its own. A network whose pair
was pushed out is counted once more when it asks again.

Not known. Nothing outlives the process: the words of certificates are keyed anew with each start of the node. After
a start all certificates are cold, so for an hour everything is usual and no score rises, and for about a day less
than later. Who hides half of a walk behind as many certificates that everybody wants, or walks twice, has half the
share, at twice the price. A company whose keys nobody else needs looks like a short walk; but it wants the same ones
again, which does not count, and so its score fades. A score blocks nobody.

Times are CLOCK_MONOTONIC, handed in.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.network_columns import NetworkColumns
from models.word_memory import WordMemory, first_of_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.network_columns import Activity

    Words = NDArray[np.uint64]
    Figures = NDArray[np.float64]
    Flags = NDArray[np.bool_]

CERTIFICATES: Final = 524_288
PAIRS: Final = 524_288
NETWORKS: Final = 16_384
DAY_S: Final = 86_400
WINDOW_S: Final = 7 * DAY_S
HOUR_S: Final = 3600
MINUTE_S: Final = 60
HOURS: Final = 168
VOTE: Final = 10  # certificates; a share of fewer says little
DEVIATIONS: Final = 3.0
WALKING: Final = 0.5  # a network with this score, or a higher one, is counted as one that walks
TINY: Final = 1e-9
SECOND_NS: Final = 1_000_000_000


class Standing(NamedTuple):
    """How cold is what a network asked for."""

    network: int  # its key
    score: float
    asked: float  # different certificates, newly; halves each day, as `cold`
    cold: float  # of these
    usual: float  # share that was usual when it asked
    proven: float  # share of cold ones that is certain


class Climate(NamedTuple):
    """How cold is what all ask for."""

    share: float  # cold ones of all that was asked for lately, which halves each hour; 0 if nothing was
    usual: float  # share of a network; 1: not known yet
    walking: int  # networks with a score of WALKING or more


class Coldness:
    """The figures of one node; bounded."""

    def __init__(
        self, secret: bytes, *, certificates: int = CERTIFICATES, pairs: int = PAIRS, networks: int = NETWORKS
    ) -> None:
        """Know nothing.

        Args:
            secret: 16 bytes: nobody outside may know which networks share a place.
            certificates: How many are remembered, a power of two.
            pairs: How many pairs of a network and a certificate.
            networks: How many have figures.

        """
        self._xor, odd = np.frombuffer(secret, np.uint64, count=2)
        self._factor = odd | np.uint64(1)
        self._certificates = WordMemory(certificates)
        self._pairs = WordMemory(pairs)
        self._networks = NetworkColumns(networks)
        self._asked = self._cold = 0.0  # of all networks, lately
        self._hours: deque[float] = deque(maxlen=HOURS)
        self._usual = 1.0  # nothing is unusual as long as nothing is known
        self._faded_s = self._hour_ends_s = 0

    def feed(self, networks: Words, certificates: Words, now_ns: int) -> None:
        """Take note of what was asked for and answered, in the order of time.

        Args:
            networks: Their keys, uint64, shape (n,).
            certificates: Keyed hashes, uint64, shape (n,).
            now_ns: Of the last of them.

        """
        if not len(networks):
            return
        now_s = now_ns // SECOND_NS
        self._fade(now_s)
        self._end_hour(now_s)
        pairs = certificates ^ self._words(networks)
        once = np.sort(first_of_each(pairs))
        networks, certificates, pairs = networks[once], certificates[once], pairs[once]
        found = self._pairs.find(pairs, now_s)
        self._pairs.keep(pairs, found, now_s + WINDOW_S)
        new = ~found.known
        cold = self._cold_ones(certificates, new, now_s)
        self._count(networks[new], cold[new])

    def _cold_ones(self, certificates: Words, new: Flags, now_s: int) -> Flags:
        """Return which of them nobody had got; `new`: those that are new to who asks."""
        found = self._certificates.find(certificates, now_s)
        unknown = np.flatnonzero(~found.known)
        cold = np.zeros(len(certificates), np.bool_)
        cold[unknown[first_of_each(certificates[unknown])]] = True
        shared = new & ~cold
        self._certificates.keep(certificates, found, now_s + WINDOW_S)
        self._certificates.keep(certificates[shared], found.at(shared), now_s + 2 * WINDOW_S)
        return cold

    def _count(self, networks: Words, cold: Flags) -> None:
        self._asked += len(cold)
        self._cold += int(np.count_nonzero(cold))
        self._networks.add(networks, self._words(networks), cold, self._usual)

    def _words(self, networks: Words) -> Words:
        """Return keyed hashes of networks; their upper bits are the good ones."""
        words: Words = (networks ^ self._xor) * self._factor
        return words

    def _fade(self, now_s: int) -> None:
        """Let the minutes pass that are over."""
        minutes = (now_s - self._faded_s) // MINUTE_S
        if minutes > 0:
            self._faded_s += minutes * MINUTE_S
            self._networks.fade(0.5 ** (minutes * MINUTE_S / DAY_S))
            self._asked *= 0.5 ** (minutes * MINUTE_S / HOUR_S)
            self._cold *= 0.5 ** (minutes * MINUTE_S / HOUR_S)

    def _end_hour(self, now_s: int) -> None:
        """Ask the networks what is usual, if an hour is over; hours in which nobody asks have no say."""
        if now_s < self._hour_ends_s:
            return
        activity = self._networks.all()
        voters = activity.asked >= VOTE
        if voters.any():
            self._hours.append(float(np.median(activity.cold[voters] / activity.asked[voters])))
            self._usual = float(np.median(self._hours))
        self._hour_ends_s = now_s + HOUR_S

    # What was found out.

    def standing(self, network: int, now_ns: int) -> Standing:
        """Return the figures of a network; all are 0 if it did not ask lately."""
        [standing] = self._standings(self.activity(np.array([network], np.uint64), now_ns))
        return standing

    def activity(self, networks: Words, now_ns: int) -> Activity:
        """Return what networks asked for, in their order; all figures are 0 of who did not ask lately."""
        self._fade(now_ns // SECOND_NS)
        return self._networks.of(networks, self._words(networks))

    def coldest(self, most: int, now_ns: int) -> list[Standing]:
        """Return the networks with the highest scores, these first, at most so many."""
        self._fade(now_ns // SECOND_NS)
        activity = self._networks.all()
        highest = np.argsort(-scores(activity), kind="stable")[:most]
        return self._standings(activity.at(highest))

    def climate(self, now_ns: int) -> Climate:
        """Return the figures of the node."""
        self._fade(now_ns // SECOND_NS)
        walking = int(np.count_nonzero(scores(self._networks.all()) >= WALKING))
        return Climate(self._cold / self._asked if self._asked else 0.0, self._usual, walking)

    @staticmethod
    def _standings(activity: Activity) -> list[Standing]:
        asked, cold, usual = activity[1:]
        columns = (
            activity.networks,
            scores(activity),
            asked,
            cold,
            usual / np.maximum(asked, TINY),
            proven(asked, cold),
        )
        return [Standing(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def scores(activity: Activity) -> Figures:
    """Return how far the proven share of each network is above what was usual when it asked; 0 if nothing is proven."""
    asked = np.maximum(activity.asked, TINY)
    usual = np.minimum(activity.usual / asked, 1 - TINY)
    above: Figures = np.maximum(0.0, (proven(asked, activity.cold) - usual) / (1 - usual))
    return above


def proven(asked: Figures, cold: Figures) -> Figures:
    """Return the share of cold ones that is certain: the lower end of Wilson's interval; 0 if nothing was asked for."""
    tries, square = np.maximum(asked, TINY), DEVIATIONS**2
    share = np.minimum(cold / tries, 1.0)
    spread = DEVIATIONS * np.sqrt(share * (1 - share) / tries + square / (4 * tries**2))
    low: Figures = np.maximum(0.0, (share + square / (2 * tries) - spread) / (1 + square / tries))
    return low
