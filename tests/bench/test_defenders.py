"""How the attacked are set up."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from bench.defenders import DEFENDERS, KEYSERVER, prove
from bench.peers import Launch, Setup, serving
from bench.sieges import SCENARIOS, Origin
from bench.verify import verify
from proxy.config import Config

CASES = [(key, origin) for key, scenario in SCENARIOS.items() for origin in scenario.origins]


def _prepared(name: str, key: str, origin: Origin, folder: Path) -> Launch:
    own = folder / "own"
    own.mkdir()
    return DEFENDERS[name](SCENARIOS[key], origin, 3333).prepare(own, 1111, 2222, Setup.OPEN)


def _config(key: str, origin: Origin, folder: Path) -> Config:
    env = dict(_prepared("hkpguard", key, origin, folder).env)
    del env["PYTHONPATH"]
    return Config.from_env(env)


@pytest.mark.parametrize(("key", "origin"), CASES)
def test_hkpguard_takes_its_settings(key: str, origin: Origin, tmp_path: Path) -> None:
    """They are valid, and the defaults but for what each scenario and the honest clients need."""
    config = _config(key, origin, tmp_path)
    assert [each.scheme for each in config.listen] == ["https" if SCENARIOS[key].tls else "http"]
    assert config.limits.cert == Config.from_env({}).limits.cert
    assert [str(each.cidr) for each in config.networks] == ["127.1.0.0/24"]


@pytest.mark.parametrize(("origin", "cap"), [(Origin.MANY, 0), (Origin.ONE, 256)])
def test_caps_are_off_where_the_attack_has_but_one_address(origin: Origin, cap: int, tmp_path: Path) -> None:
    """It is slowhttptest: without caps it gets through."""
    assert _config("slowhttptest-head", origin, tmp_path).connections_per_client == cap


@pytest.mark.skipif(not shutil.which("haproxy"), reason="needs haproxy")
@pytest.mark.parametrize(("key", "origin"), CASES)
def test_haproxy_takes_its_configuration(key: str, origin: Origin, tmp_path: Path) -> None:
    """`haproxy -c` finds no fault."""
    command = _prepared("haproxy", key, origin, tmp_path).command
    done = subprocess.run([*command, "-c"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_ban_is_in_one_scenario_only(tmp_path: Path) -> None:
    """HAProxy turns the banned address away where there is one."""
    banned = []
    for number, key in enumerate(SCENARIOS):
        folder = tmp_path / str(number)
        folder.mkdir()
        _prepared("haproxy", key, Origin.ONE, folder)
        if "reject if { src 127.16.0.7 }" in (folder / "own" / "haproxy.cfg").read_text():
            banned.append(key)
    assert banned == ["banned"]


@pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx")
def test_the_keyserver_has_what_the_attacks_need(tmp_path: Path) -> None:
    """A large certificate for slow readers, and uploads that are read before they are answered."""
    with serving(KEYSERVER, tmp_path, core=None) as keyserver:
        prove(keyserver)
        verify(keyserver, keyserver, Setup.OPEN)
        with socket.create_connection(("127.0.0.1", keyserver.port), timeout=10) as upload:
            upload.sendall(b"POST /pks/add HTTP/1.1\r\nHost: k\r\nContent-Length: 9\r\n\r\nkeytext")
            upload.setblocking(False)
            with pytest.raises(BlockingIOError):
                upload.recv(1)
            upload.settimeout(10)
            upload.sendall(b"=A")
            assert upload.recv(100).startswith(b"HTTP/1.1 200 ")
