"""Tests of the configuration: what is read, what is refused and how."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.config import KEYS, Address, ClassName, Config, ConfigError, LimitConfig, usable_cores
from proxy.hkp.operation import OperationClass
from proxy.settings.abuse import Ladder
from proxy.settings.addresses import Cidr, HostPort
from proxy.settings.events import SigningKey, WebUrl
from proxy.settings.kinds import (
    MIB,
    MILLISECOND,
    SECOND,
    AnyKind,
    Choice,
    Duration,
    FilePath,
    ListOf,
    Made,
    OrEmpty,
    Secret,
    Size,
    Spelled,
    Switch,
    Whole,
)
from proxy.settings.limits import CLASS_NAMES, LimitOverride, Period, Tokens
from proxy.settings.listen import Listen, ListenAt
from proxy.settings.section import Section
from proxy.settings.store_url import StoreAt
from tests.proxy.http.tls_harness import make_pair

PREFIX = "HKPGUARD_"
SIGNING_KEY = f"whsec_{b64encode(bytes(32)).decode()}"
TOKEN = "correct-horse-battery"  # noqa: S105 - of these tests


def faults_of(environ: Mapping[str, str]) -> list[str]:
    """Return the faults of an environment as the lines that the operator sees."""
    with pytest.raises(ConfigError) as caught:
        Config.from_env(environ)
    return [str(fault) for fault in caught.value.faults]


def environment(lines: list[str]) -> dict[str, str]:
    """Read lines `NAME=value` as an environment file."""
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def file_with(folder: Path, text: str) -> str:
    """Write a TOML file and return its path."""
    path = folder / "hkpguard.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_empty_environment_gives_the_documented_defaults() -> None:
    """Without any setting hkpguard listens on loopback only, enforces, and trusts and exempts nobody."""
    config = Config.from_env({})
    assert config.listen == (Listen(Address("127.0.0.1", 11371)),)
    assert config.admin == Address("127.0.0.1", 11380)
    assert (config.mode, config.upstream, config.allow, config.trusted_proxies) == ("enforce", (), (), ())
    assert config.workers == usable_cores()
    assert config.static_paths is None
    assert (config.log.subjects, config.log.addresses) == (False, False)


@pytest.mark.parametrize(
    ("name", "limit"),
    [  # times in seconds
        ("total", LimitConfig(burst=1200, count=20, period=1)),
        ("cert", LimitConfig(burst=60, count=5, period=1, max_delay=10)),
        ("identity", LimitConfig(burst=50, count=6, period=60)),
        ("words", LimitConfig(burst=10, count=6, period=60, concurrent=2, concurrent_total=8, queue=2)),
        (
            "upload",
            LimitConfig(burst=10, count=6, period=60, max_delay=10, concurrent=2, concurrent_total=16, queue=10),
        ),
        ("mail", LimitConfig(burst=5, count=5, period=3600)),
        ("admin", LimitConfig(burst=3, count=3, period=3600, concurrent=1)),
        ("sync", LimitConfig(burst=60, count=60, period=60, concurrent=2)),
        ("prefixlog", LimitConfig(burst=10, count=10, period=86_400)),
        ("stats", LimitConfig(burst=60, count=1, period=1, mode="off")),
        ("static", LimitConfig(burst=300, count=10, period=1, mode="off")),
        ("unknown", LimitConfig(burst=60, count=1, period=1, mode="off")),
    ],
)
def test_default_limits(name: ClassName, limit: LimitConfig) -> None:
    """Every class has the default limit of HKP.md 5.1."""
    assert Config.from_env({}).limits_for()[name] == limit


def test_limits_stand_in_the_order_of_the_operation_classes() -> None:
    """Names and order of the limits are those of `OperationClass`, by whose numbers the table is indexed."""
    assert list(Config.from_env({}).limits_for()) == [member.name.lower() for member in OperationClass]


def test_no_token_takes_less_than_a_nanosecond() -> None:
    """The greatest count fits into the shortest period, so no check of both is needed."""
    (count,) = (kind for kind in get_args(Tokens) if isinstance(kind, Whole))
    (period,) = (kind for kind in get_args(Period) if isinstance(kind, Duration))
    assert count.high <= period.low


@pytest.mark.parametrize("name", ["HKPGUARD_MODE", "hkpguard_mode", "HkpGuard_Mode"])
def test_names_may_be_in_any_case(name: str) -> None:
    """A variable counts however it is capitalised."""
    assert Config.from_env({name: "shadow"}).mode == "shadow"


def test_other_variables_are_left_alone() -> None:
    """Only names with our prefix are looked at."""
    assert Config.from_env({"PATH": "/bin", "MODE": "nonsense"}) == Config.from_env({})


def test_one_field_of_a_limit_leaves_the_others_at_their_defaults() -> None:
    """Setting the burst of a class changes neither its other fields nor another class."""
    limits = Config.from_env({"HKPGUARD_LIMITS__CERT__BURST": "7"}).limits_for()
    default = Config.from_env({}).limits_for()
    assert limits["cert"] == default["cert"].model_copy(update={"burst": 7})
    assert limits["words"] == default["words"]


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    """What both set is taken from the environment, what only one sets from that one."""
    path = file_with(tmp_path, 'mode = "off"\nparked = 5\n[limits.cert]\nburst = 7\ncount = 2\n')
    config = Config.from_env({"HKPGUARD_CONFIG": path, "HKPGUARD_LIMITS__CERT__BURST": "9"})
    assert (config.mode, config.parked) == ("off", 5)
    assert (config.limits.cert.burst, config.limits.cert.count) == (9, 2)


def test_file_has_arrays_numbers_switches_and_tables(tmp_path: Path) -> None:
    """TOML's own types are read like the text of the environment; an empty table says nothing."""
    text = (
        'LISTEN = ["127.0.0.1:1", "[::1]:2"]\nword_search = false\ngrace = 2\nhttp.body_bytes = "2MiB"\n'
        '[health]\n[[networks]]\ncidr = "192.0.2.0/24"\nlimits.cert = { burst = 600, period = "2s" }\n'
    )
    config = Config.from_env({"HKPGUARD_CONFIG": file_with(tmp_path, text)})
    assert config.listen == (Listen(Address("127.0.0.1", 1)), Listen(Address("::1", 2)))
    assert (config.word_search, config.grace_ns, config.http.body_bytes) == (False, 2 * SECOND, 2 * MIB)
    assert config.networks[0].limits["cert"] == LimitOverride(burst=600, period=2)


