"""What was learnt of peers, on disk: `peers.json` in HKPGUARD_STATE_DIR, so that a restart begins with it.

    {"version": 1, "answered": 1780000000,
     "upstreams": {"127.0.0.1:11372": ["keys.example.net"]},
     "hosts": {"keys.example.net": {"addresses": ["192.0.2.7"], "seen": 1780000000}}}

Times are seconds since 1970. The file is replaced as a whole, so it is the old one or the new one; only its owner may
read it, for who the peers are may be hidden from the public. What is wrong with it costs what was learnt, never the
guard: that is learnt again in minutes.
"""

from __future__ import annotations

import json
import os
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from proxy.hkp.peer_list import host_of

VERSION: Final = 1
FILE: Final = "peers.json"
MOST_BYTES: Final = 4 * 1024 * 1024
_LATEST: Final = 2**53  # seconds


class Resolved(NamedTuple):
    """The addresses of a host."""

    addresses: tuple[str, ...]
    seen: int  # when it was last named by an upstream, and found


class Learnt(NamedTuple):
    """What upstreams said."""

    answered: int  # when the last of them did; 0: never
    upstreams: dict[str, tuple[str, ...]]  # hosts that each named in its last answers, by its `host:port`
    hosts: dict[str, Resolved]


class PeerStore:
    """The file of one node; nobody else writes it.

    Attributes:
        problem: Why nothing is written at the moment; empty if all is well.

    """

    def __init__(self, folder: str) -> None:
        """Touch nothing yet."""
        self._path = Path(folder) / FILE
        self._log = structlog.get_logger().bind(file=str(self._path))
        self.problem = ""

    def load(self) -> Learnt | None:
        """Return what was written down, None if that is nothing, or makes no sense."""
        try:
            with self._path.open("rb") as file:
                return _learnt(file.read(MOST_BYTES + 1))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            self._log.error("peers could not be read, starting without", problem=str(error))
            return None

    def save(self, learnt: Learnt) -> bool:
        """Write down what was learnt, in the place of what is there; false if that failed."""
        try:
            self._write(_text(learnt).encode())
        except OSError as error:
            if not self.problem:
                self._log.error("peers are not written down", problem=str(error))
            self.problem = f"peers are not written to {self._path}: {error}"
            return False
        if self.problem:
            self.problem = ""
            self._log.info("peers are written down again")
        return True

    def _write(self, data: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self._path.with_name(FILE + ".new")
        beside.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)


def _text(learnt: Learnt) -> str:
    hosts = {name: host._asdict() for name, host in learnt.hosts.items()}
    whole = {"version": VERSION, "answered": learnt.answered, "upstreams": learnt.upstreams, "hosts": hosts}
    return json.dumps(whole, indent=1) + "\n"


def _learnt(data: bytes) -> Learnt:
    """Read the file; ValueError if anything in it is not as it is written."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    match json.loads(data):
        case {"version": int(version), "answered": answered, "upstreams": dict(upstreams), "hosts": dict(hosts)} if (
            version == VERSION
        ):
            return Learnt(
                _time(answered),
                {upstream: tuple(map(_host, _list(named))) for upstream, named in upstreams.items()},
                {_host(name): _resolved(host) for name, host in hosts.items()},
            )
        case {"version": int(version)} if version != VERSION:
            raise ValueError(f"version {version}, not {VERSION}")
    raise ValueError("it is not as this program writes it")


def _resolved(host: object) -> Resolved:
    match host:
        case {"addresses": addresses, "seen": seen}:
            return Resolved(tuple(map(_address, _list(addresses))), _time(seen))
    raise ValueError("a host is not as this program writes it")


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("there is no list where one should be")  # noqa: TRY004 - the file is wrong, not the caller
    return value


def _host(value: object) -> str:
    if not isinstance(value, str) or host_of(value) != value or not value:
        raise ValueError("a host is none")
    return value


def _address(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("an address is none")  # noqa: TRY004 - the file is wrong, not the caller
    return str(ip_address(value))


def _time(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _LATEST:
        raise ValueError("a time is none")
    return value
