"""The compiled loop of the open-loop generator."""

from array import array

def drive(
    epoll: int,
    descriptors: list[int],
    heads: list[bytes],
    end: bytes,
    interval_ns: int,
    waited_us: array[float],
    late_us: array[float],
    patience_ns: int,
) -> None:
    """Send one request each `interval_ns` until `waited_us` is full.

    Args:
        epoll: Epoll descriptor that watches all of `descriptors` for input.
        descriptors: Connected, non-blocking sockets, each below 65536.
        heads: Requests, used in turn.
        end: The last bytes of each answer's body.
        interval_ns: Time between two requests.
        waited_us: Receives, in order of the answers, us from the scheduled time to the last byte.
        late_us: Same length; receives us from the scheduled to the real time of sending.
        patience_ns: How long to wait for the last answers.

    Raises:
        ConnectionError: A status other than 200, or a closed connection.
        TimeoutError: Answers are missing.

    """
