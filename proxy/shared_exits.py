"""The networks behind which many people are: Tor exits, carriers' NAT, VPNs; from the configuration and a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from proxy.settings.addresses import Cidr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.config import Config
    from proxy.policy.networks import Network

MOST_BYTES: Final = 16 * 1024 * 1024
LONGEST_SHOWN: Final = 80  # characters of a bad line that are repeated
_CIDR: Final = Cidr()


class SharedExits:
    """The present list. A file that cannot be read, or has a bad line, changes nothing: the last good list stays.

    Attributes:
        problem: Why the file is not in use as it is; empty if all is well.

    """

    def __init__(self) -> None:
        """Begin with no list."""
        self.problem = ""
        self._from_file: tuple[Network, ...] = ()
        self._log = structlog.get_logger()

    def read(self, config: Config) -> tuple[Network, ...]:
        """Return the networks that a configuration names, and those in the file that it names."""
        self.problem = ""
        if config.shared_exits_file is None:
            self._from_file = ()
        else:
            self._read_file(Path(config.shared_exits_file))
        return config.shared_exits + self._from_file

    def _read_file(self, path: Path) -> None:
        try:
            self._from_file = networks_in(path)
        except (OSError, ValueError) as error:
            self.problem = f"HKPGUARD_SHARED_EXITS_FILE is not in use as it is: {error}"
            self._log.error("shared exits could not be read, the list before stays", problem=str(error))


def networks_in(path: Path) -> tuple[Network, ...]:
    """Return the networks of a file: one a line, `#` begins a comment.

    Raises:
        OSError: It cannot be read.
        ValueError: A line is none, with its number; or the file is too large.

    """
    with path.open("rb") as file:
        return tuple(_networks(file.read(MOST_BYTES + 1)))


def _networks(data: bytes) -> Iterator[Network]:
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        text = line.partition("#")[0].strip()
        if text:
            yield _network(text, number)


def _network(text: str, number: int) -> Network:
    try:
        return _CIDR.parse(text)
    except ValueError as error:
        raise ValueError(f"line {number}: {text[:LONGEST_SHOWN]!r} {error}") from None
