"""The limits as they are configured: defaults by operation class, and what differs in single networks.

What runs is another type: `proxy/policy` compiles these. Where the figures come from: HKP.md 5.1.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeVar, get_args

from pydantic import Field, model_validator
from pydantic_core import ErrorDetails

from proxy.policy.networks import Network
from proxy.settings.addresses import Cidr
from proxy.settings.kinds import (
    DAY,
    MILLISECOND,
    MINUTE,
    SECOND,
    Choice,
    Duration,
    Made,
    Whole,
)
from proxy.settings.section import Key, Section, keys
from proxy.settings.tables import read_tables

ModeWord = Literal["enforce", "shadow", "off"]
ClassName = Literal[
    "total",
    "cert",
    "identity",
    "words",
    "upload",
    "mail",
    "admin",
    "sync",
    "prefixlog",
    "stats",
    "static",
    "unknown",
]
CLASS_NAMES: Final[tuple[ClassName, ...]] = get_args(ClassName)


def mildest(*modes: ModeWord) -> ModeWord:
    """Return the mode of what is never stricter than any of these."""
    return "off" if "off" in modes else "shadow" if "shadow" in modes else "enforce"


# Budgets are not of one client: of its network (the first four), of what it asks for, of a class of clients, of all.
NetworkBudgetName = Literal["distinct_certs", "distinct_identities", "network_uploads", "network_prefixlogs"]
BudgetName = Literal[
    NetworkBudgetName,
    "domain",
    "cert_updates",
    "cert_growth",
    "user_id",
    "mail_address",
    "exit_uploads",
    "new_certs",
    "hosting_certs",
    "tor_certs",
]
BUDGET_NAMES: Final[tuple[BudgetName, ...]] = get_args(BudgetName)

Mode = Annotated[ModeWord, Choice(get_args(ModeWord))]
Tokens = Annotated[int, Whole(1, 1_000_000)]
LONGEST_PERIOD_NS: Final = 366 * DAY
# The shortest period has as many ns as the greatest count, so a token never takes less than one ns.
Period = Annotated[int, Duration(MILLISECOND, LONGEST_PERIOD_NS)]
Delay = Annotated[int, Duration(0, MINUTE)]
Queue = Annotated[int, Duration(0, 30 * SECOND)]
PerClient = Annotated[int, Whole(0, 16)]
PerClass = Annotated[int, Whole(0, 256)]


Rate = TypeVar("Rate", bound="BudgetConfig")


class BudgetConfig(Section):
    """One budget: `burst` tokens, of which `count` come back per period."""

    burst: Tokens
    count: Tokens
    period_ns: Period = Field(alias="period")
    max_delay_ns: Delay = Field(default=0, alias="max_delay")  # the longest wait for a token; 0: none
    mode: Mode = "enforce"

    @property
    def token_ns(self) -> int:
        """Time in which one token comes back, ns; rounded up."""
        return -(-self.period_ns // self.count)


class LimitConfig(BudgetConfig):
    """The limit of a class of operations: a budget of each client, and caps on what runs at once."""

    concurrent: PerClient = 0  # requests of one client; 0: no cap
    concurrent_total: PerClass = 0  # requests of all clients of the node; 0: no cap
    queue_ns: Queue = Field(default=0, alias="queue")  # the longest wait for one of these places


class BudgetOverride(Section):
    """The fields of a budget that differ in one network; None: as everywhere. Bounds as in `BudgetConfig`."""

    burst: Tokens | None = None
    count: Tokens | None = None
    period_ns: Period | None = Field(default=None, alias="period")
    max_delay_ns: Delay | None = Field(default=None, alias="max_delay")
    mode: Mode | None = None

    def onto(self, base: Rate) -> Rate:
        """Return `base` with what is set here. No bound depends on two fields, so the outcome is valid."""
        return base.model_copy(update=self.model_dump(exclude_none=True))


class LimitOverride(BudgetOverride):
    """The same for a limit."""

    concurrent: PerClient | None = None
    concurrent_total: PerClass | None = None
    queue_ns: Queue | None = Field(default=None, alias="queue")


class NetworkConfig(Section):
    """Other limits for the clients of one network."""

    cidr: Annotated[Network, Cidr()]
    limits: dict[ClassName, LimitOverride] = Field(default_factory=dict)
    budgets: dict[NetworkBudgetName, BudgetOverride] = Field(default_factory=dict)


LIMIT_DEFAULTS: Final[Mapping[ClassName, Mapping[str, int | str]]] = {
    "total": {"burst": 1200, "count": 20, "period": "1s"},
    "cert": {"burst": 60, "count": 5, "period": "1s", "max_delay": "10s"},
    "identity": {"burst": 50, "count": 6, "period": "1m"},
    "words": {"burst": 10, "count": 6, "period": "1m", "concurrent": 2, "concurrent_total": 8, "queue": "2s"},
    "upload": {
        "burst": 10,
        "count": 6,
        "period": "1m",
        "max_delay": "10s",
        "concurrent": 2,
        "concurrent_total": 16,
        "queue": "10s",
    },
    "mail": {"burst": 5, "count": 5, "period": "1h"},
    "admin": {"burst": 3, "count": 3, "period": "1h", "concurrent": 1},
    "sync": {"burst": 60, "count": 60, "period": "1m", "concurrent": 2},
    "prefixlog": {"burst": 10, "count": 10, "period": "1d"},
    # Only `total` counts these; the figures are for an operator who switches the mode on.
    "stats": {"burst": 60, "count": 1, "period": "1s", "mode": "off"},
    "static": {"burst": 300, "count": 10, "period": "1s", "mode": "off"},
    "unknown": {"burst": 60, "count": 1, "period": "1s", "mode": "off"},
}


BUDGET_DEFAULTS: Final[Mapping[BudgetName, Mapping[str, int | str]]] = {
    "distinct_certs": {"burst": 1000, "count": 1, "period": "5s", "max_delay": "10s"},
    "distinct_identities": {"burst": 200, "count": 60, "period": "1h"},
    "network_uploads": {"burst": 60, "count": 60, "period": "1h", "max_delay": "1m"},
    "network_prefixlogs": {"burst": 10, "count": 10, "period": "1d"},
    "domain": {"burst": 600, "count": 60, "period": "1m", "max_delay": "10s"},
    "cert_updates": {"burst": 10, "count": 10, "period": "1h"},
    "cert_growth": {"burst": 500, "count": 50, "period": "1d"},
    "user_id": {"burst": 5, "count": 5, "period": "1d"},
    "mail_address": {"burst": 1, "count": 1, "period": "1h"},
    "exit_uploads": {"burst": 5, "count": 1, "period": "10s", "max_delay": "1m"},
    "new_certs": {"burst": 600, "count": 600, "period": "1h", "max_delay": "1m"},
    "hosting_certs": {"burst": 4000, "count": 1, "period": "5s", "max_delay": "10s"},
    # In shadow mode: through the same exits come those who scrape and those who read, so it would refuse both.
    "tor_certs": {"burst": 10_000, "count": 1, "period": "2s", "max_delay": "10s", "mode": "shadow"},
}


class Budgets(Section):
    """The budgets that are not of one client."""

    distinct_certs: BudgetConfig  # certificates that a network (/24, /48) has not asked for in the last hours
    distinct_identities: BudgetConfig  # the same for e-mail addresses
    network_uploads: BudgetConfig  # of a network; shared exits have `exit_uploads`
    network_prefixlogs: BudgetConfig  # lists of what changed on a day, for a network
    domain: BudgetConfig  # new e-mail addresses of one domain, whoever asks
    cert_updates: BudgetConfig  # uploads of one certificate, whoever uploads
    cert_growth: BudgetConfig  # signatures of others on one certificate
    user_id: BudgetConfig  # certificates with one user ID
    mail_address: BudgetConfig  # mails to one address
    exit_uploads: BudgetConfig  # of all shared exits together
    new_certs: BudgetConfig  # certificates that were not seen before, of everybody
    hosting_certs: BudgetConfig  # cold certificates that the clients of one hosting company ask for, by its ASN
    tor_certs: BudgetConfig  # cold certificates that are asked for through all exits of Tor

    @model_validator(mode="before")
    @classmethod
    def _onto_the_defaults(cls, given: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
        """Let `DOMAIN__BURST=9` change the burst of `domain` only; pydantic would ask for the other fields."""
        return {**given, **{name: {**BUDGET_DEFAULTS[name], **given.get(name, {})} for name in BUDGET_NAMES}}

    def by_name(self) -> dict[BudgetName, BudgetConfig]:
        """Return the budgets in the order of their indices."""
        return {name: getattr(self, name) for name in BUDGET_NAMES}


class Limits(Section):
    """The limit of each operation class, and of all of a client's requests together (`total`)."""

    total: LimitConfig
    cert: LimitConfig
    identity: LimitConfig
    words: LimitConfig
    upload: LimitConfig
    mail: LimitConfig
    admin: LimitConfig
    sync: LimitConfig
    prefixlog: LimitConfig
    stats: LimitConfig
    static: LimitConfig
    unknown: LimitConfig

    @model_validator(mode="before")
    @classmethod
    def _onto_the_defaults(cls, given: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
        """Let `CERT__BURST=9` change the burst of `cert` only; pydantic would ask for the other fields."""
        return {**given, **{name: {**LIMIT_DEFAULTS[name], **given.get(name, {})} for name in CLASS_NAMES}}

    def by_name(self) -> dict[ClassName, LimitConfig]:
        """Return the limits in the order of their indices."""
        return {name: getattr(self, name) for name in CLASS_NAMES}


LIMIT_KEYS: Final = tuple(keys(LimitConfig))
BUDGET_KEYS: Final = tuple(keys(BudgetConfig))


_NETWORK_FIELDS: Final = (
    f"a network has cidr, limits and budgets, a limit {', '.join(key.path[0] for key in LIMIT_KEYS)}"
)


def _networks_from(given: object) -> tuple[NetworkConfig, ...]:
    """Read JSON text or a TOML array of tables; the most specific network comes first."""
    networks = read_tables(given, NetworkConfig, fields=_NETWORK_FIELDS, wrong_word=_not_a_name)
    return tuple(sorted(networks, key=lambda network: (-network.cidr.prefixlen, str(network.cidr))))


def _not_a_name(fault: ErrorDetails) -> str:
    if "budgets" in fault["loc"]:
        return f"is not a budget of networks; there are {', '.join(get_args(NetworkBudgetName))}"
    return f"is not an operation class; there are {', '.join(CLASS_NAMES)}"


def _networks_text(networks: tuple[NetworkConfig, ...]) -> str:
    tables = [
        {
            "cidr": str(network.cidr),
            "limits": {name: _written(limit, LIMIT_KEYS) for name, limit in network.limits.items()},
            **({"budgets": budgets} if (budgets := _budgets_written(network)) else {}),
        }
        for network in networks
    ]
    return json.dumps(tables, separators=(",", ":")) if tables else ""


def _budgets_written(network: NetworkConfig) -> dict[str, dict[str, str]]:
    return {name: _written(budget, BUDGET_KEYS) for name, budget in network.budgets.items()}


def _written(override: BudgetOverride, known: tuple[Key, ...]) -> dict[str, str]:
    """Return the fields that are set, in the user's syntax."""
    return {key.path[0]: key.text(override) for key in known if key.value(override) is not None}


NETWORKS: Final = Made(
    'a list of {"cidr": "192.0.2.0/24", "limits": {"cert": {"burst": 600}}}, JSON in the environment',
    _networks_from,
    _networks_text,
)
