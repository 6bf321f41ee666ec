"""What the analyst finds out about cold certificates: from records of what was answered, in virtual time.

The records are kept until there are as many as an analyst takes at a time, or a minute is over. Each hour the scores
of all networks are read; what is told of a network is the highest that it ever had.
"""

from collections import defaultdict
from typing import Final

import numpy as np

from bench.scenarios.clock import HOUR, MINUTE
from fastpath import client_key
from fastpath.record_array import RECORD_DTYPE
from models.coldness import NETWORKS, Coldness
from proxy import cold_watch
from proxy.hkp.classes import OperationClass

BLOCK: Final = 2048
FOUND, MISSING = 200, 404


class Cold:
    """What is known of networks.

    Attributes:
        highest: The highest score of each network so far, by its key; only networks that obtained certificates.

    """

    def __init__(self, secret: bytes) -> None:
        """Know nothing."""
        self.highest: defaultdict[int, float] = defaultdict(float)
        self._coldness = Coldness(secret)
        self._block = np.zeros(BLOCK, RECORD_DTYPE)
        self._used = 0
        self._next_show_ns = self._next_look_ns = 0

    def note(self, address: bytes, subject: int, reason: int, now_ns: int, *, found: bool) -> None:
        """Take note of a certificate that was asked for, and found or not; `subject`: its word."""
        record = self._block[self._used]
        record["time_ns"], record["client"], record["subject_hash"] = now_ns, client_key(address), subject
        record["status"], record["operation"], record["reason"] = (
            FOUND if found else MISSING,
            OperationClass.CERT,
            reason,
        )
        self._used += 1
        if self._used == BLOCK or now_ns >= self._next_show_ns:
            self._show(now_ns)

    def look(self, now_ns: int) -> None:
        """Read all scores."""
        self._show(now_ns)
        for each in self._coldness.coldest(NETWORKS, now_ns):
            self.highest[each.network] = max(self.highest[each.network], each.score)

    def _show(self, now_ns: int) -> None:
        cold_watch.show(self._coldness, self._block[: self._used])
        self._used = 0
        self._next_show_ns = now_ns + MINUTE
        if now_ns >= self._next_look_ns:
            self._next_look_ns = now_ns + HOUR
            self.look(now_ns)