def test_network_overrides_complete_limits() -> None:
    """Fields that a network does not name come from the base limits, other classes too."""
    text = '[{"cidr": "192.0.2.0/24", "limits": {"cert": {"burst": 600, "mode": "shadow"}}}]'
    config = Config.from_env({"HKPGUARD_NETWORKS": text, "HKPGUARD_LIMITS__CERT__COUNT": "9"})
    limits = config.limits_for(config.networks[0])
    expected = LimitConfig(burst=600, count=9, period=1, max_delay=10, mode="shadow")
    assert limits == {**config.limits_for(), "cert": expected}


def test_most_specific_network_comes_first() -> None:
    """A search through `networks` may take the first that holds the address."""
    config = Config.from_env({"HKPGUARD_NETWORKS": '[{"cidr":"10.0.0.0/8"},{"cidr":"10.1.0.0/16"}]'})
    assert [str(network.cidr) for network in config.networks] == ["10.1.0.0/16", "10.0.0.0/8"]


def test_config_is_frozen_and_keyword_only() -> None:
    """Nothing can be changed after the start, and nothing is told apart by its position."""
    config = Config.from_env({})
    with pytest.raises(ValidationError):
        config.mode = "off"
    with pytest.raises(TypeError):
        LimitConfig(1, 2, 3)  # type: ignore[call-arg]  # this is the mistake


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WORKERS", "0", "must be a whole number from 1 to 64"),
        ("WORKERS", "65", "must be a whole number from 1 to 64"),
        ("WORKERS", "two", "must be a whole number"),
        ("WORKERS", "1.5", "must be a whole number"),
        ("WORKERS", "٣", "must be a whole number"),
        ("WORKERS", "9" * 5000, "must be a whole number"),
        ("WORKERS", "", "must be a whole number"),
        ("MODE", "on", "must be enforce, shadow or off"),
        ("WORD_SEARCH", "1", "must be on or off"),
        ("GRACE", "-1s", "must be a time from 0s to 1h"),
        ("GRACE", "2h", "must be a time from 0s to 1h"),
        ("GRACE", "1w", "must be a time"),
        ("HTTP__BODY_BYTES", "1GB", "must be a size from 1KiB to 64MiB"),
        ("HTTP__BODY_BYTES", "1", "must be a size from 1KiB to 64MiB"),
        ("LISTEN", "11371", "must be host:port"),
        ("LISTEN", "127.0.0.1:99999", "must be host:port"),
        ("LISTEN", "::1:11371", "must be host:port or [IPv6]:port"),
        ("LISTEN", "[::1:11371", "must be host:port or [IPv6]:port"),
        ("LISTEN", "127.0.1:11371", "must be host:port"),
        ("LISTEN", "256.0.0.1:11371", "must be host:port"),
        ("LISTEN", "bad host:1", "must be host:port"),
        ("LISTEN", "ftp://127.0.0.1:443", "must be host:port"),
        ("LISTEN", "127.0.0.1:443?", "must be host:port"),
        ("LISTEN", "127.0.0.1:443?direct=no", "must be host:port"),
        ("LISTEN", "127.0.0.1:443?direct=deny&direct=deny", "must be host:port"),
        ("LISTEN", "127.0.0.1:443?proxy=require", "must be host:port"),
        ("STATE_DIR", "", "must be a path"),
        ("STATE_DIR", "a\x01b", "must be a path"),
        ("BANS__LADDER", "", "must be a list of at least one"),
        ("BANS__LADDER", "2h,30m", "none shorter than the one before"),
        ("BANS__LADDER", "31d", "'31d' must be a time from 1s to 30d"),
        ("TRAPS__SUBJECTS", "a b", "must be a fingerprint, a key id or an address"),
        ("LISTEN", "127.0.0.1:11371/", "must be host:port"),
        ("LISTEN", "127.0.0.1:1,", "'' must be host:port"),
        ("LISTEN", "", "must name at least one address"),
        ("ADMIN", "", "must be host:port"),
        ("UPSTREAM", "https://keys.example.org:443", "must be http://host:port"),
        ("UPSTREAM", "127.0.0.1:80", "must be http://host:port"),
        ("UPSTREAM", "http://127.0.0.1:0", "port 1 to 65535"),
        ("UPSTREAM", "http://127.0.0.1", "must be http://host:port"),
        ("UPSTREAM", "http://127.0.0.1:80/pks", "must be http://host:port"),
        ("ALLOW", "192.0.2.1/24", "write 192.0.2.0/24 if you mean the network"),
        ("ALLOW", "192.0.2.0/33", "must be a network"),
        ("ALLOW", "example.org", "must be a network"),
        ("ALLOW", "::ffff:192.0.2.0/120", "write 192.0.2.0/24"),
        ("STATIC_PATHS", "assets", "must be a path that begins with /"),
        ("HEALTH__PATH", "/a b", "must be a path that begins with /"),
        ("LIMITS__CERT__BURST", "0", "must be a whole number from 1 to 1000000"),
        ("LIMITS__CERT__PERIOD", "0s", "must be a time from 1ms to 366d"),
        ("LIMITS__CERT__MAX_DELAY", "61s", "must be a time from 0s to 1m"),
        ("LIMITS__CERT__CONCURRENT", "17", "must be a whole number from 0 to 16"),
        ("LIMITS__CERT__CONCURRENT_TOTAL", "257", "must be a whole number from 0 to 256"),
        ("LIMITS__CERT__QUEUE", "31s", "must be a time from 0s to 30s"),
        ("LIMITS__CERT__MODE", "on", "must be enforce, shadow or off"),
        ("TABLE_CLIENTS", "1023", "must be a whole number from 1024 to 134217728"),
        ("NETWORKS", "{", "is not JSON"),
        ("NETWORKS", '{"cidr": "10.0.0.0/8"}', "must be a list of tables"),
        ("NETWORKS", "[1]", "[0] must be a table"),
        ("NETWORKS", "[{}]", "[0].cidr must be given"),
        ("NETWORKS", '[{"cidr":"10.0.0.1/8"}]', "write 10.0.0.0/8"),
        ("NETWORKS", '[{"cidr":"10.0.0.0/8","limit":{}}]', "[0].limit is unknown"),
        ("NETWORKS", '[{"cidr":"10.0.0.0/8","limits":{"crt":{}}}]', "crt is not an operation class"),
        ("NETWORKS", '[{"cidr":"10.0.0.0/8","limits":{"cert":{"brst":1}}}]', "cert.brst is unknown"),
        ("NETWORKS", '[{"cidr":"10.0.0.0/8","limits":{"cert":{"burst":0}}}]', "cert.burst=0 must be a whole"),
        ("NETWORKS", '[{"cidr":"10.0.0.0/8"},{"cidr":"10.0.0.0/8"}]', "names 10.0.0.0/8 twice"),
    ],
)
def test_bad_value_is_one_fault_in_plain_words(name: str, value: str, words: str) -> None:
    """Each mistake is reported once, under its name, with the value and with what is allowed."""
    (fault,) = faults_of({PREFIX + name: value})
    assert fault.startswith(f"{PREFIX}{name}={value[:20]}")
    assert words in fault


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"ADMIN": "0.0.0.0:11380"}, "HKPGUARD_ADMIN_TOKEN: must be set: 0.0.0.0:11380 is not a loopback address"),
        (
            {"LISTEN": "https://127.0.0.1:443", "TLS_CERT": "/cert"},
            "HKPGUARD_TLS_KEY: must be set: HKPGUARD_LISTEN has",
        ),
        (
            {"TLS_CERT": "/dev/null", "TLS_KEY": "/none"},
            "=/dev/null: cannot be used with HKPGUARD_TLS_KEY: [Errno 2] No such file or directory: '/none'",
        ),
        ({"PROXY_PROTOCOL": "require"}, "HKPGUARD_TRUSTED_PROXIES: must name who may connect: 127.0.0.1:11371 expects"),
        ({"LISTEN": "127.0.0.1:5?direct=deny"}, "must name who may connect: 127.0.0.1:5?direct=deny denies direct"),
        ({"EVENTS__WEBHOOK__URL": "https://example.org"}, "HKPGUARD_EVENTS__WEBHOOK__SECRET: must be set"),
        (
            {"EVENTS__WEBHOOK__URL": "http://example.org", "EVENTS__WEBHOOK__SECRET": SIGNING_KEY},
            "HKPGUARD_EVENTS__WEBHOOK__URL=http://example.org: must be https:// where it is no loopback address",
        ),
        ({"LISTEN": "[::1]:5,[0::1]:5"}, "HKPGUARD_LISTEN=[::1]:5,[0::1]:5: names [::1]:5 twice"),
        ({"ADMIN": "127.0.0.1:11371"}, "HKPGUARD_ADMIN=127.0.0.1:11371: must not be an address to listen on"),
        ({"LISTEN": "0.0.0.0:11380"}, "HKPGUARD_ADMIN: must not be an address to listen on (0.0.0.0:11380)"),
        ({"LISTEN": "localhost:11380"}, "HKPGUARD_ADMIN: must not be an address to listen on"),
        (
            {"UPSTREAM": "http://127.0.0.1:11371"},
            "127.0.0.1:11371 is hkpguard itself (listen is 127.0.0.1:11371)",
        ),
        ({"UPSTREAM": "http://localhost:11371"}, "localhost:11371 is hkpguard itself"),
        ({"UPSTREAM": "http://[::1]:9", "LISTEN": "[::]:9"}, "[::1]:9 is hkpguard itself (listen is [::]:9)"),
        ({"UPSTREAM": "http://127.0.0.1:11380"}, "is hkpguard itself (admin is 127.0.0.1:11380)"),
        ({"UPSTREAM": "http://k.example:9,http://K.example:9"}, "names k.example:9 twice"),
        ({"HTTP__HEAD_BYTES": "8KiB"}, "HKPGUARD_HTTP__HEAD_BYTES=8KiB: must be larger than the target"),
        ({"HTTP__TARGET_BYTES": "16KiB"}, "HKPGUARD_HTTP__HEAD_BYTES: must be larger than the target"),
        (
            {"BUDGETS__DOMAIN__PERIOD": "366d", "BUDGETS__DOMAIN__COUNT": "1"},
            "HKPGUARD_BUDGETS__DOMAIN__PERIOD=366d: an empty bucket must fill up within 18 years, and burst 600",
        ),
        ({"LIMITS__MAIL__BURST": "1000000"}, "HKPGUARD_LIMITS__MAIL__PERIOD: an empty bucket must fill up within 18"),
        (
            {"NETWORKS": '[{"cidr":"10.0.0.0/8","budgets":{"distinct_certs":{"period":"366d"}}}]'},
            "distinct_certs of 10.0.0.0/8: an empty bucket must fill up within 18 years",
        ),
        (
            {"NETWORKS": '[{"cidr":"10.0.0.0/8","limits":{"cert":{"burst":999999,"period":"366d"}}}]'},
            "cert of 10.0.0.0/8: an empty bucket must fill up within 18 years",
        ),
        (
            {"BUDGETS__DISTINCT_CERTS__PERIOD": "92d", "BUDGETS__DISTINCT_CERTS__BURST": "9", "PROFILE": "strict"},
            "HKPGUARD_BUDGETS__DISTINCT_CERTS__PERIOD=92d: must be at most 2196h with the strict profile",
        ),
    ],
)
def test_settings_that_do_not_fit_together(environ: Mapping[str, str], words: str) -> None:
    """Values that are good each for itself are refused where they contradict each other."""
    (fault,) = faults_of({PREFIX + name: value for name, value in environ.items()})
    assert words in fault


