"""The process of one plugin that is not built in: `python -P -m proxy.plugins.child MODULE:CLASS MEMORY_BYTES`.

It is started by the analyst, or to try settings. What bounds it:

- memory: RLIMIT_AS, a budget on top of what this process has before the plugin is loaded;
- time: the analyst kills it when an answer is too long in coming, which no loop can prevent;
- processors: it is nicer than the workers;
- files: it inherits none but two pipes. What it prints goes nowhere;
- life: it ends with the end of the pipe, and is killed by the kernel with the analyst.

It has no environment of the guard, and no part of its shared memory. It is no cage for malice: it runs as the same
user.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np
from pydantic_core import from_json

from fastpath.record_array import RECORD_DTYPE
from models.steps import whole
from proxy.plugins.contract import Plugin, describe
from proxy.plugins.runner import Runner, reason_of
from proxy.plugins.wire import (
    CHECK,
    END,
    EVENT,
    HEAD,
    HEALTH,
    LOOK,
    MOST_ANSWER_BYTES,
    NOW,
    ROUTE,
    SET_UP,
    Hello,
    Reply,
    SetUp,
    frame,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

NICENESS: Final = 5
MOST_FILES: Final = 256
PR_SET_PDEATHSIG: Final = 1


def load(place: str) -> Plugin:
    """Return the plugin that an entry point names, MODULE:CLASS.

    Raises:
        TypeError: There is something else.
        Exception: What its module raises.

    """
    module, _, name = place.partition(":")
    kind = getattr(import_module(module), name)
    if not (isinstance(kind, type) and issubclass(kind, Plugin)):
        raise TypeError(f"{place} is not a class derived from Plugin")
    return kind()


def answer(runner: Runner, kind: bytes, payload: bytes) -> Reply:
    """Do what a frame asks."""
    if kind == LOOK:
        (now_ns,) = NOW.unpack_from(payload)
        return whole(runner.look(np.frombuffer(payload, RECORD_DTYPE, offset=NOW.size), now_ns))
    if kind == HEALTH:
        return runner.health()
    if kind == END:
        return runner.end()
    given = from_json(payload)
    if kind == EVENT:
        return runner.hear(given["kind"], given["data"])
    if kind == ROUTE:
        return runner.ask(given["route"], given["query"])
    steps = {CHECK: runner.faults, SET_UP: runner.set_up}
    return steps[kind](SetUp.model_validate(given))


def serve(runner: Runner, incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Answer frame after frame until the pipe ends."""
    while len(head := incoming.read(HEAD.size)) == HEAD.size:
        size, kind = HEAD.unpack(head)
        payload = incoming.read(size)
        try:
            reply = answer(runner, kind, payload)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the analyst counts it
            reply = Reply(failed=reason_of(error))
        _send(outgoing, runner.notebook.close(reply))


def _send(outgoing: BinaryIO, message: BaseModel) -> None:
    data = message.model_dump_json().encode()
    if len(data) > MOST_ANSWER_BYTES:
        data = Reply(failed=f"answers {len(data)} bytes, {MOST_ANSWER_BYTES} are allowed").model_dump_json().encode()
    outgoing.write(frame(b"A", data))
    outgoing.flush()


def bound(memory_bytes: int) -> None:
    """Set the limits of this process; the plugin cannot lift them."""
    kernel = ctypes.CDLL(None, use_errno=True)
    kernel.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        os.nice(NICENESS)
    with open("/proc/self/statm", "rb") as sizes:  # noqa: PTH123 - it is a file of one line
        pages = int(sizes.read().split()[0])
    most = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return what comes from the analyst and what goes to it; the standard files lead nowhere afterwards."""
    incoming, outgoing = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)
    return os.fdopen(incoming, "rb"), os.fdopen(outgoing, "wb")


def main(place: str, memory_bytes: int) -> None:
    """Be the plugin at `place`."""
    incoming, outgoing = take_pipes()
    bound(memory_bytes)
    try:
        runner = Runner(load(place))
        hello = Hello(description=describe(runner.plugin))
    except Exception as error:  # noqa: BLE001 - whatever its module raises
        _send(outgoing, Hello(failed=reason_of(error)))
        return
    _send(outgoing, hello)
    serve(runner, incoming, outgoing)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
