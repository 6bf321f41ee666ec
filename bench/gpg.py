"""Real gpg with a home, a keyring and a dirmngr of its own."""

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pysequoia import Cert, Profile, Tsk

DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-keyring.gpg")  # of the package debian-keyring
IMPORT_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 20.0
_PROCESSED = re.compile(r"^gpg: Total number processed: (\d+)", re.MULTILINE)
_UNCHANGED = re.compile(r"^gpg: +unchanged: (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What came of a refresh.

    Attributes:
        seconds: How long it took.
        keys: How many there are in the keyring.
        fetched: How many of them gpg has read again.
        unchanged: How many of these were as they had been.
        status: What gpg ended with; None: it was ended.

    """

    seconds: float
    keys: int
    fetched: int
    unchanged: int
    status: int | None

    @property
    def lost(self) -> int:
        """How many may have been revoked without anybody noticing."""
        return self.keys - self.fetched


def make_certificates(folder: Path, count: int) -> None:
    """Write `count` made-up certificates that gpg 2.2 can read, each in `<fingerprint>.asc`."""
    for number in range(count):
        user_id = f"Person {number} <{number}@example.org>"
        _write(folder, Tsk.generate(user_ids=[user_id], profile=Profile.RFC4880).extract_certificate())


def take_certificates(folder: Path, most: int) -> int:
    """Write certificates of Debian's developers in the same way, at most `most`; return how many there were."""
    found = Cert.split_file(str(DEBIAN_KEYRING))[:most] if DEBIAN_KEYRING.exists() else []
    for certificate in found:
        _write(folder, certificate)
    return len(found)


def _write(folder: Path, certificate: Cert) -> None:
    (folder / f"{certificate.fingerprint.upper()}.asc").write_text(str(certificate))


class Gpg:
    """One person's."""

    def __init__(self, home: Path) -> None:
        """Take an empty folder."""
        self._command = ["gpg", "--homedir", str(home), "--batch"]
        self._keys = 0

    def take(self, certificates: Sequence[Path]) -> None:
        """Put certificates into the keyring, without what others have signed: so gpg takes them from keyservers."""
        self._keys = len(certificates)
        self._run("--import-options", "self-sigs-only", "--import", *map(str, certificates), timeout_s=IMPORT_TIMEOUT_S)

    def refresh(self, keyserver: str, timeout_s: float) -> Refreshed:
        """Refresh the keyring from `keyserver` (hkp://host:port)."""
        begun_s = time.monotonic()
        status: int | None = None
        try:
            done = self._run("--keyserver", keyserver, "--refresh-keys", timeout_s=timeout_s)
            said, status = done.stderr, done.returncode
        except subprocess.TimeoutExpired as late:
            said = (late.stderr or b"").decode(errors="replace")
        took_s = time.monotonic() - begun_s
        return Refreshed(
            seconds=took_s, keys=self._keys, fetched=processed(said), unchanged=unchanged(said), status=status
        )

    def _run(self, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["env", "LC_ALL=C", *self._command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # names of the nineties
            check=False,
            timeout=timeout_s,
        )


def processed(said: str) -> int:
    """Return how many certificates gpg says that it has read; it says nothing if there was none."""
    return _count(_PROCESSED, said)


def unchanged(said: str) -> int:
    """Return how many of them had nothing new, as gpg says."""
    return _count(_UNCHANGED, said)


def _count(line: re.Pattern[str], said: str) -> int:
    found = line.search(said)
    return int(found[1]) if found else 0


@contextmanager
def gnupg() -> Iterator[Gpg]:
    """Give a gpg with an empty home, and stop what it has started."""
    home = Path(tempfile.mkdtemp(prefix="gpg"))  # short: there are sockets in it
    try:
        yield Gpg(home)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, timeout=STOP_TIMEOUT_S)
        shutil.rmtree(home, ignore_errors=True)
