"""Work that takes seconds, or much memory, done by a process of our own: bytes in, bytes out."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Final

from proxy.plugins.instance import child_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_ERROR: Final = 200  # characters of what it says last


async def answer_of(
    module: str, *arguments: str, given: bytes, seconds: float, descriptors: Sequence[int] = ()
) -> bytes:
    """Run a module as a program; it is killed if it takes too long, or if nobody waits any more.

    Args:
        module: `python -m module`.
        arguments: Of the program.
        given: Its standard input.
        seconds: How long it may take.
        descriptors: That it has besides.

    Returns:
        Its standard output.

    Raises:
        OSError: It cannot be started, or takes too long (TimeoutError).
        ValueError: It failed; the text has its status, and the last line of what it said.

    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        module,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=descriptors,
        env=child_environment(),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            answer, complaint = await process.communicate(given)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode:
        last = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ValueError(f"status {process.returncode}: {last[:LONGEST_ERROR]}")
    return answer
