"""Which reader looks at the body of which request."""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from proxy.hkp.bodies import BadBody, BodyReader
from proxy.hkp.classes import OperationClass
from proxy.hkp.mail import MailReader
from proxy.hkp.recon import HashqueryReader
from proxy.hkp.uploads import UploadBounds, UploadKind, UploadReader, upload_kind

# Hagrid's own pages: they take forms with files, which no keyserver protocol knows, and it looks at them itself.
PAGES: Final = ("/upload", "/verify", "/manage")
PROTOCOLS: Final = ("/pks/", "/vks/")


class Readers:
    """Makes the reader for a body; immutable, one for a policy."""

    def __init__(
        self, *, most_digests: int, uploads: UploadBounds | None, clock: Callable[[], float] = time.time
    ) -> None:
        """See the settings.

        Args:
            most_digests: Of a hashquery.
            uploads: What an upload may hold; None: nobody looks.
            clock: Seconds since 1970.

        """
        self._most_digests = most_digests
        self._uploads = uploads
        self._clock = clock

    def __call__(
        self, kind: int, target: bytes, content_type: bytes | None, length: int, *, encoded: bool = False
    ) -> BodyReader | None:
        """Return a reader; None: nobody needs to look at such a body.

        Args:
            kind: The `OperationClass`.
            target: Canonical target.
            content_type: As sent, None if it was not.
            length: Bytes that were announced; negative: it is not known.
            encoded: There is a Content-Encoding: what a reader would see is not what is in it.

        Raises:
            BadBody: No body of that kind can be right.

        """
        path = target.decode("ascii").partition("?")[0]
        make = self._maker(kind, path, content_type, length)
        if make is not None and encoded:
            raise BadBody(400, "The body must not have a Content-Encoding.")
        return None if make is None else make()

    def _maker(self, kind: int, path: str, content_type: bytes | None, length: int) -> Callable[[], BodyReader] | None:
        """Return what makes the reader, None if nobody looks."""
        if kind == OperationClass.SYNC:
            return partial(HashqueryReader, self._most_digests, length)
        if kind == OperationClass.MAIL:
            return partial(MailReader, content_type)
        if kind == OperationClass.UPLOAD and self._uploads is not None and not path.startswith(PAGES):
            return partial(self._upload, self._uploads, path, content_type)
        return None

    def _upload(self, bounds: UploadBounds, path: str, content_type: bytes | None) -> BodyReader:
        # `curl -T` names no type, and what it puts is a file.
        wrapped = upload_kind(content_type) if path.startswith(PROTOCOLS) else UploadKind.BINARY
        if wrapped is None:
            raise BadBody(400, "The content type of the upload is none that a keyserver reads.")
        return UploadReader(wrapped, bounds, int(self._clock()))