@pytest.mark.parametrize(
    "environ",
    [
        {"LISTEN": "127.0.0.1:0,127.0.0.1:0", "ADMIN": "127.0.0.1:0"},
        {"LISTEN": "0.0.0.0:11371,[::]:11371"},
        {"LISTEN": "0.0.0.0:11371", "UPSTREAM": "http://192.0.2.1:11371"},
        {"LISTEN": "192.0.2.1:11380"},
        {"PROXY_PROTOCOL": "require", "LISTEN": "127.0.0.1:5?proxy_protocol=off"},
        {"PROXY_PROTOCOL": "require", "TRUSTED_PROXIES": "127.0.0.1"},
        {"ALLOW": "192.0.2.0/24,192.0.2.1"},
        {"EVENTS__WEBHOOK__URL": "http://[::1]:8/x", "EVENTS__WEBHOOK__SECRET": SIGNING_KEY},
        {
            "EVENTS__WEBHOOK__URL": "http://example.org",
            "EVENTS__WEBHOOK__SECRET": SIGNING_KEY,
            "EVENTS__WEBHOOK__INSECURE": "on",
        },
        {"BUDGETS__DOMAIN__PERIOD": "366d", "BUDGETS__DOMAIN__BURST": "1000"},
    ],
)
def test_settings_that_do_fit_together(environ: Mapping[str, str]) -> None:
    """Nothing is refused that can work: kernel-chosen ports, both families, a port elsewhere."""
    Config.from_env({PREFIX + name: value for name, value in environ.items()})


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    """File and environment, unknown keys, bad values, bad items of a list and conflicts come in one error."""
    path = file_with(tmp_path, 'parked = "many"\nnonsense = 1\n[limits.cert]\nburst = -1\n')
    environ = {
        "HKPGUARD_CONFIG": path,
        "HKPGUARD_MODE": "on",
        "HKPGUARD_ALLOW": "nowhere,10.0.0.1/8",
        "HKPGUARD_MOOD": "off",
        "HKPGUARD_ADMIN": "127.0.0.1:11371",
    }
    names = [fault.partition("=")[0].partition(": ")[0] for fault in faults_of(environ)]
    assert sorted(names) == sorted(
        [
            f"nonsense in {path}",
            f"parked in {path}",
            f"limits.cert.burst in {path}",
            "HKPGUARD_MODE",
            "HKPGUARD_ALLOW",
            "HKPGUARD_ALLOW",
            "HKPGUARD_MOOD",
            "HKPGUARD_ADMIN",
        ]
    )


