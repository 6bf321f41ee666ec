"""One request and its reply: gather, decide, act; the theory is in `exchange.pyx`."""

class Exchange:
    """A request on its way, and the reply to it; made by a client connection. Satisfies `turnstile.Entrant`."""

    lease: int
    def entered(self) -> None:
        """Go on: the turnstile found a place."""

    def turned_away(self) -> None:
        """Give up, or go on if the cap is only in shadow mode: no place became free in time."""
