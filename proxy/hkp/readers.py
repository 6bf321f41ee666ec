"""Which reader looks at the body of which request."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.hkp.bodies import BodyReader


class Readers:
    """Makes the reader for a body; immutable, one for a process."""

    def __call__(self, kind: int, target: bytes, content_type: bytes | None, length: int) -> "BodyReader | None":
        """Return a reader; None: nobody needs to look at such a body.

        Args:
            kind: The `OperationClass`.
            target: Canonical target.
            content_type: As sent, None if it was not.
            length: Bytes that were announced; negative: it is not known.

        Raises:
            BadBody: No body of that kind can be right.

        """
        del kind, target, content_type, length
        return None
