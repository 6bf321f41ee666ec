"""The configuration of hkpguard: what may be set, the defaults, and `Config.from_env`, which reads it.

Every leaf of the models carries a `Kind`, which reads and prints it; `KEYS` lists the leaves, and whatever
names settings (faults, `hkpguard check`, the test of `docs/configuration.md`) is made from it. What users
call `grace` is `grace_ns` here: the suffix is our unit, the alias their key.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import Field

from proxy.plugins.discovery import plugin_conflicts
from proxy.policy.networks import Network
from proxy.settings.abuse import BansConfig, TarpitConfig, TrapsConfig
from proxy.settings.adapt import AdaptConfig
from proxy.settings.addresses import Address, Cidr, HostPort
from proxy.settings.checks import Conflict, conflicts, file_conflicts, warnings
from proxy.settings.cluster import ClusterConfig
from proxy.settings.events import EventsConfig
from proxy.settings.geo import Files
from proxy.settings.intel import FEEDS, Feeds, IntelConfig, read_feeds, settings_of_feeds
from proxy.settings.kinds import (
    HOUR,
    KIB,
    MIB,
    MILLISECOND,
    MINUTE,
    PATH_PREFIX,
    SECOND,
    Choice,
    Duration,
    FilePath,
    ListOf,
    OrEmpty,
    Secret,
    Size,
    Switch,
    Whole,
)
from proxy.settings.limits import (
    NETWORKS,
    BudgetConfig,
    BudgetName,
    BudgetOverride,
    Budgets,
    ClassName,
    LimitConfig,
    LimitOverride,
    Limits,
    Mode,
    ModeWord,
    NetworkConfig,
)
from proxy.settings.listen import Listen, ListenAt
from proxy.settings.misses import MissesConfig
from proxy.settings.origins import ORIGIN_RULES, OriginRule
from proxy.settings.plugins import PLUGINS, Plugins, concealed, read_plugins, settings_of
from proxy.settings.section import Key, Section, keys
from proxy.settings.sources import MASK, ConfigError, Fault, Setting, SettingPath, masked, nested, read, variable
from proxy.settings.store_url import StoreAt, StoreUrl
from proxy.settings.sync import SyncConfig
from proxy.settings.uploads import UploadsConfig
from proxy.settings.verdicts import VerdictsConfig

__all__ = [
    "KEYS",
    "Address",
    "BansConfig",
    "ClassName",
    "Config",
    "ConfigError",
    "Fault",
    "HealthConfig",
    "HttpConfig",
    "LimitConfig",
    "LimitOverride",
    "Limits",
    "Listen",
    "LogConfig",
    "ModeWord",
    "NetworkConfig",
    "PoolConfig",
    "TarpitConfig",
    "Timeouts",
    "TrapsConfig",
    "usable_cores",
]

MOST_WORKERS: Final = 64
STRICT_TIMES: Final = 4  # the strict profile gives a network so much more time for its distinct certificates

ForwardedHeader = Literal["x-forwarded-for", "forwarded", "cf-connecting-ip", "true-client-ip", "x-real-ip"]
OnOff = Annotated[bool, Switch()]
Networks = Annotated[tuple[Network, ...], ListOf(Cidr())]
File = Annotated[str | None, OrEmpty(FilePath())]
Timeout = Annotated[int, Duration(100 * MILLISECOND, HOUR)]
Brief = Annotated[int, Duration(0, 10 * MINUTE)]
Moment = Annotated[int, Duration(0, 10 * SECOND)]
Patience = Annotated[int, Duration(0, HOUR)]


class Timeouts(Section):
    """How long each step of a request may take."""

    head_ns: Timeout = Field(default=10 * SECOND, alias="head")  # from the first byte of a head to its end
    body_ns: Timeout = Field(default=30 * SECOND, alias="body")  # between two pieces of an upload; all of it: 4 x
    keepalive_ns: Timeout = Field(default=30 * SECOND, alias="keepalive")  # of an idle client connection
    write_ns: Timeout = Field(default=MINUTE, alias="write")  # a client takes nothing of its answer
    connect_ns: Timeout = Field(default=3 * SECOND, alias="connect")  # to an upstream
    first_byte_ns: Timeout = Field(default=MINUTE, alias="first_byte")  # of an upstream's answer
    upstream_idle_ns: Timeout = Field(default=30 * SECOND, alias="upstream_idle")  # between two pieces of it
    handshake_ns: Timeout = Field(default=5 * SECOND, alias="handshake")  # of TLS
    proxy_header_ns: Timeout = Field(default=3 * SECOND, alias="proxy_header")  # from the connection to its end


class HttpConfig(Section):
    """The largest request that is read."""

    head_bytes: Annotated[int, Size(KIB, 256 * KIB)] = 16 * KIB  # request line and headers
    target_bytes: Annotated[int, Size(256, 128 * KIB)] = 8 * KIB  # path and query
    body_bytes: Annotated[int, Size(KIB, 64 * MIB)] = MIB
    body_store_bytes: Annotated[int, Size(8 * KIB, 4096 * MIB)] = 64 * MIB  # a worker, for all that it reads at once


class CacheConfig(Section):
    """Answers that are kept for a moment, and single flight: identical requests become one."""

    mode: Annotated[Literal["on", "off"], Choice(("on", "off"))] = "on"
    bytes: Annotated[int, Size(MIB, 65_536 * MIB)] = 32 * MIB  # of all workers together
    cert_ns: Brief = Field(default=45 * SECOND, alias="cert")  # an answer about a certificate
    missing_ns: Brief = Field(default=20 * SECOND, alias="missing")  # that there is none
    # An answer to a search by address or words: no upload ends it, for nobody knows which ones it would change.
    search_ns: Moment = Field(default=10 * SECOND, alias="search")
    stats_ns: Brief = Field(default=MINUTE, alias="stats")
    prefixlog_ns: Brief = Field(default=10 * MINUTE, alias="prefixlog")  # what changed on a day that is over


class PoolConfig(Section):
    """Connections of one worker to one upstream."""

    connections: Annotated[int, Whole(1, 65_536)] = 256
    idle: Annotated[int, Whole(0, 65_536)] = 256  # fewer than `connections`: bursts open and close them again and again
    slow: Annotated[int, Whole(1, 65_536)] = 512  # besides `connections`: their clients are slow to read


class HealthConfig(Section):
    """How upstreams are watched."""

    path: Annotated[str, PATH_PREFIX] = "/"
    interval_ns: Timeout = Field(default=5 * SECOND, alias="interval")
    timeout_ns: Timeout = Field(default=3 * SECOND, alias="timeout")
    failures: Annotated[int, Whole(1, 100)] = 3  # one after the other make it count as down
    down_ns: Timeout = Field(default=10 * SECOND, alias="down")  # until a request may try it again


class LogConfig(Section):
    """What is logged. Subjects (what was searched) and addresses are personal data, so they are off."""

    access: OnOff = True
    format: Annotated[Literal["json", "console"], Choice(("json", "console"))] = "json"
    level: Annotated[Literal["debug", "info", "warning", "error"], Choice(("debug", "info", "warning", "error"))] = (
        "info"
    )
    subjects: OnOff = False
    addresses: OnOff = False


def usable_cores() -> int:
    """Return how many cores this process may run on, 1..64."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)))