def test_no_conflict_is_reported_with_a_default_that_stands_in_for_a_bad_value() -> None:
    """A value that is refused already does not lead to a second fault that its default would cause."""
    environ = {"HKPGUARD_HTTP__HEAD_BYTES": "big", "HKPGUARD_HTTP__TARGET_BYTES": "64KiB"}
    assert len(faults_of(environ)) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("HKPGUARD_LIMITS__CRET__BURST", "did you mean HKPGUARD_LIMITS__CERT__BURST?"),
        ("hkpguard_upstreams", "hkpguard_upstreams: is not a setting; did you mean HKPGUARD_UPSTREAM?"),
        ("HKPGUARD_LIMITS__CERT__PERIOD_NS", "did you mean HKPGUARD_LIMITS__CERT__PERIOD?"),
        ("HKPGUARD_LIMITS__CERT", "is a group of settings; it has burst, concurrent, concurrent_total"),
        ("HKPGUARD_MODE__X", "is not a setting"),
        ("HKPGUARD_", "is not a setting"),
    ],
)
def test_unknown_key_is_a_fault_with_a_hint(name: str, words: str) -> None:
    """A name that is no setting is refused as the user typed it, with the nearest setting as a hint."""
    (fault,) = faults_of({name: "1"})
    assert words in fault


