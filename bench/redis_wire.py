"""What goes to Redis and back, in bytes as they are on the wire (RESP2): a real Redis, and one that is made up."""

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Final, Protocol

import hiredis

from proxy.cluster.command import Answer, Command, Script
from proxy.cluster.exchange import LEVELS
from proxy.cluster.ledger import MOST_MARK

READ_BYTES: Final = 1 << 20
PATIENCE_S: Final = 10.0


@dataclass(slots=True, kw_only=True)
class Flow:
    """How much there was, or is in a second.

    Attributes:
        calls: Commands that a node sent.
        levels: Buckets that these calls told of.
        commands: What Redis did for them, within scripts as well.
        in_bytes: Sent to Redis.
        out_bytes: Sent by Redis.

    """

    calls: float = 0
    levels: float = 0
    commands: float = 0
    in_bytes: float = 0
    out_bytes: float = 0

    def times(self, factor: float) -> "Flow":
        """Return so much of it."""
        return Flow(**{each.name: factor * getattr(self, each.name) for each in fields(self)})

    def plus(self, other: "Flow") -> "Flow":
        """Return both together."""
        return Flow(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})


class Wire(Protocol):
    """The way to a Redis."""

    def ask(self, command: Command) -> Answer:
        """Send a command of a node; return the answer."""

    def count(self) -> Flow:
        """Return how much there was so far; levels are not known here."""


def packed(*arguments: bytes | str | float) -> bytes:
    """Return a command as it is sent."""
    data = [each if isinstance(each, bytes) else str(each).encode() for each in arguments]
    return b"*%d\r\n" % len(data) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in data)


def request(command: Command) -> bytes:
    """Return a command of a node as it is sent, a script by its name."""
    if isinstance(command.what, Script):
        return packed("EVALSHA", command.what.sha, len(command.keys), *command.keys, *command.args)
    return packed(command.what, *command.keys, *command.args)


def answered(numbers: Sequence[int]) -> bytes:
    """Return an answer of numbers as it is sent."""
    return b"*%d\r\n" % len(numbers) + b"".join(b":%d\r\n" % number for number in numbers)


class RealWire:
    """A connection to the Redis on a port of loopback, which counts for itself."""

    def __init__(self, port: int, script: Script) -> None:
        """Connect, and load the script that will be called."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._reader = hiredis.Reader()
        self._aside = Flow()  # what we asked for ourselves
        self._say("SCRIPT", "LOAD", script.source)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def ask(self, command: Command) -> Answer:
        """See `Wire`."""
        return self._exchange(request(command))[0]

    def count(self) -> Flow:
        """See `Wire`."""
        aside, told = self._aside, self._say("INFO", "everything").decode()
        numbers = {
            name: int(number) for name, number in re.findall(r"^(total_net_\w+_bytes):(\d+)\r$", told, re.MULTILINE)
        }
        calls = {name: int(number) for name, number in re.findall(r"^cmdstat_(\w+):calls=(\d+)", told, re.MULTILINE)}
        return Flow(
            calls=calls.get("evalsha", 0),
            commands=sum(calls.get(name, 0) for name in ("evalsha", "time", "get", "set")),
            in_bytes=numbers["total_net_input_bytes"] - self._aside.in_bytes,
            out_bytes=numbers["total_net_output_bytes"] - aside.out_bytes,
        )

    def cpu_us(self) -> float:
        """Return how long Redis has worked."""
        told = self._say("INFO", "cpu").decode()
        return 1e6 * sum(float(each) for each in re.findall(r"^used_cpu_(?:user|sys):([\d.]+)\r$", told, re.MULTILINE))

    def _say(self, *words: str) -> bytes:
        answer, told = self._exchange(packed(*words))
        self._aside = self._aside.plus(told)
        assert isinstance(answer, bytes)
        return answer

    def _exchange(self, data: bytes) -> tuple[Answer, Flow]:
        self._socket.sendall(data)
        told = Flow(in_bytes=len(data))
        while (answer := self._reader.gets()) is False:
            read = self._socket.recv(READ_BYTES)
            if not read:
                raise ConnectionError("Redis has closed the connection")
            told.out_bytes += len(read)
            self._reader.feed(read)
        if isinstance(answer, Exception):
            raise answer
        return answer, told


class MadeUpWire:
    """A Redis that knows `proxy.cluster.exchange.LEVELS` and nothing else, by a clock of our own."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        """`now_us`: its time, µs."""
        self._flow = Flow()
        self._now_us = now_us
        self._full: dict[bytes, int] = {}  # when a bucket will be

    def ask(self, command: Command) -> Answer:
        """See `Wire`; no call is asked again, and no level is lost."""
        assert command.what is LEVELS
        now, (_caller, *keys) = self._now_us(), command.keys
        said = [1]
        for key, told, most in zip(keys, command.args[3::4], command.args[5::4], strict=True):
            full = max(now, min(max(now, self._full.get(key, 0)) + int(told), now + int(most)))
            self._full[key] = full
            said += [full - now, MOST_MARK]
        more = Flow(calls=1, commands=4 + 2 * len(keys), in_bytes=len(request(command)), out_bytes=len(answered(said)))
        self._flow = self._flow.plus(more)  # EVALSHA, TIME, GET and SET of the caller; GET and SET of each bucket
        return said

    def count(self) -> Flow:
        """See `Wire`."""
        return self._flow
