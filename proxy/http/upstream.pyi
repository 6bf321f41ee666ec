"""The upstream side: one connection to a keyserver; the theory is in `upstream.pyx`."""

class UpstreamConnection:
    """The protocol of one connection to an upstream; serves one exchange at a time."""