def test_far_from_every_setting_there_is_no_hint() -> None:
    """A wrong guess would mislead more than none."""
    assert faults_of({"HKPGUARD_ZZZZ": "1"}) == ["HKPGUARD_ZZZZ: is not a setting"]


def test_same_key_in_two_spellings_is_a_fault() -> None:
    """Which of two spellings wins would be chance, so neither does."""
    faults = faults_of({"HKPGUARD_MODE": "off", "hkpguard_mode": "shadow"})
    assert faults == [
        "HKPGUARD_MODE: is set more than once, spelt differently",
        "hkpguard_mode: is set more than once, spelt differently",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"mode = ", "is not TOML"),
        (b"\xff", "is not TOML"),
        (b"networks.cidr = '10.0.0.0/8'", "is not a setting"),
        (b"limits = 5", "is a group of settings"),
        (b"listen = 5", "must be a list"),
        (b"workers = 2.0", "must be a whole number"),
        (b"workers = true", "must be a whole number"),
        (b"grace = true", "must be a time"),
        (b"word_search = 1", "must be on or off"),
        (b"config = 'other.toml'", "is not a setting"),
    ],
)
def test_bad_file(tmp_path: Path, content: bytes | None, words: str) -> None:
    """A file that is missing, damaged or holds a wrong type is a fault, no exception of another kind."""
    path = tmp_path / "hkpguard.toml"
    if content is not None:
        path.write_bytes(content)
    (fault,) = faults_of({"HKPGUARD_CONFIG": str(path)})
    assert words in fault


