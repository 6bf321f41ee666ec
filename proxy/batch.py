"""Records that are looked at together.

An array operation costs more than what it does to ten records. So whoever works on arrays sees records by the half
second, or as many as there are sooner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastpath import RECORD_BYTES
from fastpath.record_array import record_array
from proxy.settings.kinds import SECOND

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOOK_NS: Final = SECOND // 2
LOOK_BYTES: Final = 2048 * RECORD_BYTES


class Batch:
    """The records that nobody has looked at yet."""

    def __init__(self) -> None:
        """Begin without any."""
        self._block = bytearray()
        self._next_look_ns = 0

    def add(self, block: bytes, now_ns: int) -> NDArray[np.void] | None:
        """Return all records since the last look, those of `block` among them, if it is time for one."""
        self._block += block
        if not self._block or (len(self._block) < LOOK_BYTES and now_ns < self._next_look_ns):
            return None
        self._next_look_ns = now_ns + LOOK_NS
        made, self._block = record_array(self._block), bytearray()
        return made
