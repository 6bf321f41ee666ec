"""The layout of a record."""

import struct

from fastpath.record import NO_UPSTREAM, RECORD_BYTES, RECORD_FORMAT, SUBJECT_BYTES, Record


def test_the_format_has_a_place_for_each_field() -> None:
    """What is packed is what a Record names, in 160 bytes."""
    assert len(struct.unpack(RECORD_FORMAT, bytes(RECORD_BYTES))) == len(Record._fields)
    assert (RECORD_BYTES, SUBJECT_BYTES, NO_UPSTREAM) == (160, 64, 255)
