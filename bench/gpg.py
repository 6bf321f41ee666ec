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

from pysequoia import Profile, Tsk

IMPORT_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
_PROCESSED = re.compile(r"^gpg: Total number processed: (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What came of a refresh.

    Attributes:
        seconds: How long it took.
        keys: How many there are in the keyring.
        fetched: How many of them gpg has read again.
        status: What gpg ended with; None: it was ended.

    """

    seconds: float
    keys: int
    fetched: int
    status: int | None

    @property
    def lost(self) -> int:
        """How many may have been revoked without anybody noticing."""
        return self.keys - self.fetched


def make_certificates(folder: Path, count: int) -> None:
    """Write `count` made-up certificates that gpg 2.2 can read, each in `<fingerprint>.asc`."""
    for number in range(count):
        user_id = f"Person {number} <{number}@example.org>"
        certificate = Tsk.generate(user_ids=[user_id], profile=Profile.RFC4880).extract_certificate()
        (folder / f"{certificate.fingerprint.upper()}.asc").write_text(str(certificate))


class Gpg:
    """One person's."""

    def __init__(self, home: Path) -> None:
        """Take an empty folder."""
        self._command = ["gpg", "--homedir", str(home), "--batch"]
        self._keys = 0

    def take(self, certificates: Sequence[Path]) -> None:
        """Put certificates into the keyring."""
        self._keys = len(certificates)
        self._run("--import", *map(str, certificates), timeout_s=IMPORT_TIMEOUT_S)

    def refresh(self, keyserver: str, timeout_s: float) -> Refreshed:
        """Refresh the keyring from `keyserver` (hkp://host:port)."""
        begun_s = time.monotonic()
        status: int | None = None
        try:
            done = self._run("--keyserver", keyserver, "--refresh-keys", timeout_s=timeout_s)
            said, status = done.stderr, done.returncode
        except subprocess.TimeoutExpired as late:
            said = (late.stderr or b"").decode(errors="replace")
        return Refreshed(seconds=time.monotonic() - begun_s, keys=self._keys, fetched=processed(said), status=status)

    def _run(self, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["env", "LC_ALL=C", *self._command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )


def processed(said: str) -> int:
    """Return how many certificates gpg says that it has read; it says nothing if there was none."""
    found = _PROCESSED.search(said)
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
