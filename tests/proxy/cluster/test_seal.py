"""What is sealed, and what is not believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cluster.seal import MAC_BYTES, MOST_BYTES, Forged, Seal
from proxy.cluster.secret import ClusterSecret
from tests.proxy.cluster.stub_for_tests import SECRET

KINDS = st.text(alphabet="abc", max_size=4)


def seal(secret: str = SECRET, prefix: str = "hkpguard") -> Seal:
    """Return the seal of a node."""
    return Seal(ClusterSecret(secret), prefix)


@given(KINDS, st.binary(max_size=100))
def test_opens_what_was_sealed(kind: str, payload: bytes) -> None:
    """Another node of the cluster opens what one has sealed."""
    assert seal().open(kind, seal().seal(kind, payload)) == payload


@given(st.data())
def test_one_bit(data: st.DataObject) -> None:
    """Not one bit of it can be another."""
    sealed = bytearray(seal().seal("ban", b"payload"))
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[place // 8] ^= 1 << place % 8
    with pytest.raises(Forged):
        seal().open("ban", bytes(sealed))


@given(KINDS, KINDS, st.text(alphabet="abc", min_size=1, max_size=4), st.binary(max_size=4))
def test_kind_and_prefix_are_bound_in(kind: str, other: str, prefix: str, payload: bytes) -> None:
    """What was sealed as another kind, or under another prefix, is forged, also where the texts run together."""
    sealed = seal(prefix=prefix).seal(kind, payload)
    for opened_by, opened_as, same in ((prefix, other, kind == other), (prefix + kind, other, kind == "" == other)):
        if same:
            continue
        with pytest.raises(Forged):
            seal(prefix=opened_by).open(opened_as, sealed)


@pytest.mark.parametrize("data", [None, 7, "text", [], b"", b"short", bytes(MAC_BYTES), b"x" * 100])
def test_what_is_none(data: object) -> None:
    """Whatever Redis says that no node has sealed is forged, and counted."""
    mine = seal()
    with pytest.raises(Forged):
        mine.open("ban", data)
    assert mine.forged == {"ban": 1}


def test_another_secret() -> None:
    """A node of another cluster is believed nothing."""
    with pytest.raises(Forged):
        seal().open("ban", seal("t" * 32).seal("ban", b"x"))


def test_size() -> None:
    """Nothing too large is looked at, though it be sealed."""
    sealed = seal().seal("ban", bytes(MOST_BYTES))
    assert len(seal().open("ban", sealed)) == MOST_BYTES
    with pytest.raises(Forged):
        seal().open("ban", seal().seal("ban", bytes(MOST_BYTES + 1)))
    with pytest.raises(Forged):
        seal().open("ban", sealed, most=MOST_BYTES - 1)
