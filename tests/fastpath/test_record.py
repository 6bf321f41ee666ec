"""The layout of a record, as a struct and as an array."""

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastpath.record import NO_UPSTREAM, RECORD_BYTES, RECORD_DTYPE, RECORD_FORMAT, SUBJECT_BYTES, Record, records


def test_the_format_has_a_place_for_each_field() -> None:
    """What is packed is what a Record names, in 144 bytes."""
    assert len(struct.unpack(RECORD_FORMAT, bytes(RECORD_BYTES))) == len(Record._fields)
    assert (RECORD_BYTES, SUBJECT_BYTES, NO_UPSTREAM) == (144, 64, 255)


@given(st.lists(st.binary(min_size=RECORD_BYTES, max_size=RECORD_BYTES), min_size=1, max_size=5))
def test_an_array_of_records_reads_the_same(packed: list[bytes]) -> None:
    """Each field of whatever is in memory, without copying it."""
    block = b"".join(packed)
    array = np.frombuffer(block, RECORD_DTYPE)
    assert array.dtype.names == Record._fields
    assert not array.flags.owndata
    for row, raw in zip(array, packed, strict=True):
        [record] = records(raw)
        for name, expected in record._asdict().items():
            value = row[name].tobytes() if name == "address" else row[name]
            assert value == expected, name
