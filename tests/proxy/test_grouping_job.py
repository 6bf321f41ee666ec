"""The process that looks for groups: it answers, fails or is ended, and nobody waits for it."""

from __future__ import annotations

import time

import pytest

from geo.grouping import NETWORK, Terms, pack, read_answer
from proxy import grouping_job
from proxy.grouping_job import LONGEST_NS, GroupingJob, JobFailed
from tests.geo.spots_for_tests import FRANKFURT, client, elsewhere, spots

NOW = 5_000_000_000
SAFETY_SECONDS = 60


def batch(many: int = 8) -> bytes:
    """Return one in which there is a group."""
    suspicious = spots(*((client(number), FRANKFURT) for number in range(many)))
    return pack(suspicious, spots(*((client(1000 + number), elsewhere(number)) for number in range(100))), Terms())


def end_of(job: GroupingJob) -> bytes:
    """Return what a job answers, or raise what it raises."""
    until = time.monotonic() + SAFETY_SECONDS
    while time.monotonic() < until:
        job._process.wait(SAFETY_SECONDS)
        if (answer := job.answer(NOW)) is not None:
            return answer
    pytest.fail("it does not end")


@pytest.mark.parametrize("many", [8, 2000])
def test_answer(many: int) -> None:
    """What `geo.grouping` says, however large it is: nobody has to read it for the process to end."""
    found = read_answer(end_of(GroupingJob(batch(many), NOW)))
    assert found[0].about == NETWORK
    assert len(found[0].clients) == many


def test_failure() -> None:
    """A process that ends with an error has no answer."""
    with pytest.raises(JobFailed, match="ended with status 1"):
        end_of(GroupingJob(b"no batch", NOW))


def test_too_long() -> None:
    """It is killed after a minute."""
    job = GroupingJob(batch(), NOW)
    assert job.answer(NOW) is None
    with pytest.raises(JobFailed, match="took too long"):
        job.answer(NOW + LONGEST_NS)
    assert job._process.returncode is not None


def test_end() -> None:
    """Nothing is left of it."""
    job = GroupingJob(batch(), NOW)
    job.end()
    assert job._process.returncode is not None
    assert job._answer.closed


def test_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be started that is told, and no file is left open."""
    monkeypatch.setattr(grouping_job.sys, "executable", "/nowhere/python")
    with pytest.raises(JobFailed, match="cannot be started: No such file"):
        GroupingJob(batch(), NOW)
