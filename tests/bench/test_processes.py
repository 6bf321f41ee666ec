"""Starting and ending programs."""

import sys
from pathlib import Path

import pytest

from bench import cpu
from bench.processes import StartError, free_port, pinned, running

SERVER = """
import os, socket, sys, signal
if os.fork():
    signal.pause()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
signal.pause()
"""


def test_a_program_that_ends_at_once_is_reported_with_its_words(tmp_path: Path) -> None:
    """The reader sees why, not a time-out."""
    command = [sys.executable, "-c", "print('no such option')"]
    with (
        pytest.raises(StartError, match="no such option"),
        running(command, free_port(), tmp_path, core=None),
    ):
        pytest.fail("it does not run")


def test_the_process_is_gone_after_the_block(tmp_path: Path) -> None:
    """Its descendants as well, even those that do not listen to SIGTERM."""
    port = free_port()
    with running([sys.executable, "-c", SERVER, str(port)], port, tmp_path, core=None) as pid:
        members = cpu.tree(pid)
    assert len(members) > 1
    assert not [member for member in members if Path(f"/proc/{member}/exe").exists()]


def test_pinning_wraps_the_command() -> None:
    """Children inherit the core, so the whole tree stays on it."""
    assert pinned(["a", "b"], 3) == ["taskset", "--cpu-list", "3", "a", "b"]
    assert pinned(["a", "b"], None) == ["a", "b"]
