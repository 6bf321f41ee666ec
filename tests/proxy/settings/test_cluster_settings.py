"""Settings of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Config, ConfigError
from proxy.renewal import NEEDS_RESTART
from proxy.settings.addresses import Address
from proxy.settings.store_url import StoreAt, StoreUrl

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "0123456789abcdef" * 2
HOST = Address("redis.example", 6379)
URL = "redis://127.0.0.1"
PLAIN, ODD = "pw", "p@:w"


def faults(try_files: bool = False, **settings: str) -> list[str]:  # noqa: FBT001, FBT002 - as in `from_env`
    """Return what is wrong with settings, as an operator reads it."""
    try:
        Config.from_env({f"HKPGUARD_{name}": value for name, value in settings.items()}, try_files=try_files)
    except ConfigError as error:
        return [str(fault) for fault in error.faults]
    return []


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("redis://redis.example", StoreUrl("single", (HOST,))),
        ("REDIS://redis.example:6379/", StoreUrl("single", (HOST,))),
        ("redis://redis.example/3", StoreUrl("single", (HOST,), database=3)),
        ("rediss://u:p%40%3Aw@redis.example", StoreUrl("single", (HOST,), tls=True, user="u", password=ODD)),
        ("redis://:pw@[::1]:7", StoreUrl("single", (Address("::1", 7),), password=PLAIN)),
        ("redis://[::1]", StoreUrl("single", (Address("::1", 6379),))),
        ("unix:///run/redis.sock", StoreUrl("unix", path="/run/redis.sock")),
        ("unix://u:pw@/run/redis.sock", StoreUrl("unix", user="u", password=PLAIN, path="/run/redis.sock")),
        (
            "redis+sentinel://a,b:5/main/2",
            StoreUrl("sentinel", (Address("a", 26379), Address("b", 5)), service="main", database=2),
        ),
        ("rediss+cluster://a,b:5", StoreUrl("cluster", (Address("a", 6379), Address("b", 5)), tls=True)),
    ],
)
def test_urls(text: str, url: StoreUrl) -> None:
    """A URL is taken apart, and written down so that it is read the same."""
    assert StoreAt().parse(text) == url
    assert StoreAt().parse(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "redis.example:6379",
        "http://redis.example",
        "redis://",
        "redis:///0",
        "redis://h:0",
        "redis://h:65536",
        "redis://127.1",
        "redis://h/x",
        "redis://h/01",
        "redis://h/0/1",
        "redis://h?db=1",
        "redis://h#x",
        "redis://a,b",
        "redis://a@b@h",
        "redis://u:%zz@h",
        "unix://run/redis.sock",
        "unix:///run/redis.sock?db=1",
        "redis+sentinel://h",
        "redis+sentinel://h/",
        "redis+sentinel://h/a b",
        "redis+sentinel://,/main",
        "redis+cluster://h/1",
        "redis+cluster://a,,b",
        f"redis+cluster://{','.join('h' for _ in range(33))}",
        f"redis://{'h' * 3000}",
    ],
)
def test_what_is_no_url(text: str) -> None:
    """Nothing else is a URL of a store."""
    assert StoreAt().problems(text) == [StoreAt().refusal().args[0]]


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_any_password(user: str, password: str) -> None:
    """Whatever user and password are, the URL brings them back."""
    url = StoreUrl("single", (HOST,), user=user, password=password)
    try:
        text = str(url)
    except UnicodeEncodeError:  # half a character
        return
    assert StoreAt().parse(text) == url


def test_secrets_are_masked() -> None:
    """`hkpguard check` shows where the store is, and neither password nor secret; children get both."""
    url = "redis://u:hunter22@127.0.0.1:6379"
    config = Config.from_env({"HKPGUARD_REDIS_URL": url, "HKPGUARD_CLUSTER__SECRET": SECRET})
    shown = "\n".join(config.describe())
    assert "HKPGUARD_REDIS_URL=redis://***@127.0.0.1:6379\n" in shown
    assert "HKPGUARD_CLUSTER__SECRET=***\n" in shown
    assert "hunter22" not in shown
    assert SECRET not in shown
    assert Config.from_env(config.environ()) == config


def test_faults_tell_no_secret() -> None:
    """What is wrong with a URL or a secret is said without repeating it."""
    short = "short-but-secret"
    said = faults(REDIS_URL="redis://u:hunter22@h:0", CLUSTER__SECRET=short)
    assert len(said) == 2
    assert "hunter22" not in "".join(said)
    assert short not in "".join(said)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"REDIS_URL": URL}, "HKPGUARD_CLUSTER__SECRET: must be set"),
        ({"CLUSTER__SECRET": SECRET, "CLUSTER__SECRET_FILE": "/x"}, "must not be set beside"),
        ({"CLUSTER__SECRET": "x" * 31}, "must be 32 to 256 visible"),
        ({"CLUSTER__PREFIX": "a:b"}, "must be 1 to 32 of"),
        ({"CLUSTER__NODE": "a b"}, "must be 1 to 64 of"),
        ({"CLUSTER__LEAST_INTERVAL": "1s"}, "must not be above HKPGUARD_CLUSTER__MOST_INTERVAL"),
        ({"CLUSTER__TIMEOUT": "2s"}, "must be a time from 10ms to 1s"),
        ({"CLUSTER__STRICT": "upload,cert"}, "'cert' must be upload, mail or admin"),
        ({"CLUSTER__STRICT_DEADLINE": "1ms"}, "must be a time from 5ms to 1s"),
        ({"CLUSTER__CERT": "/x"}, "must be set together with HKPGUARD_CLUSTER__KEY"),
        ({"REDIS_URL": "redis://u:p@h", "CLUSTER__SECRET": SECRET, "CLUSTER__USER": "v"}, "names a user"),
        ({"REDIS_URL": "redis://:p@h", "CLUSTER__SECRET": SECRET, "CLUSTER__PASSWORD_FILE": "/x"}, "has a password"),
        ({"REDIS_URL": URL, "CLUSTER__SECRET": SECRET, "CLUSTER__USER": "u"}, "a user needs a password"),
        ({"REDIS_URL": "redis://u@h", "CLUSTER__SECRET": SECRET}, "a user needs a password"),
        ({"REDIS_URL": URL, "CLUSTER__SECRET": SECRET, "CLUSTER__CA": "/x"}, "must be rediss://"),
    ],
)
def test_what_does_not_fit_together(settings: dict[str, str], fault: str) -> None:
    """Each mistake is a fault of its own, and the only one."""
    [said] = faults(**settings)
    assert fault in said


def test_files(tmp_path: Path) -> None:
    """Files of secrets, passwords and certificates are tried before a node starts, and on reload."""
    good, short, binary = tmp_path / "good", tmp_path / "short", tmp_path / "binary"
    good.write_text(f"{SECRET}\n")
    short.write_text("short\n")
    binary.write_bytes(b"\xff" * 40)
    assert faults(True, REDIS_URL=URL, CLUSTER__SECRET_FILE=str(good), CLUSTER__PASSWORD_FILE=str(short)) == []
    for word, path, problem in (
        ("SECRET_FILE", short, "must hold 32 to 256"),
        ("SECRET_FILE", tmp_path / "none", "No such file"),
        ("PASSWORD_FILE", binary, "one line of visible ASCII"),
        ("SENTINEL_PASSWORD_FILE", tmp_path, "cannot be used"),
        ("CA", good, "cannot be used"),
    ):
        given = {"REDIS_URL": "rediss://h", f"CLUSTER__{word}": str(path)} | (
            {} if word == "SECRET_FILE" else {"CLUSTER__SECRET": SECRET}
        )
        [said] = faults(True, **given)
        assert problem in said
    assert faults(False, REDIS_URL=URL, CLUSTER__SECRET_FILE=str(tmp_path / "none")) == []


def test_warnings() -> None:
    """Who sends addresses of clients over the network in clear is warned."""
    for url, warned in ((URL, False), ("redis://redis.example", True), ("rediss://redis.example", False)):
        config = Config.from_env({"HKPGUARD_REDIS_URL": url, "HKPGUARD_CLUSTER__SECRET": SECRET})
        assert any("in clear" in warning for warning in config.warnings()) is warned


def test_needs_a_restart() -> None:
    """Another store, or another secret, is for the next start."""
    assert {"redis_url", "cluster"} <= set(NEEDS_RESTART)
