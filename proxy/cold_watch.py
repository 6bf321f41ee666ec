"""Which records tell of certificates that were asked for; what is cold of them is found out by `models.coldness`.

What counts as asked for, and why:

- Certificates by fingerprint or key id: what a walk asks for. Searches have budgets of their own.
- What was answered with 200, by the keyserver or from what is kept. A refused request took nothing; and if it
  counted, a network that is over its budget anyway could ask for all of a dump at no cost, so that nothing of it is
  cold any more when the walk comes. What was not found (404) is normal in a refresh: friends who never uploaded
  their keys are looked for by nobody else, and would make honest people cold. A walk finds what it asks for. (onak
  answers 200 where nothing is found: there it counts.)
- Not what HKPGUARD_ALLOW exempts. A mirror of one's own may walk, and what it took tells nothing about other people.

A certificate that is asked for by fingerprint and by key id counts as two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastpath.key_arrays import network_keys
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Reason

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.coldness import Coldness

FOUND: Final = 200


def show(coldness: Coldness, records: NDArray[np.void]) -> None:
    """Show what was asked for in records of RECORD_DTYPE, in the order of time."""
    counts = (records["operation"] == OperationClass.CERT) & (records["status"] == FOUND)
    counts &= records["reason"] != Reason.ALLOWED_NETWORK
    if counts.any():
        now_ns = int(records["time_ns"].max())
        coldness.feed(network_keys(records["client"][counts]), records["subject_hash"][counts], now_ns)
