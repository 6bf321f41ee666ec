"""Who behaves like an abuser: from records to what is to be said of clients, and why.

    clients that are due (Watch) -> their features -> trees    -> "behaviour", accuses
                                                   -> forest   -> "unusual", a second opinion
    networks that ask for what nobody else does (Coldness) ----> "coldness"
    user IDs in uploads -> model of texts (Writings) ----------> "writing", advice

Looks. A client is looked at after 8, 15, 30, 60, 120 and 240 requests, then every 240. Each look is at all
that it did lately, and says the log-odds of that; it is accused as soon as they reach the bound of the model for so
many requests, which no honest client reached at any look (`models.training.calibration`). Who is below the bound is
watched on. What speaks against him meanwhile is said as well, but with no more weight than moves nobody by itself.

What speaks for somebody is not said: to look like gpg is easily done.

Of what kind the network of a client is, is looked up only for a model that has learnt what that says.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fastpath.key_arrays import network_keys
from fastpath.origin_arrays import kinds_of
from models.coldness import MINUTE_S, SECOND_NS
from models.features import NETWORK, of_networks
from models.marks import IDENTITY, WORDS
from models.scorer import bounds
from models.writings import Writings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fastpath.origin_arrays import LookUp
    from models.coldness import Coldness
    from models.scorer import Reason, Scorer
    from models.text import TextScorer
    from models.watch import Due

    Keys = NDArray[np.uint64]

BEHAVIOUR, UNUSUAL, COLDNESS, WRITING = "behaviour", "unusual", "coldness", "writing"
WORTH_SAYING: Final = 1.0  # log-odds
UNDECIDED_MOST: Final = 3.5  # by itself it moves nobody: one client of 55 is an abuser, which is 4 log-odds
UNUSUAL_WEIGHT: Final = 1.0
COLD_WEIGHT: Final = 3.0
WRITING_WEIGHT: Final = 0.2  # advice: an accusation and what is unusual lead to no other standing with it
COLD: Final = 0.5  # a score of models.coldness that counts
MOST_COLD: Final = 64  # networks
MOST_ACCUSED: Final = 65_536
MOST_TEXTS: Final = 32
MOST_EXCERPTS: Final = 256  # at a look
EXCERPTS_AT_ONCE: Final = 32  # 0.2 ms


class Finding(NamedTuple):
    """What one detector says of a client."""

    client: int  # its key
    kind: str
    weight: float  # log-odds; 0: what was said before does not hold any more
    reason: str  # for the operator, one line


class Detector:
    """Looks at clients of one node; bounded.

    Attributes:
        looks: At how many clients it looked so far.
        accused: Clients of whom it has something to say, and what kind of thing; the one it spoke of last at the end.

    """

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        scorer: Scorer,
        *,
        second: Scorer | None = None,
        text: TextScorer | None = None,
        coldness: Coldness | None = None,
        look_up: LookUp | None = None,
        most_weight: float = 7.0,
        brief: bool = False,
    ) -> None:
        """Know nobody.

        Args:
            scorer: The model that accuses.
            second: The second opinion.
            text: What adds remarks on searched texts to an accusation.
            coldness: Fed by somebody else.
            look_up: Returns the origin of an address (`fastpath.origin`); None: nothing is known of networks.
            most_weight: Of an accusation.
            brief: Tell the features that speak against a client only where it is accused. Each time costs as much as
                thirty records, and of those who are undecided there are many.

        """
        self.scorer, self.second, self.text = scorer, second, text
        self.looks = 0
        self.accused: OrderedDict[tuple[int, str], None] = OrderedDict()
        self._coldness = coldness
        self._look_up = look_up
        self._most_weight = most_weight
        self._brief = brief
        self._cold: dict[int, float] = {}  # scores of networks
        self._cold_until_s = 0
        self._writings = Writings()

    def look(self, due: Due, now_ns: int) -> Iterator[Finding | None]:
        """Yield what is to be said of clients now; None: nothing yet, but a step is done (`models.steps`)."""
        self.looks += len(due.clients)
        yield from self._behaviour(due)
        yield from self._unusual(due)
        yield from self._coldest(due.clients, now_ns)
        while len(self.accused) > MOST_ACCUSED:
            self.accused.popitem(last=False)

    def read(self, excerpts: Sequence[tuple[int, bytes]]) -> Iterator[Finding | None]:
        """Yield what is to be said of clients by the texts in their uploads: the first of these excerpts."""
        if self.text is None or not excerpts:
            return
        name = f"{self.text.manifest.name} {self.text.manifest.version}"
        for start in range(0, min(len(excerpts), MOST_EXCERPTS), EXCERPTS_AT_ONCE):
            for client, said in self._writings.read(excerpts[start : start + EXCERPTS_AT_ONCE], self.text):
                if said:
                    yield self._said(client, WRITING, WRITING_WEIGHT, f"{said}; {name}")
                elif (client, WRITING) in self.accused:
                    yield self._taken_back(client, WRITING)
            yield None

    def _behaviour(self, due: Due) -> Iterator[Finding | None]:
        requests = due.columns["requests"]
        features = self._with_networks(due)
        log_odds = self.scorer.score(features, requests)
        yield None
        accuse = bounds(self.scorer.manifest, requests)
        for place in self._to_be_said(due.clients, log_odds >= WORTH_SAYING, BEHAVIOUR):
            client, found, made = int(due.clients[place]), float(log_odds[place]), int(requests[place])
            if found < WORTH_SAYING:
                yield self._taken_back(client, BEHAVIOUR)
                continue
            certain = found >= accuse[place]
            most = self._most_weight if certain else UNDECIDED_MOST
            weight = min(max(found, self.scorer.manifest.weight) if certain else found, most)
            parts = [
                f"behaves like an abuser in its last {made} requests"
                if certain
                else f"undecided after {made} requests",
                f"log-odds {found:.1f} of {accuse[place]:.1f}",
                *(map(told, self.scorer.explain(features[place], made)) if certain or not self._brief else ()),
            ]
            if certain and self.text is not None:
                yield None
                parts += self.text.remarks(_searched(client, due))
            parts.append(f"{self.scorer.manifest.name} {self.scorer.manifest.version}")
            yield self._said(client, BEHAVIOUR, weight, "; ".join(parts))

    def _with_networks(self, due: Due) -> NDArray[np.float32]:
        """Return the features of clients, with those of their networks if they matter to the model."""
        if self._look_up is None or not self.scorer.manifest.networks:
            return due.features
        features = due.features.copy()  # others look at them, too
        features[:, NETWORK] = of_networks(kinds_of(due.clients, self._look_up))
        return features

    def _unusual(self, due: Due) -> Iterator[Finding | None]:
        if self.second is None:
            return
        manifest = self.second.manifest
        requests = due.columns["requests"]
        unusual = self.second.score(due.features, requests) >= bounds(manifest, requests)
        yield None
        for place in self._to_be_said(due.clients, unusual, UNUSUAL):
            client = int(due.clients[place])
            if unusual[place]:
                reason = f"unlike any honest client known; {manifest.name} {manifest.version}"
                yield self._said(client, UNUSUAL, UNUSUAL_WEIGHT, reason)
            else:
                yield self._taken_back(client, UNUSUAL)

    def _coldest(self, clients: Keys, now_ns: int) -> Iterator[Finding | None]:
        if self._coldness is None:
            return
        if now_ns // SECOND_NS >= self._cold_until_s:
            coldest = self._coldness.coldest(MOST_COLD, now_ns)
            self._cold = {each.network: each.score for each in coldest if each.score >= COLD}
            self._cold_until_s = now_ns // SECOND_NS + MINUTE_S
            yield None
        if not self._cold:
            return
        for client, network in zip(clients.tolist(), network_keys(clients).tolist(), strict=True):
            if score := self._cold.get(network):
                reason = f"its network asks for what nobody else asks for: coldness {score:.2f}"
                yield Finding(client, COLDNESS, COLD_WEIGHT * score, reason)

    def _to_be_said(self, clients: Keys, holds: NDArray[np.bool_], kind: str) -> list[int]:
        """Return the places of clients of whom something holds, or of whom it was said and holds no more."""
        return [
            place
            for place, (client, now) in enumerate(zip(clients.tolist(), holds.tolist(), strict=True))
            if now or (client, kind) in self.accused
        ]

    def _said(self, client: int, kind: str, weight: float, reason: str) -> Finding:
        self.accused[client, kind] = None
        self.accused.move_to_end((client, kind))
        return Finding(client, kind, weight, reason)

    def _taken_back(self, client: int, kind: str) -> Finding:
        del self.accused[client, kind]
        return Finding(client, kind, 0.0, "does not hold any more")


def _searched(client: int, due: Due) -> list[bytes]:
    """Return the last texts that a client searched for."""
    operation = due.records["operation"]
    texts = (due.records["client"] == client) & ((operation == IDENTITY) | (operation == WORDS))
    found: list[bytes] = due.records["subject"][np.flatnonzero(texts)[-MOST_TEXTS:]].tolist()
    return found


def told(reason: Reason) -> str:
    """Return a feature and its value as an operator reads it."""
    return f"{reason.name} {reason.value:.2g} (usually {reason.usual:.2g})"