def test_secrets_are_masked() -> None:
    """The admin token appears in no fault and in no description."""
    for bad in (
        "short",
        "with spaces in the middle",
        "x" * 257,
        "not-ascii-\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9",
    ):
        faults = faults_of({"HKPGUARD_ADMIN_TOKEN": bad})
        assert faults == ["HKPGUARD_ADMIN_TOKEN=***: must be 16 to 256 visible ASCII characters"]
    lines = Config.from_env({"HKPGUARD_ADMIN_TOKEN": TOKEN}).describe()
    assert "HKPGUARD_ADMIN_TOKEN=***" in lines
    assert TOKEN not in "".join(lines)


def test_passwords_are_not_repeated() -> None:
    """A password in a URL stays out of the message, also where the message quotes the value."""
    (fault,) = faults_of({"HKPGUARD_UPSTREAM": "http://user:pass@word@keys.example.org:80"})
    assert "//***@keys.example.org" in fault
    assert "word" not in fault


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("HKPGUARD_INTEL__FEEDS__A__URL", "https://lists.example/x"),
        ("HKPGUARD_EVENTS__WEBHOOK__URL", "https://hooks.example/x"),
    ],
)
def test_keys_in_urls_are_masked(variable: str, text: str) -> None:
    """What a URL asks with may be a key: it is used, and neither shown nor repeated in a fault."""
    environ = {variable: f"{text}?key=hush", "HKPGUARD_EVENTS__WEBHOOK__SECRET": SIGNING_KEY}
    config = Config.from_env(environ)
    assert f"{variable}={text}?***" in config.describe()
    assert config.environ()[variable] == environ[variable]
    [fault] = faults_of({variable: f"ftp{text}?key=hush"})
    assert "?***" in fault
    assert "hush" not in fault


def test_options_of_addresses_are_shown(tmp_path: Path) -> None:
    """What is behind the question mark of an address to listen on, and behind its comma, is no key."""
    pair = make_pair(tmp_path, "ec", "node")
    listen = "https://127.0.0.1:5?direct=deny,127.0.0.1:6,http+https://127.0.0.1:7?proxy_protocol=require"
    environ = {"LISTEN": listen, "TLS_CERT": str(pair.cert), "TLS_KEY": str(pair.key), "TRUSTED_PROXIES": "192.0.2.1"}
    config = Config.from_env({PREFIX + name: value for name, value in environ.items()})
    assert f"HKPGUARD_LISTEN={listen}" in config.describe()


def test_long_values_are_cut() -> None:
    """A message stays readable when the value is not."""
    (fault,) = faults_of({"HKPGUARD_MODE": "x" * 10_000})
    assert len(fault) < 200


def test_error_lists_one_fault_a_line() -> None:
    """The text of the error is what `hkpguard check` prints."""
    with pytest.raises(ConfigError, match=r"^HKPGUARD_MODE=a: .*\nHKPGUARD_WORKERS=b: .*$"):
        Config.from_env({"HKPGUARD_MODE": "a", "HKPGUARD_WORKERS": "b"})


