"""A walk over the packets of certificates (RFC 9580 sections 4, 5 and 10.1) as they come, with the bounds first."""

from proxy.hkp.certs import Cert, UploadBounds

class PacketWalk:
    """Reads certificates in binary form, fed in pieces."""

    def __init__(self, bounds: UploadBounds, now_s: int) -> None:
        """`now_s`: seconds since 1970."""
    def feed(self, data: bytes) -> None:
        """Read on.

        Raises:
            BadUpload: 413: beyond a bound; 422: malformed, or not what belongs in a certificate.

        """
    def end_block(self) -> None:
        """Take the end of an armored block: the next one begins with a new certificate. BadUpload as for `feed`."""
    def finish(self) -> tuple[Cert, ...]:
        """Take the end of the upload; return what was in it. BadUpload if that is nothing, or not complete."""
