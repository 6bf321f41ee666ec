"""The files for a cluster in `deploy`, as the programs read them that they are for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError

from tests.integration.programs import LOOPBACK, free_port, run, running

if TYPE_CHECKING:
    from tests.integration.conftest import Need


DEPLOY = Path(__file__).parents[2] / "deploy"


def test_front_is_understood(need: Need, tmp_path: Path) -> None:
    """HAProxy takes the configuration, and has nothing to say about it once the guards have addresses."""
    config = tmp_path / "haproxy.cfg"
    text = (DEPLOY / "haproxy-cluster.cfg").read_text()
    config.write_text(text.replace(" guard-a:", " 127.0.0.1:").replace(" guard-b:", " 127.0.0.1:"))
    done = run(need("haproxy"), "-c", "-f", config)
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr


def test_redis_knows_the_user_that_is_made_and_nobody_else(need: Need, tmp_path: Path) -> None:
    """With the file of `cluster-secrets` the guards come in by their password, may write, and are no administrators."""
    folder, port = tmp_path / "secrets", free_port()
    assert run(DEPLOY / "cluster-secrets", folder).returncode == 0
    password = (folder / "redis-password").read_text()
    command = [need("redis-server"), "--port", str(port), "--bind", LOOPBACK, "--save", ""]
    with running([*command, "--aclfile", folder / "users.acl"], tmp_path, port):
        with redis.Redis(port=port, username="hkpguard", password=password, protocol=2) as guard:
            assert guard.set("hkpguard:{0}:probe:", b"", px=1000)
            with pytest.raises(NoPermissionError):
                guard.set("of another:key", b"")
            with pytest.raises(NoPermissionError):
                guard.flushall()
        with redis.Redis(port=port, protocol=2) as nobody, pytest.raises(AuthenticationError):
            nobody.ping()