def test_upstream_is_required_to_serve() -> None:
    """A configuration without upstream is valid (`check`, `demo`), but `serve` is told what is missing."""
    with pytest.raises(ConfigError, match=r"^HKPGUARD_UPSTREAM: must be set"):
        Config.from_env({}).require_upstream()
    config = Config.from_env({"HKPGUARD_UPSTREAM": "http://127.0.0.1:11372"})
    assert config.require_upstream() == (Address("127.0.0.1", 11372),)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"LIMITS__CERT__MAX_DELAY": "21s"}, "max_delay of cert is above 20s; OpenKeychain gives up"),
        (
            {"NETWORKS": '[{"cidr":"10.0.0.0/8","limits":{"mail":{"max_delay":30}}}]'},
            "NETWORKS (10.0.0.0/8): max_",
        ),
        ({"BUDGETS__DOMAIN__MAX_DELAY": "21s"}, "BUDGETS: max_delay of domain is above 20s; OpenKeychain gives up"),
        (
            {"NETWORKS": '[{"cidr":"10.0.0.0/8","budgets":{"distinct_certs":{"max_delay":30}}}]'},
            "NETWORKS (10.0.0.0/8): max_delay of distinct_certs is above 20s",
        ),
        ({"BUDGETS__DISTINCT_CERTS__MAX_DELAY": "9s"}, "BUDGETS: max_delay of distinct_certs is less than the time of"),
        (
            {"NETWORKS": '[{"cidr":"10.0.0.0/8","budgets":{"distinct_certs":{"period":"6s"}}}]'},
            "NETWORKS (10.0.0.0/8): max_delay of distinct_certs is less than the time of two tokens",
        ),
        ({"ADMIN": "0.0.0.0:11380", "ADMIN_TOKEN": TOKEN}, "the token goes over the network in clear"),
        ({"ADMIN": "keys.example.org:11380", "ADMIN_TOKEN": TOKEN}, "the token goes over the network in clear"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8,::/0"}, "has every address in it"),
        ({"GEOIP_ASN": "/none"}, "HKPGUARD_GEOIP_ASN=/none would not be in use: [Errno 2] No such"),
        ({"SHARED_EXITS_FILE": "/none"}, "HKPGUARD_SHARED_EXITS_FILE=/none would not be in use: [Errno 2] No such"),
    ],
)
def test_warning(environ: Mapping[str, str], words: str) -> None:
    """What is allowed but probably not meant is said in one sentence."""
    (warning,) = Config.from_env({PREFIX + name: value for name, value in environ.items()}).warnings()
    assert words in warning


def test_defaults_warn_of_nothing() -> None:
    """Nobody is taught to overlook warnings; 20 s of delay are still right."""
    assert Config.from_env({"HKPGUARD_LIMITS__CERT__MAX_DELAY": "20s"}).warnings() == []


@pytest.mark.parametrize(
    "settings",
    [
        {"BUDGETS__DISTINCT_CERTS__BURST": "2300"},
        {"BUDGETS__DISTINCT_CERTS__COUNT": "2"},
        {"BUDGETS__DISTINCT_CERTS__MODE": "shadow"},
        {"MODE": "shadow"},
        {"PROFILE": "strict"},
    ],
)
def test_short_delay_that_harms_nobody(settings: Mapping[str, str]) -> None:
    """There are tokens enough, nobody is refused, or the operator has asked for it."""
    environ = {"BUDGETS__DISTINCT_CERTS__MAX_DELAY": "5s", **settings}
    assert Config.from_env({PREFIX + name: value for name, value in environ.items()}).warnings() == []


def test_description_marks_what_differs() -> None:
    """Above a changed value stands the default; unchanged values have no comment."""
    lines = Config.from_env({"HKPGUARD_LIMITS__CERT__BURST": "7", "HKPGUARD_ALLOW": "10.0.0.0/8"}).describe()
    comments = [(line, lines[index + 1]) for index, line in enumerate(lines) if line.startswith("#")]
    assert comments == [
        ("# default: empty", "HKPGUARD_ALLOW=10.0.0.0/8"),
        ("# default: 60", "HKPGUARD_LIMITS__CERT__BURST=7"),
    ]


def cidrs() -> st.SearchStrategy[str]:
    """Make networks of both families without host bits."""
    addresses = st.ip_addresses().filter(lambda address: getattr(address, "ipv4_mapped", None) is None)
    return addresses.flatmap(
        lambda address: st.integers(97 if address.version == 6 else 0, address.max_prefixlen).map(
            lambda length: str(ip_network(f"{address}/{length}", strict=False))
        )
    )


