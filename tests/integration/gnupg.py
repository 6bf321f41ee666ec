"""GnuPG with a home and a dirmngr of its own, and certificates for it to ask for."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pysequoia import Profile, Tsk

from tests.integration.programs import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pysequoia import Cert

MOST_SOCKET_PATH = 107  # bytes: sun_path of a Unix socket, without its end
UNKNOWN_FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"


class Said(NamedTuple):
    """How a run of gpg ended."""

    status: int
    out: str
    err: str


class Gpg:
    """Gpg with a home and a keyserver."""

    def __init__(self, home: Path, server: str, within: Sequence[str] = ()) -> None:
        """`server`: hkp://host:port; `within`: a command that runs another one."""
        self._options = [*within, "gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--with-colons"]
        self.home = home
        self._server = ["--keyserver", server]

    def __call__(self, *arguments: str, seconds: float = 30.0) -> Said:
        """Run it; a run that does not end in time fails the test."""
        done = run(*self._options, *self._server, *arguments, seconds=seconds)
        return Said(done.returncode, done.stdout, done.stderr)

    def done(self, *arguments: str) -> str:
        """Run it, expect success, and return what it said on both outputs."""
        said = self(*arguments)
        assert said.status == 0, said.err
        return said.out + said.err

    def import_(self, certs: bytes) -> None:
        """Put certificates into its keyring."""
        subprocess.run([*self._options, "--import"], input=certs, capture_output=True, check=True, timeout=60)

    def make(self, name: str) -> str:
        """Make a key and return its fingerprint."""
        self.done("--quick-generate-key", name, "future-default")
        lines = (line.split(":") for line in self.done("--list-keys", name).splitlines())
        return next(fields[9] for fields in lines if fields[0] == "fpr")


@contextmanager
def gnupg(server: str, within: Sequence[str] = ()) -> Iterator[Gpg]:
    """Give an empty GnuPG home, and stop what GnuPG started for it."""
    home = Path(tempfile.mkdtemp(prefix="gpg"))
    assert len(f"{home}/S.gpg-agent.browser") <= MOST_SOCKET_PATH, "TMPDIR is too long for GnuPG's sockets"
    try:
        yield Gpg(home, server, within)
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True, timeout=20)
        shutil.rmtree(home, ignore_errors=True)  # the agent takes away its sockets at the same time


def make_cert(name: str) -> Cert:
    """Make a certificate that gpg 2.2 can read."""
    return Tsk.generate(user_ids=[name], profile=Profile.RFC4880).extract_certificate()
