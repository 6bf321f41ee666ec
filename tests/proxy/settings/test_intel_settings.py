"""Settings of feeds, and of what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from proxy.config import Config, ConfigError
from proxy.intel.formats import FORMATS
from proxy.intel.listing import ListingKind
from proxy.settings.intel import USUAL_KINDS, FeedConfig, FormatWord, KindWord
from proxy.settings.key_file import MOST_KEYS, owner_of, read_keys

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "HKPGUARD_INTEL__FEEDS__"
KEY = "k" * 16


def config_of(settings: dict[str, str]) -> Config:
    """Return a configuration."""
    return Config.from_env(settings, try_files=False)


def test_words_of_formats_and_kinds() -> None:
    """The settings name all formats and kinds that there are, and the kind that each format usually has."""
    assert set(get_args(FormatWord)) == set(FORMATS)
    assert set(get_args(KindWord)) == set(ListingKind)
    assert {name: USUAL_KINDS.get(name, "abuse") for name in FORMATS} == {name: f.kind for name, f in FORMATS.items()}


def test_feeds() -> None:
    """Feeds are named by who sets them; underscores of a variable are hyphens; written down and read back."""
    config = config_of(
        {
            f"{PREFIX}MY_LIST__URL": "https://lists.example/a.txt",
            f"{PREFIX}MY_LIST__EVERY": "30m",
            f"{PREFIX}EXITS__URL": "/var/lib/exits",
            f"{PREFIX}EXITS__FORMAT": "tor",
        }
    )
    assert set(config.feeds) == {"my-list", "exits"}
    assert config.feeds["my-list"].group_of("my-list") == "lists.example"
    assert config.feeds["exits"].group_of("exits") == "exits"
    assert (config.feeds["exits"].says, config.feeds["exits"].bounds) == ("tor", range(300, 20_001))
    assert config_of(config.environ()) == config
    assert f"{PREFIX}MY_LIST__EVERY=30m" in config.describe()


def test_file(tmp_path: Path) -> None:
    """TOML says the same."""
    path = tmp_path / "hkpguard.toml"
    path.write_text('[intel]\ndeny = 80\n[intel.feeds.a]\nurl = "/a"\nmost = 5\ninsecure = true\n', encoding="utf-8")
    config = config_of({"HKPGUARD_CONFIG": str(path)})
    assert config.intel.deny == 80
    assert config.feeds == {"a": FeedConfig.model_validate({"url": "/a", "most": 5, "insecure": True})}


URL = {f"{PREFIX}A__URL": "https://lists.example/a.txt"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({f"{PREFIX}A__KIND": "tor"}, "A__URL: must be set"),
        ({f"{PREFIX}A__URL": "http://lists.example/"}, "must be https://"),
        ({f"{PREFIX}A__URL": "ftp://lists.example/"}, "must be a URL with https://"),
        ({f"{PREFIX}A__URL": "https://user:secret@lists.example/"}, "must be a URL"),
        ({f"{PREFIX}A__URL": "relative"}, "or the path of a file"),
        ({**URL, f"{PREFIX}A__FORMAT": "xml"}, "must be text, netset"),
        ({**URL, f"{PREFIX}A__EVERY": "1s"}, "must be a time from 10s to 7d"),
        ({**URL, f"{PREFIX}A__WEIGHT": "201"}, "from 0 to 200"),
        ({**URL, f"{PREFIX}A__GROUP": "Ä"}, "must be a word"),
        ({**URL, f"{PREFIX}A__HEADER": "X: y"}, "must be the name of a header"),
        ({**URL, f"{PREFIX}A__LEAST": "10", f"{PREFIX}A__MOST": "9"}, "must not be above MOST"),
        ({**URL, f"{PREFIX}A__PORT": "9"}, "is not a setting of a feed"),
        ({f"{PREFIX}9__URL": "/a"}, "is not the name of a feed"),
        ({f"{PREFIX}A": "/a"}, "is not a setting of a feed"),
        ({f"{PREFIX}A__URL": "/a", f"{PREFIX}A__FORMAT": "taxii"}, "TAXII is no file"),
        ({f"{PREFIX}A{n}__URL": "/a" for n in range(33)}, "there are 33 feeds, 32 are allowed"),
        ({"HKPGUARD_INTEL__PRICE": "95"}, "must not be above HKPGUARD_INTEL__DENY, which is 90"),
        ({"HKPGUARD_INTEL__DENY_FEEDS": "1"}, "from 2 to 10"),
    ],
)
def test_faults(settings: dict[str, str], words: str) -> None:
    """What is not allowed is a fault that says what is, and shows no password."""
    with pytest.raises(ConfigError) as caught:
        config_of(settings)
    (fault,) = map(str, caught.value.faults)
    assert words in fault
    assert "secret" not in fault


@pytest.mark.parametrize(
    "settings",
    [
        {f"{PREFIX}A__URL": "http://127.0.0.1:8080/v1"},
        {f"{PREFIX}A__URL": "http://10.0.0.1/", f"{PREFIX}A__INSECURE": "on"},
        {f"{PREFIX}A__URL": "/a", f"{PREFIX}A__LEAST": "0"},
    ],
)
def test_allowed(settings: dict[str, str]) -> None:
    """Clear text is for this machine, and for who asks for it."""
    assert config_of(settings).feeds["a"].url


def test_nothing_by_default() -> None:
    """Nothing is fetched, and nobody may tell or ask, unless it is set."""
    config = config_of({})
    assert config.feeds == {}
    assert (config.intel.reporters_file, config.intel.bouncers_file) == (None, None)


# Files of keys.


def test_keys(tmp_path: Path) -> None:
    """A name and a key a line; whose key it is, is known by the key alone."""
    path = tmp_path / "keys"
    path.write_text(f"# ours\n\nfirewall-1 {KEY}1  # in the cellar\nsite.b\t{KEY}2\n")
    keys = read_keys(str(path))
    assert keys == {"firewall-1": f"{KEY}1", "site.b": f"{KEY}2"}
    assert owner_of(f"{KEY}2", keys) == "site.b"
    assert [owner_of(each, keys) for each in ("", KEY, f"{KEY}3", "\udcff", "ä")] == [None] * 5
    assert read_keys(None) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there are 0 keys"),
        ("a short\n", "line 1"),
        (f"a {KEY}\na {KEY}1\n", "line 2"),
        (f"a {KEY}\nb {KEY}\n", "line 2"),
        (f"{KEY}\n", "line 1"),
        ("".join(f"a{n} {KEY}{n}\n" for n in range(MOST_KEYS + 1)), "there are 65 keys"),
        ("x" * 70_000, "more than 65536 bytes"),
    ],
)
def test_bad_keys(tmp_path: Path, text: str, words: str) -> None:
    """A file that is not as it should be is refused whole, without repeating a key."""
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        read_keys(str(path))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("word", ["REPORTERS_FILE", "BOUNCERS_FILE"])
def test_key_files_are_tried(tmp_path: Path, word: str) -> None:
    """No node starts with a file of keys that cannot be used."""
    with pytest.raises(ConfigError, match=f"INTEL__{word}.*cannot be used"):
        Config.from_env({f"HKPGUARD_INTEL__{word}": str(tmp_path / "none")})