TEXTS: Mapping[type[AnyKind], Callable[[Any], st.SearchStrategy[str]]] = {
    Whole: lambda kind: st.integers(kind.low, kind.high).map(str),
    Duration: lambda kind: st.integers(kind.low // MILLISECOND, kind.high // MILLISECOND).map("{}ms".format),
    Size: lambda kind: st.integers(kind.low, kind.high).map(str),
    Choice: lambda kind: st.sampled_from(kind.words),
    Switch: lambda _kind: st.sampled_from(["on", "off", "true"]),
    Cidr: lambda _kind: cidrs(),
    Ladder: lambda _kind: st.sampled_from(["1s", "30m,2h,8h,1d", "1m,1m"]),
    FilePath: lambda _kind: st.sampled_from(["./state", "/run/keys of mine.pem"]),
    Secret: lambda kind: st.text("abc!?=~", min_size=kind.shortest, max_size=kind.shortest + 8),
    Spelled: lambda kind: st.from_regex(kind.pattern, fullmatch=True, alphabet=st.characters(codec="ascii")),
    StoreAt: lambda _kind: st.sampled_from(["redis://[::1]:7/3", "unix:///s", "rediss+sentinel://a,b:1/main"]),
    WebUrl: lambda _kind: st.sampled_from(
        ["https://[2001:db8::1]:8/a?b=c", "http://127.0.0.1/", "https://example.org"]
    ),
    SigningKey: lambda _kind: st.binary(min_size=24, max_size=64).map(lambda key: f"whsec_{b64encode(key).decode()}"),
    ListenAt: lambda _kind: st.builds(
        "{}{}:{}{}".format,
        st.sampled_from(["", "http://"]),
        st.sampled_from(["192.0.2.1", "[2001:db8::1]", "keys.example.org"]),
        st.integers(20_000, 65_535),
        st.sampled_from(["", "?proxy_protocol=off"]),
    ),
    HostPort: lambda kind: st.builds(
        f"{kind.scheme}{{}}:{{}}".format,
        st.sampled_from(["192.0.2.1", "[2001:db8::1]", "keys.example.org"]),
        st.integers(20_000, 65_535),
    ),
    ListOf: lambda kind: st.lists(texts(kind.item), min_size=1, max_size=3, unique=True).map(",".join),
    OrEmpty: lambda kind: st.just("") | texts(kind.inner),
    Made: lambda _kind: st.sampled_from(
        [
            "",
            '[{"cidr":"10.0.0.0/8"}]',
            '[{"cidr":"::/0","limits":{"mail":{"period":"2h","max_delay":5}}},{"cidr":"192.0.2.1"}]',
        ]
    ),
}


def texts(kind: AnyKind) -> st.SearchStrategy[str]:
    """Make text that a kind accepts."""
    return TEXTS[type(kind)](kind)


def environments() -> st.SearchStrategy[dict[str, str]]:
    """Make valid values for some settings."""
    some_keys = st.lists(st.sampled_from(list(KEYS.values())), max_size=8, unique=True)
    return some_keys.flatmap(lambda keys: st.fixed_dictionaries({key.variable: texts(key.kind) for key in keys}))


@given(environments())
def test_written_config_read_back_is_equal(environ: dict[str, str]) -> None:
    """`environ` is an environment that means the same configuration; `describe` prints it, but for the secrets."""
    try:
        config = Config.from_env(environ)
    except ConfigError:
        reject()  # good values that do not fit together
    assert Config.from_env(config.environ()) == config
    secrets = {key.variable: key.text(config) for key in KEYS.values() if key.kind.secret}
    shown = environment(config.describe()) | secrets
    assert shown == config.environ()


def choices(section: type[Section]) -> Iterator[tuple[object, Choice]]:
    """Yield the annotation and the kind of every field that is a choice of words."""
    for field in section.model_fields.values():
        yield from ((field.annotation, kind) for kind in field.metadata if isinstance(kind, Choice))
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from choices(field.annotation)


def test_networks_are_described_in_their_own_syntax() -> None:
    """An override is printed with what it sets and nothing else, in the order of the search."""
    text = '[{"cidr":"10.0.0.0/8"},{"cidr":"10.1.0.0/16","limits":{"mail":{"period":120,"max_delay":"500ms"}}}]'
    (line,) = (
        line
        for line in Config.from_env({"HKPGUARD_NETWORKS": text}).describe()
        if line.startswith("HKPGUARD_NETWORKS=")
    )
    assert line.partition("=")[2] == (
        '[{"cidr":"10.1.0.0/16","limits":{"mail":{"period":"2m","max_delay":"500ms"}}},'
        '{"cidr":"10.0.0.0/8","limits":{}}]'
    )
    assert len(Config.from_env(environment([line])).networks) == 2


def test_every_choice_lists_the_words_of_its_type() -> None:
    """The words that are accepted and the words of the annotation are written in two places; they agree."""
    found = list(choices(Config))
    assert len(found) > len(CLASS_NAMES)
    assert all(get_args(annotation) == kind.words for annotation, kind in found)
