"""An authority for certificates of TLS, which nobody believes but clients that a test tells to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.integration.programs import run

if TYPE_CHECKING:
    from pathlib import Path


class Authority(NamedTuple):
    """Issues certificates for names of this machine."""

    openssl: str
    folder: Path

    @property
    def cert(self) -> Path:
        """What clients believe."""
        return self.folder / "ca.pem"

    @classmethod
    def make(cls, openssl: str, folder: Path) -> Authority:
        """Make one in `folder`."""
        made = cls(openssl, folder)
        made.run("req", "-x509", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")
        return made

    def issue(self, serial: int, name: str = "localhost") -> None:
        """Write node.pem and node.key, in place of those that are there."""
        names = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1")
        issuer = ("-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", str(serial))
        self.run(
            "req",
            "-x509",
            *names,
            *issuer,
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            "node.key",
            "-out",
            "node.pem",
        )

    def run(self, verb: str, *arguments: str) -> None:
        """Run openssl in the folder; keys are P-256."""
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2")
        done = run(self.openssl, verb, *key, *arguments, folder=self.folder)
        assert done.returncode == 0, done.stderr
