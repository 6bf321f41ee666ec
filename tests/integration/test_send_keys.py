"""An upload as gpg makes it: `gpg --send-keys` to a keyserver that keeps what it gets."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, ClassVar

from proxy.hkp.uploads import UploadBounds, UploadKind, UploadReader, upload_kind
from tests.certs_for_tests import cut
from tests.integration.gnupg import gnupg
from tests.integration.programs import LOOPBACK

if TYPE_CHECKING:
    from proxy.hkp.uploads import Cert
    from tests.integration.conftest import Need

LATER_S = 4_000_000_000


class Listener(BaseHTTPRequestHandler):
    """A keyserver that takes every upload and keeps it."""

    uploads: ClassVar[list[tuple[str, bytes]]]

    def do_POST(self) -> None:
        """Keep the body."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.uploads.append((self.headers["Content-Type"], body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def read(*pieces: bytes) -> Cert:
    """Return the one certificate in a form, with the default bounds."""
    reader = UploadReader(UploadKind.FORM, UploadBounds(), LATER_S)
    for piece in pieces:
        reader.feed(piece)
    (cert,) = reader.finish().certs
    return cert


def test_what_gpg_sends(need: Need) -> None:
    """The form that gpg writes is read, whole and byte by byte, and holds the certificate that was to be sent."""
    need("gpg", "dirmngr")
    listener = type("KeptHere", (Listener,), {"uploads": []})
    with HTTPServer((LOOPBACK, 0), listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with gnupg(f"hkp://{LOOPBACK}:{server.server_port}") as gpg:
            names = [gpg.make(f"{name} <{name}@example.org>") for name in ("alice", "bob")]
            gpg.done("--send-keys", *names)
        server.shutdown()
    assert len(listener.uploads) == len(names)
    for name, (content_type, body) in zip(names, listener.uploads, strict=True):
        assert upload_kind(content_type.encode()) is UploadKind.FORM
        cert = read(body)
        assert (cert.fingerprint, cert.third_party) == (name, 0)
        assert cert == read(*cut(body, range(len(body))))
