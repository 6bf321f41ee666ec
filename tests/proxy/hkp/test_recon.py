"""Bounds of reconciliation: what peers send passes whole, and nothing else gets to the keyserver."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.hkp.bodies import BadBody
from proxy.hkp.recon import BadQuery, HashqueryReader, digests_of, hashquery_length, hget_digest

MOST = 100
DIGEST = bytes(range(16))
ZERO = bytes(4)


def u32(number: int) -> bytes:
    """Return a number as it is sent."""
    return number.to_bytes(4, "big")


def query(count: int, *, says: int | None = None, length: int = 16) -> bytes:
    """Return a hashquery; `says`: its count, `length`: of its last digest."""
    items = [u32(16) + DIGEST] * (count - 1) + [u32(length) + DIGEST] * (count > 0)
    return u32(count if says is None else says) + b"".join(items)


def spec(body: bytes, most: int) -> int:
    """Read a whole hashquery in the plainest way: the specification. Return its count, or 0."""
    count = int.from_bytes(body[:4], "big")
    if not 0 < count <= most or len(body) != 4 + 20 * count:
        return 0
    return count if all(body[at : at + 4] == u32(16) for at in range(4, len(body), 20)) else 0


def read(body: bytes, *, cuts: list[int] | None = None, most: int = MOST, length: int | None = None) -> int:
    """Read a body in pieces; return its count, or minus the status of its refusal."""
    try:
        reader = HashqueryReader(most, length)
        for start, end in pairwise([0, *sorted(cuts or []), len(body)]):
            reader.feed(body[start:end])
        return reader.finish()
    except BadBody as error:
        return -error.status


@pytest.mark.parametrize("count", [1, 2, 99, 100])
def test_what_peers_send(count: int) -> None:
    """One to a hundred digests pass, in one piece, byte by byte, with a length announced and without."""
    body = query(count)
    assert len(body) == hashquery_length(count)
    assert digests_of(len(body), MOST) == count
    for length in (None, len(body)):
        assert read(body, length=length) == count
        assert read(body, cuts=list(range(1, len(body))), length=length) == count


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (-1, 400),
        (-2, 400),
        (0, 400),
        (3, 400),
        (4, 400),
        (23, 400),
        (25, 400),
        (4 + 20 * 100 - 1, 400),
        (4 + 20 * 100 + 1, 413),
        (4 + 20 * 101, 413),
        (2**63, 413),
    ],
)
def test_lengths_that_none_has(length: int, status: int) -> None:
    """A length other than 4 + 20 for each of 1 to `most` digests, or none, is refused before the body comes."""
    with pytest.raises(BadQuery) as refused:
        digests_of(length, MOST)
    assert refused.value.status == status
    assert ("needs a Content-Length" in refused.value.text) is (length < 0)
    with pytest.raises(BadQuery):
        HashqueryReader(MOST, length)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\0", 400),
        (query(0), 400),
        (query(0) + u32(16) + DIGEST, 400),
        (query(1)[:-1], 400),
        (query(1) + b"\0", 400),
        (query(1) + b"\r\n", 400),
        (query(2, says=1), 400),
        (query(1, says=2), 400),
        (query(1, says=101), 413),
        (query(0, says=2**32 - 1), 413),
        (query(0, says=2**31), 413),
        (query(100, says=101), 413),
        (query(101), 413),
        (query(1, length=0), 400),
        (query(1, length=15), 400),
        (query(1, length=17), 400),
        (query(1, length=2**32 - 16), 400),
        (query(1, length=16 << 8), 400),
        (query(1, length=16 << 16), 400),
        (query(1, length=16 << 24), 400),
        (query(100, length=2**31), 400),
        (b"GET / HTTP/1.1\r\n\r\n", 413),
    ],
)
def test_bodies_that_nobody_sends(body: bytes, status: int) -> None:
    """Whatever the count or a length says, what is not framed as peers do it is refused, and 413 only for too much."""
    assert read(body) == -status
    assert read(body, cuts=list(range(1, len(body)))) in {-400, -413}
    assert read(body, length=len(body)) in {-400, -413}


def test_one_byte_more() -> None:
    """What comes after the end is the fault of its count, 400, and not of its size."""
    assert read(query(1) + b"\0", cuts=[24]) == -400
    assert read(query(1) + b"\0", cuts=[4]) == -400
    assert read(query(100) + b"\0", cuts=[24]) == -400


def test_count_and_length_must_agree() -> None:
    """A count that fits the body but not the length that was announced is refused with its fourth byte."""
    reader = HashqueryReader(MOST, hashquery_length(2))
    reader.feed(u32(1)[:3])
    with pytest.raises(BadQuery, match="not as long as its count says"):
        reader.feed(u32(1)[3:])


def test_it_is_refused_at_once() -> None:
    """A bad length of a digest is refused with its last byte at the latest, not with the end of the body."""
    reader = HashqueryReader(MOST)
    reader.feed(u32(2) + u32(16) + DIGEST + b"\0\0\0")
    with pytest.raises(BadQuery):
        reader.feed(b"\x11")


def test_a_flood_is_not_kept() -> None:
    """However much comes at once, no more is kept than the largest hashquery has."""
    reader = HashqueryReader(MOST)
    with pytest.raises(BadQuery) as refused:
        reader.feed(u32(1) + bytes(65_532))
    assert refused.value.status == 413
    assert len(reader._body) == 0


@pytest.mark.parametrize("bad", [b"\0", query(1, length=15)])
def test_what_was_refused_stays_so(bad: bytes) -> None:
    """A reader that has refused takes nothing more, and does not finish, not even what was whole before."""
    reader = HashqueryReader(MOST)
    reader.feed(query(1))
    with pytest.raises(BadQuery):
        reader.feed(bad)
    for attempt in (lambda: reader.feed(b""), reader.finish):
        with pytest.raises(BadQuery):
            attempt()


def test_the_bound_is_a_setting() -> None:
    """Up to `most` pass, one more does not."""
    assert read(query(1000), most=1000) == 1000
    assert read(query(1001), most=1000) == -413
    assert read(query(1), most=1) == 1
    assert read(query(2), most=1) == -413


WORDS = st.sampled_from([ZERO, u32(1), u32(2), u32(3), u32(15), u32(16), b"\xff" * 4])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Make a body: mostly well framed, with a word or an end that may be wrong."""
    count = draw(st.integers(0, 5))
    body = bytearray(query(count, says=draw(st.sampled_from([None, None, None, 0, 1, 4, 6, 2**32 - 1]))))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(body)))
        body[at : at + 4] = draw(WORDS | st.binary(max_size=5))
    return bytes(body)


