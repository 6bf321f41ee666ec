"""What ends a command of the bench, and what is shown of how far it is."""

from collections.abc import Iterator

import pytest
import typer

from bench.console import faults_end_it, followed, shortfalls_end_it
from bench.load import LoadError


@pytest.mark.parametrize("fault", [LoadError("no [answer]"), OSError("no [answer]")])
def test_faults_end_it(fault: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """A measurement that means nothing is one sentence and exit code 1, not a traceback."""
    with pytest.raises(typer.Exit) as ended, faults_end_it():
        raise fault
    assert ended.value.exit_code == 1
    assert "not measured: no [answer]" in capsys.readouterr().out


def test_bugs_do_not() -> None:
    """What nobody has foreseen is shown as it is."""
    with pytest.raises(KeyError), faults_end_it():
        raise KeyError("x")


def test_shortfalls_end_it(capsys: pytest.CaptureFixture[str]) -> None:
    """All are said before it ends; none is no reason to end."""
    shortfalls_end_it([])
    with pytest.raises(typer.Exit) as ended:
        shortfalls_end_it(["too slow", "too large"])
    assert ended.value.exit_code == 1
    assert capsys.readouterr().out.split("\n")[:2] == ["too slow", "too large"]


def test_followed() -> None:
    """All come, in their order, and what came before a fault is there."""
    came: list[int] = []

    def measured() -> Iterator[int]:
        yield from (1, 2)
        raise LoadError("gone")

    with pytest.raises(LoadError):
        came.extend(followed(measured(), 3, str))
    assert came == [1, 2]
