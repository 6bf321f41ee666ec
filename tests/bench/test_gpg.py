"""What gpg says, and what it is given."""

from pathlib import Path

import pytest
from pysequoia import Cert

from bench.gpg import DEBIAN_KEYRING, Refreshed, make_certificates, processed, take_certificates, unchanged

SAID = "gpg: refreshing 3 keys from hkp://127.0.0.1:1\ngpg: Total number processed: 2\ngpg:              unchanged: 2\n"


@pytest.mark.parametrize(
    ("said", "count"),
    [(SAID, 2), ("gpg: keyserver refresh failed: No data\n", 0), ("", 0), ("no gpg: Total number processed: 9", 0)],
)
def test_gpg_tells_how_many_it_has_read(said: str, count: int) -> None:
    """Nothing at all, if it has read none; those without anything new are counted beside."""
    assert processed(said) == unchanged(said) == count


def test_what_was_not_fetched_is_lost() -> None:
    """Whatever gpg ended with: it may be content."""
    assert Refreshed(seconds=1.0, keys=300, fetched=293, unchanged=290, status=0).lost == 7


def test_certificates_are_such(tmp_path: Path) -> None:
    """Each in a file with its name, and armored."""
    make_certificates(tmp_path, 3)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert [Cert.from_file(str(path)).fingerprint.upper() for path in files] == [path.stem for path in files]
    assert all(path.read_text().startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----") for path in files)


def test_developers_come_first(tmp_path: Path) -> None:
    """Debian's keyring gives as many as are wanted, if the machine has it."""
    assert take_certificates(tmp_path, 2) == (2 if DEBIAN_KEYRING.exists() else 0)
    assert all(Cert.from_file(str(path)).fingerprint.upper() == path.stem for path in tmp_path.iterdir())
