"""The client's side of TLS for tests, and certificates that the openssl command makes."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import pytest

from tests.proxy.http.harness import SAFETY_SECONDS, Wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

HOST: Final = "keys.example"
KEYS: Final = {"ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"), "rsa": ("-newkey", "rsa:2048")}


class Pair(NamedTuple):
    """A certificate for HOST and localhost that vouches for itself, and its key."""

    cert: Path
    key: Path


def program(name: str) -> str:
    """Return where a program is; the test is skipped without it, and fails under CI=true."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"CI=true, but {name} cannot be found on this machine.")
    if found is None:
        pytest.skip(f"This test needs {name}, which this machine does not have.")
    return found


def make_pair(folder: Path, kind: str, name: str) -> Pair:
    """Make files in `folder`; `kind` is a key of KEYS."""
    pair = Pair(folder / f"{name}.cert.pem", folder / f"{name}.key.pem")
    subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{HOST},DNS:localhost")
    files = ("-out", str(pair.cert), "-keyout", str(pair.key))
    command = (program("openssl"), "req", "-x509", "-noenc", "-days", "2", *KEYS[kind], *subject, *files)
    subprocess.run(command, check=True, capture_output=True)
    return pair


def trusting(*pairs: Pair, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """Return a client's context that believes these certificates and speaks one version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    for pair in pairs:
        context.load_verify_locations(pair.cert)
    return context


class TlsWire(Wire):
    """A Wire whose bytes are encrypted; `send`, `more` and what is made of them are in plaintext."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        name: str | None = HOST,
        session: ssl.SSLSession | None = None,
    ) -> None:
        """Own `sock`; `name` is sent and compared with the certificate, `session` is one to resume."""
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=session)

    def hello(self) -> bytes:
        """Begin the handshake; return what is to be sent."""
        return self._first(self.tls.do_handshake)

    def sealed(self, data: bytes) -> bytes:
        """Return `data` as records, to be sent by hand."""
        self.tls.write(data)
        return self._outgoing.read()

    def pending(self) -> bytes:
        """Return what is to be sent by now, to be sent by hand."""
        return self._outgoing.read()

    def key_update(self, *, asked: bool) -> bytes:
        """Return a change of our keys (TLS 1.3), to be sent by hand; `asked`: the other side shall change its own too.

        Python cannot ask OpenSSL for it, so we do: the SSL is the second word of the C object (since Python 3.6).
        """
        try:
            openssl = ctypes.CDLL("libssl.so.3")
        except OSError:
            pytest.skip("This test needs the OpenSSL of the system.")
        words = object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
        its = ctypes.c_void_p.from_address(id(self.tls._sslobj) + words)  # type: ignore[attr-defined]
        assert openssl.SSL_key_update(its, int(asked)) == 1
        self.tls.do_handshake()
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """Return a close_notify, to be sent by hand."""
        return self._first(self.tls.unwrap)

    async def shake(self, first: bytes = b"") -> None:
        """Go through with the handshake; `first` leaves together with the end of it."""

        def step() -> None:
            self.tls.do_handshake()
            if first:
                self.tls.write(first)

        await self._do(step)

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        await super().send(data)

    async def send(self, *pieces: bytes) -> None:
        """Send the pieces, each in records of its own."""
        for piece in pieces:
            await super().send(self.sealed(piece))

    async def more(self) -> bool:
        """Read what comes next into `buffer`; False at a proper end."""
        try:
            data = await self._do(lambda: self.tls.read(65536))
        except ssl.SSLZeroReturnError:  # after our own
            return False
        self.buffer += data
        return bool(data)

    async def rest(self) -> bytes:
        """Return the bytes that come until the end, as they are."""
        data = b""
        async with asyncio.timeout(SAFETY_SECONDS):
            while piece := await self._loop.sock_recv(self.sock, 65536):
                data += piece
        return data

    def _first(self, step: Callable[[], object]) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            step()
        return self._outgoing.read()

    async def _do(self, step: Callable[[], T]) -> T:
        """Take `step` as often as it wants, and send and receive what it wants."""
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                await super().send(self._outgoing.read())
                await self._receive()
                continue
            if self._outgoing.pending:
                await super().send(self._outgoing.read())
            return done

    async def _receive(self) -> None:
        async with asyncio.timeout(SAFETY_SECONDS):
            data = await self._loop.sock_recv(self.sock, 65536)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
