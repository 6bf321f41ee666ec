"""Going before all other programs."""

import os

import pytest

from bench import precedence


def test_the_process_is_put_into_a_real_time_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lowest place of it: among themselves those who go first are equal."""
    given = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda pid, kind, place: given.append((pid, kind, place)))
    precedence.take()
    assert given == [(0, os.SCHED_RR, os.sched_param(1))]


def test_where_it_is_denied_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the superuser may, and not in every container; the figures say how they were measured."""

    def deny(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", deny)
    precedence.take()
    assert not precedence.is_taken()
