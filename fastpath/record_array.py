"""Records as NumPy has them. Only for those who look at many at a time: workers do without NumPy."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastpath.record import (
    FINGERPRINT_BYTES,
    FIRST_ERROR,
    FLAG_CACHED,
    NO_UPSTREAM,
    RECORD_BYTES,
    SUBJECT_BYTES,
    Record,
)

RECORD_DTYPE: Final = np.dtype(
    {
        "names": list(Record._fields),
        "formats": [
            "<i8",
            *["<u8"] * 3,
            *["<u4"] * 5,
            "<u2",
            *["u1"] * 7,
            "V16",
            f"S{SUBJECT_BYTES}",
            f"V{FINGERPRINT_BYTES}",
        ],
        "offsets": [*range(0, 32, 8), *range(32, 52, 4), 52, *range(54, 61), 64, 80, 144],
        "itemsize": RECORD_BYTES,
    }
)
"""The same layout for `np.frombuffer`: a block of records as an array, without copying."""
# NumPy copies records field by field, in ten times the time that it takes to copy them as they lie in memory. So they
# are gathered as lumps.
_LUMP: Final = np.dtype((np.void, RECORD_BYTES))


def record_array(raw: bytes | bytearray) -> NDArray[np.void]:
    """Return the records in bytes that `Ring.take` gave, of one ring or several, in the order of time; read-only."""
    taken = np.frombuffer(raw, RECORD_DTYPE)
    found = gather(taken, np.argsort(taken["time_ns"], kind="stable"))
    found.flags.writeable = False
    return found


def gather(records: NDArray[np.void], places: NDArray[np.intp]) -> NDArray[np.void]:
    """Return some records, in this order."""
    return records.view(_LUMP)[places].view(RECORD_DTYPE)


def are_refused(records: NDArray[np.void]) -> NDArray[np.bool_]:
    """Tell which the guard itself answered with an error: `Record.refused` of each."""
    refused: NDArray[np.bool_] = (
        (records["upstream"] == NO_UPSTREAM)
        & (records["status"] >= FIRST_ERROR)
        & (records["flags"] & FLAG_CACHED == 0)
    )
    return refused
