"""The operator's rules by origin: what is refused, or costs more, by country, network and kind of network."""

import json
import re
from typing import Annotated, Final, Literal, get_args

from pydantic import ValidationInfo, field_validator

from fastpath.origin import MOST_ASN, MOST_RULES, NetworkKind
from proxy.policy.networks import Network
from proxy.settings.addresses import Cidr
from proxy.settings.kinds import Choice, ListOf, Made, Spelled, Whole
from proxy.settings.limits import CLASS_NAMES, ClassName, Mode
from proxy.settings.section import Section
from proxy.settings.tables import read_tables

KindName = Literal[
    "residential", "business", "mobile", "satellite", "hosting", "vpn", "tor", "relay", "education", "unknown"
]
KIND_NAMES: Final[tuple[KindName, ...]] = get_args(KindName)
MOST_ITEMS: Final = 10_000  # of a rule
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class OriginRule(Section):
    """What holds for requests from certain places. A client has to be in all that is named, in one of each list."""

    name: Annotated[str, Spelled(_NAME, "up to 32 small letters, digits, - and _")]
    countries: Annotated[tuple[str, ...], ListOf(Spelled(_COUNTRY, "two capital letters, ISO 3166-1"))] = ()
    asns: Annotated[tuple[int, ...], ListOf(Whole(1, MOST_ASN))] = ()
    kinds: Annotated[tuple[KindName, ...], ListOf(Choice(KIND_NAMES))] = ()
    networks: Annotated[tuple[Network, ...], ListOf(Cidr())] = ()
    deny: Annotated[tuple[ClassName, ...], ListOf(Choice(CLASS_NAMES))] = ()  # `total`: whatever is not priced
    price: Annotated[tuple[ClassName, ...], ListOf(Choice(CLASS_NAMES))] = ()  # `total`: whatever is not denied
    mode: Mode = "enforce"

    @field_validator("countries", "asns", "kinds", "networks")
    @classmethod
    def _not_too_many(cls, items: tuple[object, ...], info: ValidationInfo) -> tuple[object, ...]:
        if len(items) > MOST_ITEMS:
            raise ValueError(f"has {len(items)} {info.field_name}, not 0..{MOST_ITEMS}")
        return items

    @property
    def network_kinds(self) -> tuple[NetworkKind, ...]:
        """The kinds as numbers."""
        return tuple(NetworkKind[name.upper()] for name in self.kinds)


def _rules_from(given: object) -> tuple[OriginRule, ...]:
    """Read JSON text or a TOML array of tables; the order is kept, since the first rule that fits holds."""
    rules = read_tables(given, OriginRule, fields=f"a rule has {', '.join(OriginRule.model_fields)}")
    if problems := [*_faults(rules)]:
        raise ValueError(*problems)
    return tuple(rules)


def _faults(rules: list[OriginRule]) -> list[str]:
    names = [rule.name for rule in rules]
    placeless = [rule.name for rule in rules if not (rule.countries or rule.asns or rule.kinds or rule.networks)]
    both = [f"{rule.name} denies and prices {name}" for rule in rules for name in rule.deny if name in rule.price]
    return [
        *([f"has {len(rules)} rules, not 0..{MOST_RULES}"] if len(rules) > MOST_RULES else []),
        *(f"names {name} twice" for name in dict.fromkeys(names) if names.count(name) > 1),
        *(f"{name} must name countries, asns, kinds or networks" for name in placeless),
        *both,
    ]


def _rules_text(rules: tuple[OriginRule, ...]) -> str:
    tables = [rule.model_dump(mode="json", exclude_defaults=True) for rule in rules]
    return json.dumps(tables, separators=(",", ":")) if tables else ""


ORIGIN_RULES: Final = Made(
    'a list of {"name": "clouds", "kinds": ["hosting"], "deny": ["upload"]}, JSON in the environment',
    _rules_from,
    _rules_text,
)
