"""ASCII armor (RFC 9580 section 6) to bytes, as it comes."""

from typing import Final

from proxy.hkp.certs import BadUpload

KINDS: Final[tuple[bytes, ...]]
"""What may be in a block."""
SECRET_KINDS: Final[tuple[bytes, ...]]
SECRET_TEXT: Final[str]
"""What is said to somebody who sends a secret key."""

class ArmorReader:
    """Decodes armored blocks, fed in pieces; nothing but white space may stand around them.

    Attributes:
        fault: As of `FormReader`.

    """

    fault: BadUpload | None
    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the data in a piece of text, in order; None stands where a block ends.

        May set `fault`: 422: not armor, not of a public key, or damaged.
        """
    def finish(self) -> list[bytes | None]:
        """Take the end of the text; return what `feed` would. BadUpload if a block is not complete."""
