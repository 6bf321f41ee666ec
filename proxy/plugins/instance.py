"""A plugin that runs: `Resident` in the analyst itself if it is built in, else `Hosted` in a process of its own.

Both are asked in the same words, and fail in the same way: with `PluginFailure`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import to_json

import proxy
from proxy.plugins.contract import describe
from proxy.plugins.runner import Runner, reason_of
from proxy.plugins.wire import (
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
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from proxy.courtesy import Courtesy
    from proxy.plugins.contract import Common, Description, Plugin, Publisher

    Records = NDArray[np.void]

START_SECONDS: Final = 10.0  # to load a plugin, and to set it up
END_SECONDS: Final = 2.0
HUNG: Final = 10  # times what a call may take: who has not answered by then is killed
Message = TypeVar("Message", Hello, Reply)
PACKAGES: Final = Path(proxy.__file__).parent.parent


class PluginFailure(Exception):
    """A plugin did not do what it was asked; the text says what happened. After a fatal one it is gone."""

    def __init__(self, text: str, *, fatal: bool = False) -> None:
        """Keep what happened."""
        super().__init__(text)
        self.fatal = fatal


class Instance(ABC):
    """One plugin that runs, or is about to.

    Attributes:
        description: What it says of itself; from `open` on.
        looks: Whether it wants to see records; from `start` on.
        routes: What it answers; likewise.
        subscriptions: What it wants to hear of; likewise.
        away_ns: How much of the time of its last call others had (`proxy.courtesy`): that is no fault of its own.

    """

    description: Description
    looks: bool = False
    routes: tuple[str, ...] = ()
    subscriptions: tuple[str, ...] = ()
    away_ns = 0
    _started = False

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._started

    @abstractmethod
    async def open(self) -> None:
        """Load it, and learn what it is."""

    @abstractmethod
    async def start(self, given: SetUp) -> Reply:
        """Set it up; load it again if it has ended."""

    @abstractmethod
    async def look(self, records: Records, now_ns: int) -> Reply:
        """Show it records, in the order of time."""

    @abstractmethod
    async def hear(self, kind: str, data: dict[str, Any]) -> Reply:
        """Tell it of an event."""

    @abstractmethod
    async def ask(self, route: str, query: Mapping[str, str]) -> Reply:
        """Ask it something."""

    @abstractmethod
    async def health(self) -> Reply:
        """Ask how it is."""

    @abstractmethod
    async def stop(self) -> None:
        """Drain and end it, whatever it does; never fails."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once, as far as that can be done."""

    def _offers(self, reply: Reply) -> Reply:
        """Note what it offers, now that it is set up."""
        self.looks, self.routes, self.subscriptions = reply.looks, reply.routes, reply.subscriptions
        self._started = True
        return reply


class Resident(Instance):
    """A built-in plugin. It is ours: nothing bounds it but its circuit."""

    def __init__(self, plugin: Plugin, bus: Publisher, courtesy: Courtesy, common: Common | None = None) -> None:
        """Take a plugin that is not set up yet."""
        self.description = describe(plugin, built_in=True)
        self._runner = Runner(plugin, bus, common)
        self._courtesy = courtesy

    async def open(self) -> None:
        """See `Instance`."""

    async def start(self, given: SetUp) -> Reply:
        """See `Instance`."""
        return self._offers(self._do(partial(self._runner.set_up, given)))

    async def look(self, records: Records, now_ns: int) -> Reply:
        """See `Instance`."""
        try:
            reply, self.away_ns = await self._courtesy.through(self._runner.look(records, now_ns))
        except Exception as error:  # a detector may raise anything; its circuit counts it
            raise PluginFailure(reason_of(error)) from error
        return self._runner.notebook.close(reply)

    async def hear(self, kind: str, data: dict[str, Any]) -> Reply:
        """See `Instance`."""
        return self._do(partial(self._runner.hear, kind, data))

    async def ask(self, route: str, query: Mapping[str, str]) -> Reply:
        """See `Instance`."""
        return self._do(partial(self._runner.ask, route, query))

    async def health(self) -> Reply:
        """See `Instance`."""
        return self._do(self._runner.health)

    async def stop(self) -> None:
        """See `Instance`."""
        if self._started:
            self._started = False
            with contextlib.suppress(PluginFailure):
                self._do(self._runner.end)

    def kill(self) -> None:
        """See `Instance`: it is left alone, that is all."""

    def _do(self, step: Callable[[], Reply]) -> Reply:
        self.away_ns = 0
        try:
            return self._runner.notebook.close(step())
        except Exception as error:  # as above
            raise PluginFailure(reason_of(error)) from error


class Hosted(Instance):
    """A plugin in a process of its own (`child.py`).

    An answer that is `HUNG` times too late, or none of what may be answered, ends the process: no loop, however tight,
    and no lie survives SIGKILL. Use by one at a time: a question, its answer, the next question.
    """

    def __init__(self, place: str, *, call_ns: int, memory_bytes: int) -> None:
        """`place` is MODULE:CLASS; a call may take `call_ns`."""
        self._place = place
        self._memory_bytes = memory_bytes
        self._hung_seconds = HUNG * call_ns / 1e9
        self._process: asyncio.subprocess.Process | None = None
        self._group = 0  # that it leads, until it is killed

    @property
    def alive(self) -> bool:
        """See `Instance`."""
        return self._started and self._process is not None and self._process.returncode is None

    async def open(self) -> None:
        """See `Instance`."""
        self.kill()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *child_command(self._place, self._memory_bytes),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=child_environment(),
                start_new_session=True,
                limit=MOST_ANSWER_BYTES,
            )
        except OSError as error:
            raise PluginFailure(f"its process cannot be started: {error.strerror}", fatal=True) from error
        self._group = self._process.pid
        hello = self._read(Hello, await self._bounded(START_SECONDS))
        if hello.description is None:
            self.kill()
            raise PluginFailure(f"cannot be loaded: {hello.failed}", fatal=True)
        self.description = hello.description

    async def start(self, given: SetUp) -> Reply:
        """See `Instance`."""
        if self._process is None or self._process.returncode is not None:
            await self.open()
        return self._offers(await self._call(SET_UP, given.model_dump_json().encode(), START_SECONDS))

    async def look(self, records: Records, now_ns: int) -> Reply:
        """See `Instance`."""
        return await self._call(LOOK, NOW.pack(now_ns) + records.tobytes())

    async def hear(self, kind: str, data: dict[str, Any]) -> Reply:
        """See `Instance`."""
        return await self._call(EVENT, to_json({"kind": kind, "data": data}))

    async def ask(self, route: str, query: Mapping[str, str]) -> Reply:
        """See `Instance`."""
        return await self._call(ROUTE, to_json({"route": route, "query": dict(query)}))

    async def health(self) -> Reply:
        """See `Instance`."""
        return await self._call(HEALTH, b"")

    async def stop(self) -> None:
        """See `Instance`."""
        if self.alive:
            with contextlib.suppress(PluginFailure):
                await self._call(END, b"", END_SECONDS)
        self.kill()
        if self._process is not None:
            await self._process.wait()

    def kill(self) -> None:
        """See `Instance`: with all processes that it has started and not sent away, also if it has ended before them.

        Once for each process: as long as one of its group is there nobody else gets its number, but not for ever.
        """
        if self._group:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)
        self._group = 0
        self._started = False

    async def _call(self, kind: bytes, payload: bytes, seconds: float | None = None) -> Reply:
        """Ask one thing. Whoever is interrupted has lost the thread, so the process ends."""
        data = await self._bounded(seconds or self._hung_seconds, frame(kind, payload))
        reply = self._read(Reply, data)
        if reply.failed:
            raise PluginFailure(reply.failed)
        return reply

    async def _bounded(self, seconds: float, question: bytes = b"") -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(question)
        except TimeoutError:
            self.kill()
            raise PluginFailure(f"gave no answer in {seconds:g} s, and was killed", fatal=True) from None
        except (asyncio.IncompleteReadError, OSError):
            self.kill()
            raise PluginFailure("its process ended", fatal=True) from None
        except BaseException:
            self.kill()
            raise

    async def _exchange(self, question: bytes) -> bytes:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise PluginFailure("its process is not there", fatal=True)
        if question:
            process.stdin.write(question)
            await process.stdin.drain()
        size, _ = HEAD.unpack(await process.stdout.readexactly(HEAD.size))
        if size > MOST_ANSWER_BYTES:
            raise PluginFailure(f"answers {size} bytes, {MOST_ANSWER_BYTES} are allowed", fatal=True)
        return await process.stdout.readexactly(size)

    def _read(self, model: type[Message], data: bytes) -> Message:
        try:
            return model.model_validate_json(data)
        except ValidationError as error:
            self.kill()
            raise PluginFailure(f"answers what is not allowed: {reason_of(error)}", fatal=True) from None


def child_command(place: str, memory_bytes: int) -> list[str]:
    """Return how the process of a plugin is started."""
    return [sys.executable, "-P", "-m", "proxy.plugins.child", place, str(memory_bytes)]


def child_environment() -> dict[str, str]:
    """Return its environment: where modules are, and nothing of ours."""
    path = [str(PACKAGES), *(each for each in sys.path if each)]
    return {"PYTHONPATH": os.pathsep.join(path), "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
