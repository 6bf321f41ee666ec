"""Which row a key has: the same one as long as it is known, and one that nobody else has."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.row_index import RowIndex

KEYS = st.one_of(st.integers(0, 12), st.sampled_from([2**63, 2**64 - 1]))


@given(st.lists(st.tuples(st.sets(KEYS), st.sets(KEYS))))
def test_keys_keep_their_rows(turns: list[tuple[set[int], set[int]]]) -> None:
    """A key keeps its row until it is released; no two keys share one; free rows are counted."""
    index, rows = RowIndex(15), dict[int, int]()
    for wanted, unwanted in turns:
        keys = sorted(wanted)
        for key, row in zip(keys, index.place(np.array(keys, np.uint64)).tolist(), strict=True):
            assert rows.setdefault(key, row) == row
        assert len(set(rows.values())) == len(rows) == 15 - index.free
        gone = [rows.pop(key) for key in unwanted & set(rows)]
        index.release(np.array(gone, np.int32))
        assert index.used.tolist() == [rows[key] for key in sorted(rows)]


def test_more_keys_than_rows_are_refused() -> None:
    """Who makes no room before is told so, and nothing has changed."""
    index = RowIndex(2)
    with pytest.raises(ValueError, match="3 new keys, but 2 free rows"):
        index.place(np.arange(3, dtype=np.uint64))
    assert (index.free, index.used.tolist()) == (2, [])
