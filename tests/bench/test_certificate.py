"""The certificate of the bench."""

import shutil
import ssl
from pathlib import Path

import pytest

from bench.certificate import certificate

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")


def test_it_is_made_once_and_can_be_served(tmp_path: Path) -> None:
    """All programs of a run serve the same one, as two files or as one."""
    made = certificate(tmp_path)
    before = made.both.read_bytes()
    assert certificate(tmp_path) == made
    assert made.both.read_bytes() == before
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.cert, made.key)
    context.load_cert_chain(made.both)
    assert "prime256v1" in _text(made.cert)


def _text(cert: Path) -> str:
    der = ssl.PEM_cert_to_DER_cert(cert.read_text())
    return "prime256v1" if bytes.fromhex("06082a8648ce3d030107") in der else "another curve"
