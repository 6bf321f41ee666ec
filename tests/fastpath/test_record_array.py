"""Records as an array."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastpath.record import RECORD_BYTES, Record, records
from fastpath.record_array import RECORD_DTYPE, record_array


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
            value = row[name].tobytes() if name in {"address", "fingerprint"} else row[name]
            assert value == expected, name


@given(st.lists(st.binary(min_size=RECORD_BYTES, max_size=RECORD_BYTES), max_size=5))
def test_the_order_of_time(packed: list[bytes]) -> None:
    """Records of several rings stand in the order of time, those of one time as they came, and nobody changes them."""
    block = b"".join(packed)
    array = record_array(block)
    assert array["request_id"].tolist() == [record.request_id for record in records(block)]
    assert array.tobytes() == b"".join(sorted(packed, key=lambda each: records(each)[0].time_ns))
    assert not array.flags.writeable
