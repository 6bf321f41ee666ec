"""Records as an array."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastpath.record import RECORD_BYTES, Record, records
from fastpath.record_array import RECORD_DTYPE, are_refused, record_array


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


@given(st.lists(st.binary(min_size=RECORD_BYTES, max_size=RECORD_BYTES), max_size=5))
def test_what_the_guard_refused(packed: list[bytes]) -> None:
    """The array says of each record what the record says of itself."""
    array = record_array(b"".join(packed))
    assert are_refused(array).tolist() == [record.refused for record in records(array.tobytes())]


@given(st.sampled_from([200, 399, 400, 599]), st.sampled_from([0, 254, 255]), st.integers(0, 7))
def test_bounds_of_what_the_guard_refused(status: int, upstream: int, flags: int) -> None:
    """Likewise where it is decided: by the status, whether a keyserver was asked, and whether the answer was kept."""
    array = np.zeros(1, RECORD_DTYPE)
    array["status"], array["upstream"], array["flags"] = status, upstream, flags
    [record] = records(array.tobytes())
    assert are_refused(array).tolist() == [record.refused]
