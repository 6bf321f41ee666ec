"""The set-up of the programs under test."""

from pathlib import Path

import pytest

from bench.peers import PROXIES, Setup


def _prepared(name: str, folder: Path, setup: Setup) -> str:
    own = folder / setup.value  # the certificate of a run goes beside it
    own.mkdir()
    launch = PROXIES[name].prepare(own, 1111, 2222, setup)
    files = "".join(path.read_text() for path in sorted(own.iterdir()))
    return f"{launch.command} {dict(launch.env)} {files}"


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("setup", Setup)
def test_each_is_told_its_port_and_the_upstream(name: str, setup: Setup, tmp_path: Path) -> None:
    """Both occur in the command, the environment or the file."""
    text = _prepared(name, tmp_path, setup)
    assert "1111" in text
    assert "2222" in text


@pytest.mark.parametrize("name", PROXIES)
def test_refusing_differs(name: str, tmp_path: Path) -> None:
    """A row of refusals does not run with limits that never refuse."""
    assert _prepared(name, tmp_path, Setup.OPEN) != _prepared(name, tmp_path, Setup.REFUSE)


@pytest.mark.parametrize("name", ["hkpguard", "haproxy", "nginx"])
def test_all_have_one_certificate(name: str, tmp_path: Path) -> None:
    """It lies in the folder of the run, and only a row with TLS uses it."""
    assert str(tmp_path / "both.pem" if name == "haproxy" else tmp_path / "cert.pem") in _prepared(
        name, tmp_path, Setup.TLS
    )
    assert ".pem" not in _prepared(name, tmp_path, Setup.OPEN)
