"""The `keytext` of a form (application/x-www-form-urlencoded), decoded as it comes."""

from proxy.hkp.certs import BadUpload

class FormReader:
    """Finds `keytext` in a form, fed in pieces; other fields are bounded and thrown away.

    Attributes:
        fault: Why no more is read, None while all is well. Raise it after what came before it was looked at: so the
            first thing that is wrong with an upload is what is told, in whatever pieces it comes.

    """

    fault: BadUpload | None
    def feed(self, data: bytes) -> bytes:
        """Return what of `keytext` is in a piece, decoded; maybe nothing. May set `fault`.

        400: malformed; 413: other fields are too large; 422: a second keytext.
        """
    def finish(self) -> None:
        """Take the end of the body; BadUpload if it ends in an escape or there was no keytext."""