class Config(Section):
    """Everything that can be set. Make it with `from_env`: only that checks that settings fit together."""

    listen: Annotated[tuple[Listen, ...], ListOf(ListenAt())] = (Listen(Address("127.0.0.1", 11371)),)
    upstream: Annotated[tuple[Address, ...], ListOf(HostPort(scheme="http://", lowest_port=1))] = ()
    admin: Annotated[Address, HostPort()] = Address("127.0.0.1", 11380)
    admin_token: Annotated[str | None, OrEmpty(Secret())] = None
    tls_cert: File = None  # PEM: the certificate and those between it and the root
    tls_key: File = None  # PEM
    proxy_protocol: Annotated[Literal["off", "require"], Choice(("off", "require"))] = "off"
    upstream_proxy_protocol: Annotated[Literal["off", "v2"], Choice(("off", "v2"))] = "off"
    state_dir: Annotated[str, FilePath()] = "./state"
    redis_url: Annotated[StoreUrl | None, OrEmpty(StoreAt())] = None  # None: the node stands alone
    cluster: ClusterConfig = ClusterConfig()
    workers: Annotated[int, Whole(1, MOST_WORKERS)] = Field(default_factory=usable_cores)
    mode: Mode = "enforce"
    trusted_proxies: Networks = ()
    forwarded_header: Annotated[ForwardedHeader, Choice(get_args(ForwardedHeader))] = "x-forwarded-for"
    table_clients: Annotated[int, Whole(1024, 134_217_728)] = 1_048_576
    table_prefixes: Annotated[int, Whole(1024, 67_108_864)] = 1_000_000
    allow: Networks = ()
    peers: Networks = ()
    shared_exits: Networks = ()
    shared_exits_file: File = None  # one network a line, `#` begins a comment
    geoip_city: Files = ()  # databases of locations, see docs/geo.md
    geoip_country: Files = ()
    geoip_asn: Files = ()
    geoip_anonymous: Files = ()
    bans: BansConfig = BansConfig()
    traps: TrapsConfig = TrapsConfig()
    tarpit: TarpitConfig = TarpitConfig()
    verdicts: VerdictsConfig = VerdictsConfig()
    networks: Annotated[tuple[NetworkConfig, ...], NETWORKS] = ()  # the most specific first
    origin_rules: Annotated[tuple[OriginRule, ...], ORIGIN_RULES] = ()  # the first that fits holds
    limits: Limits = Field(default_factory=lambda: Limits.model_validate({}))
    budgets: Budgets = Field(default_factory=lambda: Budgets.model_validate({}))
    profile: Annotated[Literal["default", "strict"], Choice(("default", "strict"))] = "default"
    cache: CacheConfig = CacheConfig()
    sync: SyncConfig = SyncConfig()
    uploads: UploadsConfig = UploadsConfig()
    misses: MissesConfig = MissesConfig()
    adapt: AdaptConfig = AdaptConfig()
    intel: IntelConfig = IntelConfig()
    feeds: Feeds = Field(default_factory=dict)  # by name; not in KEYS: they are named by those who set them
    unknown: Annotated[Literal["refuse", "pass"], Choice(("refuse", "pass"))] = "refuse"
    static_paths: Annotated[tuple[str, ...] | None, OrEmpty(ListOf(PATH_PREFIX))] = None  # None: built in
    word_search: OnOff = True
    word_min_chars: Annotated[int, Whole(1, 32)] = 3
    timeouts: Timeouts = Timeouts()
    http: HttpConfig = HttpConfig()
    pool: PoolConfig = PoolConfig()
    health: HealthConfig = HealthConfig()
    connections: Annotated[int, Whole(16, 1_048_576)] = 16_384  # of all clients, per worker
    connections_per_client: Annotated[int, Whole(0, 65_535)] = 256  # of one client, all workers; 0: no cap
    connections_per_network: Annotated[int, Whole(0, 65_535)] = 1024  # of a /24 or /48, all workers; 0: no cap
    handshakes: Annotated[int, Whole(1, 65_536)] = 512  # of TLS, at a time, per worker
    parked: Annotated[int, Whole(0, 1_048_576)] = 8192  # requests that wait, per worker
    grace_ns: Patience = Field(default=3 * SECOND, alias="grace")  # from SIGTERM until no one is taken on
    hard_stop_after_ns: Patience = Field(default=30 * SECOND, alias="hard_stop_after")  # for those in flight
    log: LogConfig = LogConfig()
    ratelimit_headers: Annotated[Literal["draft", "legacy", "off"], Choice(("draft", "legacy", "off"))] = "draft"
    events: EventsConfig = EventsConfig()
    plugins: Plugins = Field(default_factory=dict)  # by name; not in KEYS: which there are is known when it runs

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, try_files: bool = True, released: str = "") -> Self:
        """Read `HKPGUARD_*` of `environ` and the TOML file that HKPGUARD_CONFIG names; the environment wins.

        Args:
            environ: As os.environ.
            try_files: Look whether the files that it names can be used, and ask the plugins. Not everybody who reads
                the configuration may read the private key, and a child takes what the supervisor has tried.
            released: What was released for the whole cluster, as TOML; it wins over the file.

        Raises:
            ConfigError: With every fault: unknown keys, bad values, settings that do not fit together.

        """
        settings, faults = read(environ, KEYS, lambda path: PLUGINS.holds(path) or FEEDS.holds(path), released)
        of_plugins = [settings.pop(path) for path in [*settings] if PLUGINS.holds(path)]
        plugins, plugin_faults = read_plugins(of_plugins)
        feeds, feed_faults = read_feeds([settings.pop(path) for path in [*settings] if FEEDS.holds(path)])
        bad = [(setting, problem) for setting in settings.values() for problem in _problems(setting)]
        faults += [Fault(setting.name, _shown(setting), problem) for setting, problem in bad]
        doubtful = {setting.path for setting, _ in bad}
        good = {path: setting for path, setting in settings.items() if path not in doubtful}
        config = cls.model_validate({**nested(good), "plugins": plugins, "feeds": feeds})
        faults += _faults_of(conflicts(config), settings, doubtful)
        faults += plugin_faults + feed_faults
        if try_files:
            faults += _faults_of(file_conflicts(config), settings, doubtful)
            faults += plugin_conflicts(config.plugins, of_plugins)
        if faults:
            raise ConfigError(faults)
        return config

    def require_upstream(self) -> tuple[Address, ...]:
        """Return the upstreams, at least one; raise ConfigError if none is set."""
        if not self.upstream:
            problem = "must be set: where the keyserver is, http://host:port"
            raise ConfigError([Fault(variable(("upstream",)), None, problem)])
        return self.upstream

    def limits_for(self, network: NetworkConfig | None = None) -> dict[ClassName, LimitConfig]:
        """Return the complete limits by class name, in the order of their indices.

        Args:
            network: One of `networks`; None for the clients that are in none of them.

        """
        overrides = network.limits if network else {}
        return {
            name: overrides[name].onto(limit) if name in overrides else limit
            for name, limit in self.limits.by_name().items()
        }

    def budgets_for(self, network: NetworkConfig | None = None) -> dict[BudgetName, BudgetConfig]:
        """Return the complete budgets by name, in the order of their indices.

        Args:
            network: One of `networks`; None for the clients that are in none of them.

        """
        budgets = self.budgets.by_name()
        if self.profile == "strict":
            certs = budgets["distinct_certs"]
            budgets["distinct_certs"] = certs.model_copy(update={"period_ns": STRICT_TIMES * certs.period_ns})
        overrides: dict[BudgetName, BudgetOverride] = dict(network.budgets.items()) if network else {}
        return {name: overrides[name].onto(budget) if name in overrides else budget for name, budget in budgets.items()}

    def describe(self) -> list[str]:
        """Return the effective configuration as lines `HKPGUARD_X=value`.

        Above a value that differs from the default stands a comment, `# default: ...`. But for the secrets, which are
        masked, the lines are an environment file that gives an equal Config.
        """
        default = Config.model_validate({})
        plugins = [f"{name}={concealed(name, text)}" for name, text in settings_of(self.plugins)]
        feeds = [f"{name}={masked(text)}" for name, text in settings_of_feeds(self.feeds)]
        return [line for key in KEYS.values() for line in _described(key, self, default)] + feeds + plugins

    def environ(self) -> dict[str, str]:
        """Return the environment that gives an equal Config, secrets in clear."""
        own = {key.variable: key.text(self) for key in KEYS.values()}
        return own | dict(settings_of_feeds(self.feeds)) | dict(settings_of(self.plugins))

    def warnings(self) -> list[str]:
        """Return what is allowed but probably not meant, in sentences for `hkpguard check`."""
        return warnings(self)


