"""What reads request bodies before the keyserver gets them: the contract, and how it objects."""

from typing import Protocol


class BadBody(Exception):
    """A body that is refused.

    Attributes:
        status: 400, 413 or 422.
        text: Why, one plain line for the client; it repeats nothing that the client sent.

    """

    def __init__(self, status: int, text: str) -> None:
        """See the attributes."""
        super().__init__(text)
        self.status = status
        self.text = text


class BodyReader(Protocol):
    """Reads one body, piece by piece; a piece costs less than a millisecond for each 64 KiB."""

    def feed(self, data: bytes) -> None:
        """Read on; BadBody as soon as something is wrong."""

    def finish(self) -> object:
        """Return what was read, once all of it came; BadBody if that is not enough."""
