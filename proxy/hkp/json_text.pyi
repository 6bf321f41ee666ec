"""The `keytext` of a JSON object, `{"keytext": "..."}`, decoded as it comes."""

from proxy.hkp.certs import BadUpload

class JsonReader:
    """Finds `keytext` in a flat object, fed in pieces; other members are bounded and thrown away.

    Attributes:
        fault: Why no more is read, None while all is well. Raise it after what came before it was looked at: so the
            first thing that is wrong with an upload is what is told, in whatever pieces it comes.

    """

    fault: BadUpload | None
    def feed(self, data: bytes) -> bytes:
        """Return what of `keytext` is in a piece, decoded; maybe nothing. What is not ASCII comes as `?`.

        May set `fault`: 400: malformed, or not flat; 413: other members are too large; 422: a second keytext.
        """
    def finish(self) -> None:
        """Take the end of the body; BadUpload if the object is not complete or had no keytext."""
