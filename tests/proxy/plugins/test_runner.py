"""How a plugin is run, wherever it runs."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from proxy.plugins.contract import Plugin
from proxy.plugins.events import MOST_TEXT
from proxy.plugins.runner import Runner, line, reason_of
from proxy.plugins.wire import Reply, SetUp


class Settings(BaseModel):
    """Settings with a secret."""

    token: str = Field(min_length=20)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\n  lines", "two lines"),
        ("\x1b[2Jgone\x07", "[2Jgone"),
        ("half a pair: \ud800", "half a pair:"),
        ("\N{LATIN SMALL LETTER O WITH STROKE}l", "\N{LATIN SMALL LETTER O WITH STROKE}l"),
        ("x" * (MOST_TEXT + 1), "x" * MOST_TEXT),
    ],
)
def test_line(text: str, shown: str) -> None:
    """What plugins say may hold what clients have sent; terminals and logs get one line that does nothing to them."""
    assert line(text) == shown


def test_reason_without_values() -> None:
    """What is told of bad settings names them, and never shows what they were: it may be a secret."""
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate_strings({"token": "hunter2"})
    assert reason_of(caught.value) == "token: String should have at least 20 characters"


def test_reason_is_bounded() -> None:
    """Names that come from outside may be as long as they like."""
    with pytest.raises(ValidationError) as caught:
        Reply.model_validate({"x" * 10_000: 1})
    assert len(reason_of(caught.value)) == MOST_TEXT


class Open(Settings):
    """Settings that may have any name."""

    model_config = ConfigDict(extra="allow")


@pytest.mark.parametrize(("settings", "faults"), [(Settings, (("tokn", "is unknown"),)), (Open, ())])
def test_names_of_settings(settings: type[BaseModel], faults: tuple[tuple[str, str], ...]) -> None:
    """A name that is mistyped is a fault, also where a plugin says nothing of it; one may say that any will do."""
    plugin = type("Named", (Plugin,), {"settings": settings})()
    given = SetUp(own={"token": "x" * 20, "tokn": "1"}, state_dir="")
    assert Runner(plugin).faults(given).faults == faults
