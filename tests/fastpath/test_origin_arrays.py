"""Where clients come from, by the array: as their keys say one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastpath import client_key, key_text, parse_address
from fastpath.origin import NetworkKind, Origin
from fastpath.origin_arrays import addresses, kinds_of

packed = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


@given(st.lists(packed, max_size=8))
def test_addresses(clients: list[bytes]) -> None:
    """A key gives the address that its text names, which has the same key."""
    keys = [client_key(each) for each in clients]
    found = [*addresses(np.array(keys, np.uint64))]
    assert found == [parse_address(key_text(key).partition("/")[0]) for key in keys]
    assert [client_key(each) for each in found] == keys


@given(st.lists(st.tuples(packed, st.sampled_from(NetworkKind), st.integers(0, 255)), max_size=8))
def test_kinds(rows: list[tuple[bytes, NetworkKind, int]]) -> None:
    """The kind is that of the word of the address, whatever else is in the word."""
    words = {client_key(address): Origin(64_500, kind, rule).pack() for address, kind, rule in rows}
    keys = np.array([*words], np.uint64)
    found = kinds_of(keys, lambda address: words[client_key(address)])
    assert found.dtype == np.uint8
    assert found.tolist() == [word >> 20 & 15 for word in words.values()]
