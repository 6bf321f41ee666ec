"""The limits as they are configured: defaults by operation class, and what differs in single networks.

What runs is another type: `proxy/policy` compiles these. Where the figures come from: HKP.md 5.1.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Final, Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails

from proxy.settings.kinds import (
    DAY,
    MILLISECOND,
    MINUTE,
    SECOND,
    Choice,
    Cidr,
    Duration,
    Made,
    Network,
    Whole,
)
from proxy.settings.section import Section, keys

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

Mode = Annotated[ModeWord, Choice(get_args(ModeWord))]
Tokens = Annotated[int, Whole(1, 1_000_000)]
# The shortest period has as many ns as the greatest count, so a token never takes less than one ns.
Period = Annotated[int, Duration(MILLISECOND, 366 * DAY)]
Delay = Annotated[int, Duration(0, MINUTE)]
Queue = Annotated[int, Duration(0, 30 * SECOND)]
PerClient = Annotated[int, Whole(0, 16)]
PerClass = Annotated[int, Whole(0, 256)]


class LimitConfig(Section):
    """One limit: `burst` tokens, of which `count` come back per period, and caps on what runs at once."""

    burst: Tokens
    count: Tokens
    period_ns: Period = Field(alias="period")
    max_delay_ns: Delay = Field(default=0, alias="max_delay")  # the longest wait for a token; 0: none
    concurrent: PerClient = 0  # requests of one client; 0: no cap
    concurrent_total: PerClass = 0  # requests of all clients of the node; 0: no cap
    queue_ns: Queue = Field(default=0, alias="queue")  # the longest wait for one of these places
    mode: Mode = "enforce"


class LimitOverride(Section):
    """The fields of a limit that differ in one network; None: as everywhere. Bounds as in `LimitConfig`."""

    burst: Tokens | None = None
    count: Tokens | None = None
    period_ns: Period | None = Field(default=None, alias="period")
    max_delay_ns: Delay | None = Field(default=None, alias="max_delay")
    concurrent: PerClient | None = None
    concurrent_total: PerClass | None = None
    queue_ns: Queue | None = Field(default=None, alias="queue")
    mode: Mode | None = None

    def onto(self, base: LimitConfig) -> LimitConfig:
        """Return `base` with what is set here. No bound depends on two fields, so the outcome is valid."""
        return base.model_copy(update=self.model_dump(exclude_none=True))


class NetworkConfig(Section):
    """Other limits for the clients of one network."""

    cidr: Annotated[Network, Cidr()]
    limits: dict[ClassName, LimitOverride] = Field(default_factory=dict)


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


def _networks_from(given: object) -> tuple[NetworkConfig, ...]:
    """Read JSON text or a TOML array of tables; the most specific network comes first."""
    try:
        tables = json.loads(given.strip() or "[]") if isinstance(given, str) else given
        networks = TypeAdapter(list[NetworkConfig]).validate_python(tables)
    except json.JSONDecodeError as error:
        problem = f"is not JSON: {error}"
        raise ValueError(problem) from None
    except ValidationError as error:
        raise ValueError(*(text for fault in error.errors() for text in _in_our_words(fault))) from None
    return tuple(sorted(networks, key=lambda network: (-network.cidr.prefixlen, str(network.cidr))))


def _in_our_words(fault: ErrorDetails) -> list[str]:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault["loc"] if step != "[key]")
    texts = {
        "missing": "must be given",
        "extra_forbidden": "is unknown; "
        f"a network has cidr and limits, a limit {', '.join(key.path[0] for key in LIMIT_KEYS)}",
        "literal_error": f"is not an operation class; there are {', '.join(CLASS_NAMES)}",
        "list_type": "must be a list of tables",
        "model_type": "must be a table",
        "dict_type": "must be a table",
    }
    if fault["type"] == "value_error":
        return [f"{place}={fault['input']} {problem}" for problem in fault["ctx"]["error"].args]
    return [f"{place} {texts.get(fault['type'], fault['msg'])}".strip()]


def _networks_text(networks: tuple[NetworkConfig, ...]) -> str:
    tables = [
        {
            "cidr": str(network.cidr),
            "limits": {name: _written(limit) for name, limit in network.limits.items()},
        }
        for network in networks
    ]
    return json.dumps(tables, separators=(",", ":")) if tables else ""


def _written(override: LimitOverride) -> dict[str, str]:
    """Return the fields that are set, in the user's syntax."""
    return {key.path[0]: key.text(override) for key in LIMIT_KEYS if key.value(override) is not None}


NETWORKS: Final = Made(
    'a list of {"cidr": "192.0.2.0/24", "limits": {"cert": {"burst": 600}}}, JSON in the environment',
    _networks_from,
    _networks_text,
)
