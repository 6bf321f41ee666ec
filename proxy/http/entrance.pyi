"""Where connections come in; the theory is in `entrance.pyx`."""

class Entrance:
    """What is expected of the connections of one listening socket; immutable.

    Args:
        scheme: `http`, `https`, or `http+https`: the first byte of a connection tells.
        proxy_header: Each connection begins with a PROXY header.
        direct: Clients may connect themselves; without it, and with `proxy_header`, only trusted proxies may.

    """

    def __init__(self, scheme: str = "http", *, proxy_header: bool = False, direct: bool = True) -> None: ...

class Arrival:
    """A connection of which the first bytes have to be seen before it can be served."""

    deadline_ns: int
