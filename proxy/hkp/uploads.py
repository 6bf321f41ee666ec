"""Uploads: what a body holds, before the keyserver sees it.

    body > form or JSON > armor > packets > certificates

All of it is read as it comes, each byte once, with the bounds first and without the mathematics of signatures.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final, Protocol

from proxy.hkp.armor import ArmorReader
from proxy.hkp.certs import BadUpload, Cert, Upload, UploadBounds
from proxy.hkp.form import FormReader
from proxy.hkp.json_text import JsonReader
from proxy.hkp.packets import PacketWalk

__all__ = ["BadUpload", "Cert", "Upload", "UploadBounds", "UploadKind", "UploadReader", "upload_kind"]

PACKET: Final = 0x80
"""The bit that each packet begins with; no armor does."""


class UploadKind(Enum):
    """How the certificates are wrapped."""

    FORM = "form"
    BINARY = "binary"  # packets, or armor without a wrapping: the first byte tells
    JSON = "json"


_KINDS: Final[Mapping[bytes, UploadKind]] = {
    b"application/x-www-form-urlencoded": UploadKind.FORM,
    b"application/pgp-keys": UploadKind.BINARY,
    b"application/pgp": UploadKind.BINARY,
    b"application/octet-stream": UploadKind.BINARY,
    b"application/json": UploadKind.JSON,
}


def upload_kind(content_type: bytes | None) -> UploadKind | None:
    """Return how a body of this content type is read, None if nobody here can; parameters do not count."""
    return _KINDS.get((content_type or b"").partition(b";")[0].strip().lower())


class UploadReader:
    """Reads one upload, fed in pieces; a piece of 64 KiB takes less than a millisecond."""

    def __init__(self, kind: UploadKind, bounds: UploadBounds, now_s: int) -> None:
        """`now_s`: seconds since 1970."""
        self._wrapping = _WRAPPINGS[kind]()
        self._armor: ArmorReader | None = ArmorReader()
        self._walk = PacketWalk(bounds, now_s)
        self._may_be_binary = kind is UploadKind.BINARY

    def feed(self, data: bytes) -> None:
        """Read on.

        Raises:
            BadUpload: As soon as something is wrong. Feed no more then.

        """
        text = self._wrapping.feed(data)
        if text and self._may_be_binary:
            self._may_be_binary = False
            if text[0] & PACKET:
                self._armor = None
        if self._armor is None:
            self._walk.feed(text)
        else:
            self._decoded(self._armor.feed(text))
            _raise(self._armor.fault)
        _raise(self._wrapping.fault)

    def finish(self) -> Upload:
        """Return what is in it, once all of it came; BadUpload if it is not complete."""
        self._wrapping.finish()
        if self._armor is not None:
            self._decoded(self._armor.finish())
        return Upload(self._walk.finish())

    def _decoded(self, pieces: list[bytes | None]) -> None:
        for piece in pieces:
            if piece is None:
                self._walk.end_block()
            else:
                self._walk.feed(piece)


def _raise(fault: BadUpload | None) -> None:
    if fault is not None:  # which is kept; its traceback would know who keeps it
        raise BadUpload(fault.status, fault.text)


class _Wrapping(Protocol):
    """What certificates are wrapped in: returns what is inside, and what came before a fault."""

    @property
    def fault(self) -> BadUpload | None: ...

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> None: ...


class _Unwrapped:
    """Nothing."""

    fault: BadUpload | None = None

    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> None:
        pass


_WRAPPINGS: Final[Mapping[UploadKind, type[_Wrapping]]] = {
    UploadKind.FORM: FormReader,
    UploadKind.BINARY: _Unwrapped,
    UploadKind.JSON: JsonReader,
}
