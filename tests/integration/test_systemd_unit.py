"""The unit in `deploy`, as systemd reads it. It cannot be started here: that takes a machine that systemd runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.programs import run

if TYPE_CHECKING:
    from tests.integration.conftest import Need


UNIT = Path(__file__).parents[2] / "deploy" / "hkpguard.service"
INSTALLED = "/opt/hkpguard/bin/hkpguard serve"
MOST_EXPOSED = "20"  # of 100; what systemd calls "OK" ends at 45


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return a copy whose program is there."""
    text = UNIT.read_text()
    assert INSTALLED in text
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(INSTALLED, "/bin/true"))
    return copy


def test_unit_is_understood(need: Need, unit: Path) -> None:
    """Systemd has nothing to say about it: no unknown setting, no value that it would skip."""
    done = run(need("systemd-analyze"), "verify", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_unit_is_confined(need: Need, unit: Path) -> None:
    """What a guard that was taken over could reach is little."""
    command = (need("systemd-analyze"), "security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit)
    assert run(*command).returncode == 0
