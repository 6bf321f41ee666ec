"""What was paid and no record tells of: one writes, one reads."""

from __future__ import annotations

import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.payments import PAYMENT_BYTES, PAYMENT_NOTES, Payment, Payments

PAID = Payment(5, 2**64 - 1, 255, 3, bytes([192, 0, 2, 1]))


def memory() -> memoryview:
    """Return memory for the notes of one worker."""
    return memoryview(mmap.mmap(-1, PAYMENT_BYTES))


def test_memory_that_does_not_fit() -> None:
    """Too little memory is the caller's error and is named."""
    with pytest.raises(ValueError, match="payments"):
        Payments(memoryview(bytearray(PAYMENT_BYTES - 8)))


@given(
    st.lists(
        st.builds(
            Payment,
            st.integers(0, 2**61),
            st.integers(0, 2**64 - 1),
            st.integers(0, 255),
            st.integers(0, 2**40),
            st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
        )
    ),
    st.integers(1, 5),
)
def test_what_is_written_is_read_once(paid: list[Payment], most: int) -> None:
    """The reader gets each note as it was written, in order, a few at a time, and none twice."""
    shared = memory()
    writer, reader = Payments(shared), Payments(shared)
    assert all(writer.write(*each) for each in paid)
    taken = [each for _ in range(len(paid)) for each in reader.take(most)]
    assert taken == paid
    assert reader.take(most) == []


def test_a_full_memory_takes_no_more() -> None:
    """What finds no room is left out; there is room again when somebody has read."""
    payments = Payments(memory())
    assert [payments.write(*PAID) for _ in range(PAYMENT_NOTES + 1)] == [True] * PAYMENT_NOTES + [False]
    assert payments.take(1) == [PAID]
    assert payments.write(*PAID)
    assert not payments.write(*PAID)


@pytest.mark.parametrize(("kind", "address"), [(256, bytes(4)), (-1, bytes(4)), (0, bytes(5)), (0, b"")])
def test_what_is_no_payment(kind: int, address: bytes) -> None:
    """A kind or an address that cannot be is the caller's error."""
    with pytest.raises(ValueError, match="kind"):
        Payments(memory()).write(1, 1, kind, 1, address)


def test_noise_is_read_as_nothing_or_as_notes() -> None:
    """Whatever stands in the memory, the reader stays inside it and comes to an end."""
    for byte in (0x01, 0x7F, 0xFF):
        shared = memory()
        shared[:] = bytes([byte]) * PAYMENT_BYTES
        shared[:8] = (2**63).to_bytes(8, "little")
        payments = Payments(shared)
        assert len(payments.take(PAYMENT_NOTES)) <= PAYMENT_NOTES
        assert payments.take(PAYMENT_NOTES) == []
