"""How networks have done with their handshakes; the theory is in `standing.pyx`."""

SWEEPS_OF_MEMORY: int

class Standing:
    """The credit of all networks, in 128 KB."""

    def in_debt(self, network: int) -> bool:
        """Return whether the network has left more handshakes unfinished lately than it had credit for."""

    def note(self, network: int, finished: bool) -> None:
        """Note how a handshake ended."""

    def forget_some(self) -> None:
        """Forget the next few cells; all are forgotten after SWEEPS_OF_MEMORY calls."""
