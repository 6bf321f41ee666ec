"""Armor: blocks with nothing around them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.hkp.armor import KINDS, SECRET_KINDS, SECRET_TEXT, ArmorReader
from proxy.hkp.certs import BadUpload
from tests.certs_for_tests import armored, cut

BEGIN, END = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n", b"-----END PGP PUBLIC KEY BLOCK-----\n"
DATA = b"hello, key"
LINE = base64.b64encode(DATA) + b"\n"  # two `=`


def read(*pieces: bytes) -> list[bytes]:
    """Return the data of each block, or raise what is wrong."""
    reader = ArmorReader()
    found: list[bytes | None] = []
    for piece in pieces:
        found += reader.feed(piece)
    if reader.fault:
        raise reader.fault
    found += reader.finish()
    blocks = [b""]
    for each in found:
        if each is None:
            blocks.append(b"")
        else:
            blocks[-1] += each
    assert blocks.pop() == b""
    return blocks


@pytest.mark.parametrize(
    "text",
    [
        BEGIN + b"\n" + LINE + END,
        BEGIN + b"\n" + LINE + END[:-1],
        b" \r\n\t" + BEGIN + b" \r\n" + LINE + END + b"\n \n",
        BEGIN + b"Version: GnuPG v1\nComment: \xc3\xa9 -----BEGIN\n\n" + LINE + END,
        BEGIN + b"\n" + LINE + b"=abcd\n" + END,
        BEGIN + b"\n" + LINE + b"=ab\n" + END,
        BEGIN + b"\n" + LINE + b"=\n" + END,
        BEGIN + b"\n\n" + LINE + b"\n" + END,
        BEGIN + b"\n" + b"\n".join(LINE[place : place + 1] for place in range(len(LINE))) + END,
        BEGIN + b"\n  " + LINE[:4] + b" \t\r\n " + LINE[4:-1] + b" \n" + END,
        BEGIN.replace(b"-\n", b"- \t\r\n") + b"\n" + LINE + END.replace(b"-\n", b"- \r\n"),
        BEGIN + b"\n" + LINE[:-2] + b"\n=\n" + END,
        armored(DATA),
        armored(DATA, newline="\r\n"),
        armored(DATA, "SIGNATURE"),
    ],
)
def test_one_block(text: bytes) -> None:
    """White space, headers and a checksum, be it right or wrong, take nothing from the data and add nothing."""
    assert read(text) == [DATA]


def test_several_blocks() -> None:
    """Blocks may follow each other; each is told apart."""
    assert read(armored(b"a") + armored(b"bb") + b"\n\n" + armored(b"ccc")) == [b"a", b"bb", b"ccc"]
    assert read(b" \r\n") == []
    assert read(BEGIN + b"\n" + END) == [b""]


@pytest.mark.parametrize(
    "text",
    [
        b"Here it is:\n" + armored(DATA),
        b"> " + armored(DATA),
        armored(DATA) + b"Thanks.",
        b"\xef\xbb\xbf" + armored(DATA),
        LINE,
        b"--" + LINE,
        b"----BEGIN PGP PUBLIC KEY BLOCK-----\n\n" + LINE + END,
        b"-----BEGIN PGP PUBLIC KEY BLOCK----\n\n" + LINE + END,
        b"-----BEGIN PGP MESSAGE-----\n\n" + LINE + b"-----END PGP MESSAGE-----\n",
        b"-----BEGIN " + b"x" * 1000,
        BEGIN + LINE + END,
        BEGIN + b"no colon\n\n" + LINE + END,
        BEGIN + b"Comment: " + b"x" * 8192 + b"\n\n" + LINE + END,
        BEGIN + b"Comment: x\n" * 1000 + b"\n" + LINE + END,
        BEGIN + b"\n" + LINE + b"-----END PGP SIGNATURE-----\n",
        BEGIN + b"\n" + LINE + b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
        BEGIN + b"\n" + LINE + b"-" * 100,
        BEGIN + b"\n" + LINE,
        BEGIN + b"\n" + LINE[:-1] + END,
        BEGIN + b"\n" + LINE[:6] + b"\n" + END,
        BEGIN + b"\n" + LINE[:-2] + b"\n" + END,
        BEGIN + b"\n" + LINE[:5] + b"=\n" + END,
        BEGIN + b"\n" + LINE + LINE + END,
        BEGIN + b"\n" + LINE + b"=abcde\n" + END,
        BEGIN + b"\n" + LINE + b"=abcd\n=abcd\n" + END,
        BEGIN + b"\n" + LINE + b"=abcd\n" + LINE + END,
        BEGIN + b"\n" + LINE + b"=ab*d\n" + END,
        BEGIN + b"\nab*d\n" + END,
        BEGIN + b"\nabcd=\n" + END,
        BEGIN + b"\nab d\n" + END,
        BEGIN + b"\nabcd abcd\n" + END,
        BEGIN + b"\nabcd\xc3\xa9\n" + END,
        BEGIN + b"\nabcd-\n" + END,
    ],
)
def test_faults(text: bytes) -> None:
    """Text beside the blocks, something else in them, or a block that is damaged or cut: 422."""
    with pytest.raises(BadUpload) as caught:
        read(text)
    assert caught.value.status == 422


def test_a_secret_key_is_named_as_such() -> None:
    """The kind of the block is enough to tell what nobody may send."""
    for kind in SECRET_KINDS:
        with pytest.raises(BadUpload) as caught:
            read(b"-----BEGIN %b-----\n\n" % kind)
        assert caught.value.text == SECRET_TEXT
    assert not set(KINDS) & set(SECRET_KINDS)


def test_a_plus_that_was_not_escaped() -> None:
    """A form makes a space of a bare plus; whoever sends such a form is told so."""
    with pytest.raises(BadUpload, match="%2B"):
        read(BEGIN + b"\nab cd\n" + END)


@given(
    data=st.binary(max_size=400),
    width=st.integers(1, 80),
    newline=st.sampled_from(["\n", "\r\n"]),
    cuts=st.sets(st.integers(0, 700)),
)
def test_lines_and_pieces_make_no_difference(data: bytes, width: int, newline: str, cuts: set[int]) -> None:
    """Lines of any length, in pieces of any length, are the same data."""
    digits = base64.b64encode(data).decode()
    lines = [digits[place : place + width] for place in range(0, len(digits), width)]
    # A `=` at the beginning of a line is a checksum: encoders do not cut there.
    if lines and lines[-1].startswith("="):
        lines[-2:] = ["".join(lines[-2:])]
    text = newline.join([BEGIN.decode().strip(), "", *lines, END.decode()]).encode()
    assert read(*cut(text, cuts)) == [data]


def test_what_came_before_a_fault_is_returned() -> None:
    """The first thing that is wrong is told, so what comes before a fault is to be looked at first."""
    reader = ArmorReader()
    assert reader.feed(BEGIN + b"\nYWJj*") == [b"abc"]
    assert reader.fault
    assert reader.feed(b"YWJj") == []