@given(bodies(), st.lists(st.integers(0, 110), max_size=8), st.booleans())
def test_any_split_is_read_alike(body: bytes, cuts: list[int], announced: bool) -> None:  # noqa: FBT001 - a row
    """Wherever a body is cut, it passes if, and only if, the specification says so."""
    expected = spec(body, 4)
    found = read(body, cuts=[min(cut, len(body)) for cut in cuts], most=4, length=len(body) if announced else None)
    assert max(found, 0) == expected


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"),
        ("0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcdef"),
    ],
)
def test_a_digest(text: str, digest: str) -> None:
    """32 hexadecimal digits in any case."""
    assert hget_digest(text) == digest


@pytest.mark.parametrize(
    "text",
    ["", "0" * 31, "0" * 33, "0" * 40, "0x" + "0" * 30, "0x" + "0" * 32, "g" * 32, " " + "0" * 31, "\u0661" * 32],
)
def test_no_digest(text: str) -> None:
    """Anything else is 400."""
    with pytest.raises(BadQuery) as refused:
        hget_digest(text)
    assert refused.value.status == 400


def test_texts_are_for_people() -> None:
    """Each refusal is one plain line without the words that OpenKeychain takes for something else."""
    texts = []
    for body in (query(0), query(101), query(1, length=1), query(2, says=1)):
        with pytest.raises(BadQuery) as refused:
            HashqueryReader(MOST).feed(body)
        texts.append(refused.value.text)
    with pytest.raises(BadQuery) as refused:
        HashqueryReader(MOST).finish()
    texts.append(refused.value.text)
    for length in (-1, 5, 10**6):
        with pytest.raises(BadQuery) as refused:
            digests_of(length, MOST)
        texts.append(refused.value.text)
    for text in texts:
        assert text.endswith(".")
        assert text.isprintable()
        assert not any(word in text.lower() for word in ("too many", "insufficient", "no keys found"))
