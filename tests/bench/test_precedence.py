"""Going before all other programs."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from bench import precedence

WAITING = "import sys; print(flush=True); sys.stdin.read()"
Given = list[tuple[int, int, os.sched_param]]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Return what is asked of the kernel."""
    asked: Given = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda pid, kind, place: asked.append((pid, kind, place)))
    return asked


@pytest.fixture
def start() -> Iterator[Callable[[], int]]:
    """Return what starts a process that waits, and returns its id."""
    started: list[subprocess.Popen[bytes]] = []

    def begin() -> int:
        process = subprocess.Popen([sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process.pid

    yield begin
    for process in started:
        process.communicate()


def test_the_process_is_put_into_a_real_time_class(given: Given) -> None:
    """The lowest place of it: among themselves those who go first are equal."""
    precedence.take()
    assert given == [(0, os.SCHED_RR, os.sched_param(1))]


def test_where_it_is_denied_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the superuser may, and not in every container; the figures say how they were measured."""

    def deny(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", deny)
    precedence.take()
    assert not precedence.is_taken()


def test_a_program_goes_as_everybody_does(given: Given, start: Callable[[], int]) -> None:
    """Not at a lower place of the class, where it might never have what those wait for who go first."""
    pid = start()
    precedence.concede(pid)
    assert given == [(pid, os.SCHED_OTHER, os.sched_param(0))]


def test_a_worker_stays_before_the_rest(given: Given, start: Callable[[], int]) -> None:
    """What its short time slices do for it where there are any."""
    pid = start()
    precedence.concede(pid, but=pid)
    assert given == []


def test_who_has_ended_is_left_out(given: Given) -> None:
    """A helper may end while it is looked for."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    precedence.concede(ended.pid)
    assert given == []
