"""One run of `geo.grouping` in a process of its own, so that the analyst neither waits for it nor grows by it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

from proxy.plugins.instance import child_environment
from proxy.settings.kinds import MINUTE

LONGEST_NS: Final = MINUTE
MODULE: Final = "geo.grouping"


class JobFailed(Exception):
    """There is no answer, and will be none; the text says why."""


class GroupingJob:
    """A batch that is looked at. What goes in and out is in files in memory: no pipe fills up, and nobody waits."""

    def __init__(self, batch: bytes, now_ns: int) -> None:
        """Begin; JobFailed if there can be no process now."""
        self._until_ns = now_ns + LONGEST_NS
        self._answer = os.fdopen(os.memfd_create("answer"), "rb")
        with os.fdopen(os.memfd_create("batch"), "r+b") as given:
            given.write(batch)
            given.seek(0)
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    (sys.executable, "-P", "-m", MODULE),
                    stdin=given,
                    stdout=self._answer,
                    stderr=subprocess.DEVNULL,
                    env={**child_environment(), "OMP_NUM_THREADS": "1"},
                )
            except OSError as error:
                self._answer.close()
                raise JobFailed(f"its process cannot be started: {error.strerror}") from error

    def answer(self, now_ns: int) -> bytes | None:
        """Return the answer; None if it is not there yet.

        Raises:
            JobFailed: It will never be.

        """
        status = self._process.poll()
        if status is None:
            if now_ns < self._until_ns:
                return None
            self.end()
            raise JobFailed("took too long")
        with self._answer:
            self._answer.seek(0)
            if status:
                raise JobFailed(f"ended with status {status}")
            return self._answer.read()

    def end(self) -> None:
        """Give up, if it still runs."""
        self._process.kill()
        self._process.wait()
        self._answer.close()
