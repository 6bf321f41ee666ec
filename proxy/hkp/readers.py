"""Which reader looks at the body of which request."""

import time
from collections.abc import Callable
from typing import Final

from proxy.hkp.bodies import BadBody, BodyReader
from proxy.hkp.canonical import decode_query
from proxy.hkp.classes import OperationClass
from proxy.hkp.mail import MailReader
from proxy.hkp.recon import HashqueryReader
from proxy.hkp.uploads import UploadBounds, UploadKind, UploadReader, upload_kind

# Hagrid's own pages: they take forms with files, which no keyserver protocol knows, and it looks at them itself.
PAGES: Final = ("/upload", "/verify", "/manage")
PROTOCOLS: Final = ("/pks/", "/vks/")
_IN_THE_QUERY: Final = BadBody(400, "A certificate belongs in the body of the request.")
_NO_KIND: Final = BadBody(400, "The content type of the upload is none that a keyserver reads.")
_ENCODED: Final = BadBody(400, "An upload must not have a Content-Encoding.")


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
        if kind == OperationClass.SYNC:
            return HashqueryReader(self._most_digests, length)
        if kind == OperationClass.MAIL:
            return MailReader()
        if kind == OperationClass.UPLOAD and self._uploads is not None:
            return self._upload(self._uploads, target.decode("ascii"), content_type, encoded=encoded)
        return None

    def _upload(
        self, bounds: UploadBounds, target: str, content_type: bytes | None, *, encoded: bool
    ) -> BodyReader | None:
        path, _, query = target.partition("?")
        if path.startswith(PAGES):
            return None
        if encoded:
            raise _ENCODED
        if "keytext" in map(str.lower, decode_query(query)):  # some servers look there as well
            raise _IN_THE_QUERY
        # `curl -T` names no type, and what it puts is a file.
        wrapped = upload_kind(content_type) if path.startswith(PROTOCOLS) else UploadKind.BINARY
        if wrapped is None:
            raise _NO_KIND
        return UploadReader(wrapped, bounds, int(self._clock()))
