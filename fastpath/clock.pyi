"""The one clock of all processes of a node: CLOCK_MONOTONIC in nanoseconds."""

def monotonic_ns() -> int:
    """Return CLOCK_MONOTONIC, ns; the same clock as `time.monotonic_ns`, at a C caller's price."""
