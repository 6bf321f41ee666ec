"""The files for a cluster in `deploy`, as the programs read them that they are for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.programs import run

if TYPE_CHECKING:
    from tests.integration.conftest import Need

pytestmark = pytest.mark.integration

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_front_is_understood(need: Need, tmp_path: Path) -> None:
    """HAProxy takes the configuration, and has nothing to say about it once the guards have addresses."""
    config = tmp_path / "haproxy.cfg"
    text = (DEPLOY / "haproxy-cluster.cfg").read_text()
    config.write_text(text.replace(" guard-a:", " 127.0.0.1:").replace(" guard-b:", " 127.0.0.1:"))
    done = run(need("haproxy"), "-c", "-f", config)
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr
