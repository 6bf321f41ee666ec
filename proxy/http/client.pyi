"""The client side: one connection, read head by head; the theory is in `client.pyx`."""

class ClientConnection:
    """The protocol of one client connection; made by `Guard.admit`."""

    peer: bytes
    deadline_ns: int
