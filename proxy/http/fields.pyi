"""Field lines: what requests and replies have in common; the work is done in C, for `head.pyx`."""

NO_LENGTH: int
"""The end of the connection ends the body, or there is none."""
CHUNKED: int
"""The body is in the chunked coding."""

class HeadError(ValueError):
    """A head that is refused; `status` is the HTTP status that says why."""

    status: int
    def __init__(self, status: int, why: str) -> None: ...
