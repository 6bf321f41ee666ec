"""Excerpts: what is written is read once, in order, and nothing of it is left behind."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.excerpts import EXCERPT_BYTES, Excerpts

Shared = Callable[[int], memoryview]
HEAD, TAIL, TEXTS = 0, 8, 128
ROOM = 256
CLIENT = 2**64 - 1


def test_text_comes_back_once(shared: Shared) -> None:
    """Whoever maps the same memory reads what was written, in its order; the first 64 bytes of it."""
    memory = shared(EXCERPT_BYTES)
    writer, reader = Excerpts(memory), Excerpts(memory)
    assert writer.write(CLIENT, b"Alice <alice@example.org>")
    assert writer.write(0, b"x" * 63 + b"yz")
    assert reader.take() == [(CLIENT, b"Alice <alice@example.org>"), (0, b"x" * 63 + b"y")]
    assert reader.take() == []


@given(texts=st.lists(st.binary(max_size=80), max_size=20))
def test_any_text(texts: list[bytes]) -> None:
    """Any bytes may be in a text; only zeros at its end are lost."""
    excerpts = Excerpts(memoryview(bytearray(EXCERPT_BYTES)))
    assert all(excerpts.write(number, text) for number, text in enumerate(texts))
    assert excerpts.take() == [(number, text[:64].rstrip(b"\0")) for number, text in enumerate(texts)]


def test_what_finds_no_room_is_left_out(shared: Shared) -> None:
    """Nobody waits for the reader, and what is there already stays."""
    excerpts = Excerpts(shared(EXCERPT_BYTES))
    for _ in range(3):
        assert [excerpts.write(number, b"a") for number in range(ROOM + 2)] == [True] * ROOM + [False] * 2
        assert excerpts.take() == [(number, b"a") for number in range(ROOM)]


def test_what_was_read_is_wiped(shared: Shared) -> None:
    """Texts are personal data: none stays in memory that nobody will look at again."""
    memory = shared(EXCERPT_BYTES)
    excerpts = Excerpts(memory)
    for number in range(ROOM + 10):
        excerpts.write(number, b"Alice")
        excerpts.take()
    assert not any(memory[TEXTS:])


def test_senseless_words(shared: Shared) -> None:
    """Whatever stands in its words, the reader ends, and goes on with what comes next."""
    memory = shared(EXCERPT_BYTES)
    excerpts = Excerpts(memory)
    memory.cast("Q")[HEAD] = ROOM + 1
    assert excerpts.take() == []
    assert memory.cast("Q")[TAIL] == ROOM + 1
    assert excerpts.write(1, b"b")
    assert excerpts.take() == [(1, b"b")]


def test_memory_that_does_not_fit(shared: Shared) -> None:
    """Too little memory is refused, as is a text that is none."""
    with pytest.raises(ValueError, match="excerpts"):
        Excerpts(shared(EXCERPT_BYTES)[:-8])
    with pytest.raises(TypeError):
        Excerpts(shared(EXCERPT_BYTES)).write(1, None)  # type: ignore[arg-type]
