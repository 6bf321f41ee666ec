"""Which settings may be released for all nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.cluster.shared_settings import GROUPS, MOST_POLICY_BYTES, is_shared, overridden, read_shared, told
from proxy.config import KEYS, Config, ConfigError
from proxy.renewal import NEEDS_RESTART
from proxy.settings.kinds import FilePath, OrEmpty
from proxy.settings.sources import RELEASED, Fault

if TYPE_CHECKING:
    from pathlib import Path

SHARED = [path for path in KEYS if is_shared(path)]


def test_groups_are_groups() -> None:
    """Every group that is shared exists, and has something in it that is."""
    assert {path[0] for path in SHARED} == GROUPS


@pytest.mark.parametrize("path", SHARED, ids="__".join)
def test_what_is_shared_means_the_same_everywhere(path: tuple[str, ...]) -> None:
    """No secret, no path of a file, and nothing that another start would be needed for is shared."""
    kind = KEYS[path].kind
    assert not kind.secret
    assert not isinstance(kind.inner if isinstance(kind, OrEmpty) else kind, FilePath)
    assert path[0] not in NEEDS_RESTART


@pytest.mark.parametrize(
    "text",
    [
        'listen = ["0.0.0.0:1"]',
        'upstream = ["http://127.0.0.1:1"]',
        'admin_token = "0123456789abcdef"',
        'state_dir = "/tmp"',
        'redis_url = "redis://127.0.0.1:1"',
        '[cluster]\nsecret = "ssssssssssssssssssssssssssssssss"',
        "[cache]\nbytes = 1048576",
        '[intel]\nreporters_file = "/etc/passwd"',
        '[intel.feeds.x]\nurl = "/etc/passwd"',
        '[plugins.x]\ntoken = "y"',
        'shared_exits_file = "/etc/passwd"',
    ],
)
def test_what_belongs_to_one_node_is_refused(text: str) -> None:
    """A setting of one machine, or a secret, is named with what to do instead, and without its value."""
    _, [fault] = read_shared(text.encode())
    assert fault.name.endswith(f"in {RELEASED}")
    assert "each node" in str(fault)
    assert "passwd" not in str(fault)


@pytest.mark.parametrize("text", ["[limits.cert]\nburst = 5", 'mode = "shadow"', '[plugins.x]\nmode = "off"', ""])
def test_what_is_for_all_is_taken(text: str) -> None:
    """Limits, modes, modes of plugins: what says how clients are treated is taken; so is nothing."""
    assert not read_shared(text.encode())[1]


@pytest.mark.parametrize("data", [b"mode =", b"\xff", b"#" * (MOST_POLICY_BYTES + 1)], ids=["TOML", "UTF-8", "length"])
def test_what_is_no_policy(data: bytes) -> None:
    """What is not TOML, or too long, is refused before anything is made of it."""
    assert len(read_shared(data)[1]) == 1


def test_environment_wins_over_release_and_release_over_file(tmp_path: Path) -> None:
    """A node's environment wins over the policy of the cluster, and that over its file."""
    file = tmp_path / "x.toml"
    file.write_text("[limits.cert]\nburst = 1\ncount = 1\n[limits.words]\nburst = 1\n")
    environ = {"HKPGUARD_CONFIG": str(file), "HKPGUARD_LIMITS__CERT__BURST": "3"}
    released = "[limits.cert]\nburst = 2\ncount = 2\n"
    config = Config.from_env(environ, released=released)
    assert (config.limits.cert.burst, config.limits.cert.count, config.limits.words.burst) == (3, 2, 1)
    settings, _ = read_shared(released.encode())
    assert overridden(settings, environ) == ("HKPGUARD_LIMITS__CERT__BURST",)


def test_faults_name_the_policy() -> None:
    """A bad value, an unknown key and a conflict of a released policy are told as such."""
    with pytest.raises(ConfigError) as raised:
        Config.from_env({}, released='[limits.cert]\nburst = "many"\n[nonsense]\nx = 1\n')
    assert [fault.name for fault in raised.value.faults] == [
        f"nonsense.x in {RELEASED}",
        f"limits.cert.burst in {RELEASED}",
    ]
    with pytest.raises(ConfigError, match="is not TOML"):
        Config.from_env({}, released="mode =")


def test_faults_in_a_line() -> None:
    """Of many faults some are told, and how many there are more."""
    faults = [Fault(f"x{number}", None, "is bad") for number in range(10)]
    assert told(faults[:2]) == "x0: is bad; x1: is bad"
    assert told(faults).endswith("x7: is bad; and 2 more")
