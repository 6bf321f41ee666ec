"""The panes of clients, and what records add to them; the theory is in `marks.py`."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

PANE_BYTES: Final[int]
"""Size of a window: marks.SUMS and marks.PEAKS, 32 bits each, and 256 bits of members."""
ROW_BYTES: Final[int]
"""Size of a row: two panes, and what is kept for the next record of its client."""

def octaves(value: int) -> int:
    """Return log2(1 + value) of 0..2**64-1, in steps of a sixteenth, rounded down; straight between powers of two."""

class Panes:
    """Two panes for each row, and what a row keeps for the next record; in memory that is real once it is used."""

    def __init__(self, rows: int, looks: bytes) -> None:
        """Let all rows be empty.

        Args:
            rows: How many there are.
            looks: Whether a row is due after 0, 1, 2... requests, short of a pane; after each full pane it is.

        Raises:
            ValueError: Panes would have no requests.

        """

    def add(self, records: NDArray[np.uint8], rows: NDArray[np.int32], due: NDArray[np.uint8], forget_ns: int) -> None:
        """Add records; a row that was away for longer than `forget_ns` begins anew.

        Args:
            records: The bytes of records of RECORD_DTYPE, in the order of time.
            rows: Of each record, shape (n,).
            due: Of each row, whether it is due; is changed.
            forget_ns: Longer than any pause that counts.

        Raises:
            ValueError: Sizes do not fit.
            IndexError: There is no such row.

        """

    def forget(self, rows: NDArray[np.int32]) -> None:
        """Let rows begin anew with their next record."""

    def read(self, rows: NDArray[np.int32]) -> bytearray:
        """Return the windows of rows: both panes together, as `windows.WINDOW`."""
