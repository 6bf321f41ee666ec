"""The word that says where a client comes from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.origin import MOST_ASN, NetworkKind, Origin, unpack


@pytest.mark.parametrize(
    ("origin", "word"),
    [
        (Origin(), 0),
        (Origin(asn=1), 1),
        (Origin(asn=MOST_ASN), 0xFFFFF),
        (Origin(asn=MOST_ASN + 1), 0),
        (Origin(asn=4_200_000_000, kind=NetworkKind.TOR), 0x700000),
        (Origin(kind=NetworkKind.EDUCATION), 0x900000),
        (Origin(rule=255), 0xFF000000),
        (Origin(13335, NetworkKind.RELAY, 254), 0xFE803417),
    ],
)
def test_pack(origin: Origin, word: int) -> None:
    """Each part has its bits; an ASN without room is unknown, and changes no other part."""
    assert origin.pack() == word


@given(st.integers(0, MOST_ASN), st.sampled_from(NetworkKind), st.integers(0, 255))
def test_what_is_packed_is_unpacked(asn: int, kind: NetworkKind, rule: int) -> None:
    """Nothing is lost on the way."""
    origin = Origin(asn, kind, rule)
    assert unpack(origin.pack()) == origin


@pytest.mark.parametrize("origin", [Origin(asn=-1), Origin(rule=-1), Origin(rule=256)])
def test_no_origin(origin: Origin) -> None:
    """What would spill into other bits is refused."""
    with pytest.raises(ValueError, match="is no origin"):
        origin.pack()


@pytest.mark.parametrize(("word", "text"), [(-1, "not in 0"), (2**32, "not in 0"), (0xF00000, "15 is not a valid")])
def test_no_word(word: int, text: str) -> None:
    """A number of another size, or with a kind that there is not, is no word."""
    with pytest.raises(ValueError, match=text):
        unpack(word)
