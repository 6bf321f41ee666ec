"""What happens on a machine that lacks a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Need


def test_missing_program_skips(need: Need, monkeypatch: pytest.MonkeyPatch) -> None:
    """On somebody's own machine the test is skipped, with a sentence that names what is missing."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs no-such-program and nor-this, which"):
        need("no-such-program", "sh", "nor-this")


def test_missing_program_fails_where_all_are_promised(need: Need, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under CI=true a missing program is a failure."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program cannot be found"):
        need("no-such-program")


def test_program_is_found(need: Need) -> None:
    """The path of the first program is what a test gets."""
    assert need("sh", "ls").endswith("/sh")