KEYS: Final[Mapping[SettingPath, Key]] = {key.path: key for key in keys(Config, besides=("plugins", "feeds"))}


def _problems(setting: Setting) -> list[str]:
    return KEYS[setting.path].kind.problems(setting.value)


def _shown(setting: Setting) -> object:
    """Return the value as a fault may repeat it."""
    key = KEYS.get(setting.path)  # None: of a feed
    return MASK if key and key.kind.secret and setting.value else setting.value


def _faults_of(
    found: Iterable[Conflict], settings: Mapping[SettingPath, Setting], doubtful: set[SettingPath]
) -> Iterator[Fault]:
    """Name conflicts, but none with a default that stands in for a value already refused."""
    for conflict in found:
        path = conflict.paths[0]
        setting = settings.get(path, Setting(path, None, variable(path)))
        if doubtful.isdisjoint(conflict.paths):
            yield Fault(setting.name, _shown(setting), conflict.problem)


def _described(key: Key, config: Config, default: Config) -> Iterator[str]:
    value, usual = key.text(config), key.text(default)
    if value != usual:
        yield f"# default: {usual or 'empty'}"
    shown = value if key.path == ("listen",) else masked(value)  # behind its question marks are options, and no keys
    yield f"{key.variable}={MASK if value and key.kind.secret else shown}"
