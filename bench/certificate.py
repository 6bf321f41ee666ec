"""A certificate for what speaks TLS: self-signed, ECDSA on P-256, made with openssl for each run."""

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

DAYS = 2
MAKE_TIMEOUT_S = 20.0


class Certificate(NamedTuple):
    """PEM files."""

    cert: Path
    key: Path
    both: Path  # as HAProxy wants it


def certificate(folder: Path) -> Certificate:
    """Return the certificate in `folder`; all programs of a run share the one that the first asks for."""
    made = Certificate(folder / "cert.pem", folder / "key.pem", folder / "both.pem")
    if not made.both.exists():
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", str(DAYS)]
        command += ["-keyout", str(made.key), "-out", str(made.cert)]
        subprocess.run(command, check=True, capture_output=True, timeout=MAKE_TIMEOUT_S)
        made.both.write_bytes(made.cert.read_bytes() + made.key.read_bytes())
    return made


def unchecked() -> ssl.SSLContext:
    """Return the settings of a client that takes any certificate: it is ours, and the server on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
