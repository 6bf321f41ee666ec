"""How keys are called."""

import pytest

from proxy.hkp.fingerprints import key_name
from tests.certs_for_tests import key, mpi, noise


@pytest.mark.parametrize(
    ("body", "fingerprint", "key_id"),
    [
        (
            "0453f35f0b16092b06010401da470f010107403f098994bdd916ed4053197934e4a87c80733a1280d62f8010992e43ee3b2406",
            "C959BDBAFA32A2F89A153B678CFDE12197965A9A",
            "8CFDE12197965A9A",
        ),
        (
            "0663877fe31b00000020f94da7bb48d60a61e567706a6587d0331999bb9d891a08242ead84543df895a3",
            "CB186C4F0609A697E4D52DFA6C722B0C1F1E27C18A56708F6525EC27BAD9ACC9",
            "CB186C4F0609A697",
        ),
    ],
)
def test_keys_of_the_standard(body: str, fingerprint: str, key_id: str) -> None:
    """The keys of RFC 9580, appendices A.1 (version 4) and A.3 (version 6), have the names that it gives them."""
    assert key_name(bytes.fromhex(body)) == (bytes.fromhex(fingerprint), bytes.fromhex(key_id))


@pytest.mark.parametrize("version", [3, 4, 5, 6])
def test_each_version(version: int) -> None:
    """The names of all versions are those that the generator computes by itself."""
    made = key(1, version=version)
    assert key_name(made.body) == (made.fingerprint, made.key_id)


HEAD = b"\x03" + bytes(6) + b"\x01"
NUMBERS = mpi(b"\x80" + noise(0, 127)) + mpi(b"\x11")


@pytest.mark.parametrize(
    "body",
    [
        HEAD[:7],
        HEAD,
        HEAD + NUMBERS[:-3],
        HEAD + NUMBERS[:-1],
        HEAD + NUMBERS + b"\0",
        HEAD + NUMBERS + mpi(b"\x11"),
        HEAD + mpi(b"\x11") * 2,
        HEAD + b"\xff\xff" * 4000,
        HEAD + bytes(8000),
        b"\x06" + bytes(6),
        key(0, version=6).body[:-1],
        key(0, version=5).body + b"\0",
    ],
)
def test_malformed(body: bytes) -> None:
    """A body whose numbers or lengths do not fill it exactly has no name."""
    assert key_name(body) is None
