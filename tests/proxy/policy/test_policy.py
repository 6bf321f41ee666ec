"""What the configuration says of clients and limits, compiled to what a worker reads."""

from __future__ import annotations

import json
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from fastpath import BUCKETS
from fastpath._gcra_py import Mode
from proxy.config import Config, ConfigError
from proxy.hkp.classes import OperationClass
from proxy.policy import policy as module
from proxy.policy.budgets import BudgetKind
from proxy.policy.policy import BUDGET_NAMES, CLASS_NAMES, Cap, Policy, Profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.policy.budgets import Tables

SECOND = 1_000_000_000
CERT, STATS = OperationClass.CERT, OperationClass.STATS
NETWORKS = json.dumps(
    [
        {"cidr": "192.0.2.0/24", "limits": {"cert": {"burst": 600}, "words": {"concurrent": 5}}},
        {"cidr": "192.0.2.128/25", "limits": {"cert": {"mode": "off"}}},
        {"cidr": "2001:db8::/32", "limits": {}},
    ]
)


def policy(tables: Tables, settings: Mapping[str, str] | None = None) -> Policy:
    """Return the policy of a configuration."""
    environ = {f"HKPGUARD_{name}": value for name, value in (settings or {}).items()}
    return Policy(Config.from_env(environ), tables)


def granted(judged: Policy, address: str) -> Profile:
    """Return the profile of an address."""
    return judged.profile(ip_address(address).packed)


def limit_of(profile: Profile, kind: OperationClass) -> tuple[int, Mode] | None:
    """Return burst and mode of a limit, if there is one."""
    limit = profile.limits[kind]
    return None if limit is None else (limit.burst, limit.mode)


def test_there_is_a_limit_for_each_bucket(tables: Tables) -> None:
    """The order of the limits is that of the operation classes, which is that of the buckets; then come the budgets."""
    profile = granted(policy(tables), "192.0.2.1")
    assert len(CLASS_NAMES) == len(profile.caps) == BUCKETS
    assert len(profile.limits) == BUCKETS + len(BudgetKind)
    assert [limit.name for limit in profile.limits if limit] == [
        "total", "cert", "identity", "words", "upload", "mail", "admin", "sync", "prefixlog",
        "distinct-certs", "distinct-identities", "network-uploads", "network-prefixlogs", "domain", "cert-updates",
        "cert-growth", "user-id", "mail-address", "exit-uploads", "new-certs", "hosting-certs", "tor-certs",
    ]  # fmt: skip


def test_budgets_stand_in_the_order_of_their_kinds(tables: Tables) -> None:
    """The numbers of the budgets are the places of their limits, by which refusals name them."""
    assert [kind.name.lower() for kind in BudgetKind] == list(BUDGET_NAMES)
    profile = granted(policy(tables), "192.0.2.1")
    assert [budget.kind for budget in profile.budgets if budget] == list(BudgetKind)


def test_budgets_of_a_network(tables: Tables) -> None:
    """A network may have other budgets; what is off, as everywhere, is none."""
    networks = [{"cidr": "192.0.2.0/24", "budgets": {"distinct_certs": {"burst": 9}}}]
    judged = policy(tables, {"NETWORKS": json.dumps(networks), "BUDGETS__DOMAIN__MODE": "off", "PROFILE": "strict"})
    special, usual = granted(judged, "192.0.2.1"), granted(judged, "198.51.100.1")
    certs = [profile.limits[BudgetKind.DISTINCT_CERTS] for profile in (special, usual)]
    assert [(limit.burst, limit.emission_interval_ns) for limit in certs if limit] == [
        (9, 20 * SECOND),
        (1000, 20 * SECOND),
    ]
    assert special.budgets[BudgetKind.DOMAIN - BUCKETS] is None


def test_defaults(tables: Tables) -> None:
    """The limits of HKP.md 5.1 as they run: fingerprints 5/s, 60 at once, up to 10 s late."""
    limit = granted(policy(tables), "192.0.2.1").limits[CERT]
    assert limit is not None
    assert (limit.burst, limit.emission_interval_ns, limit.max_delay_ns) == (60, SECOND // 5, 10 * SECOND)


def test_everybody_has_the_same_profile(tables: Tables) -> None:
    """Where no network is named, all share one object."""
    judged = policy(tables)
    assert granted(judged, "192.0.2.1") is granted(judged, "2001:db8::1")


def test_networks(tables: Tables) -> None:
    """The most specific network decides about all limits; what it does not name is as everywhere."""
    judged = policy(tables, {"NETWORKS": NETWORKS})
    assert limit_of(granted(judged, "192.0.2.1"), CERT) == (600, Mode.ENFORCE)
    assert limit_of(granted(judged, "192.0.2.200"), CERT) is None
    assert limit_of(granted(judged, "198.51.100.1"), CERT) == (60, Mode.ENFORCE)
    assert limit_of(granted(judged, "2001:db8::1"), CERT) == (60, Mode.ENFORCE)
    assert limit_of(granted(judged, "192.0.2.1"), OperationClass.UPLOAD) == (10, Mode.ENFORCE)


@pytest.mark.parametrize(
    ("address", "exempt", "peer"),
    [
        ("192.0.2.1", True, False),
        ("192.0.2.9", True, True),
        ("198.51.100.9", False, True),
        ("198.51.100.1", False, False),
    ],
)
def test_exempt_and_peer(tables: Tables, address: str, *, exempt: bool, peer: bool) -> None:
    """Two lists, one client may be in both; the limits stay those of its network."""
    judged = policy(tables, {"ALLOW": "192.0.2.0/24", "PEERS": "192.0.2.9/32,198.51.100.9/32", "NETWORKS": NETWORKS})
    profile = granted(judged, address)
    assert (profile.exempt, profile.peer) == (exempt, peer)
    assert limit_of(profile, CERT) == ((600 if address.startswith("192") else 60), Mode.ENFORCE)


@pytest.mark.parametrize(
    ("global_mode", "own_mode", "mode"),
    [
        ("enforce", "enforce", Mode.ENFORCE),
        ("enforce", "shadow", Mode.SHADOW),
        ("enforce", "off", None),
        ("shadow", "enforce", Mode.SHADOW),
        ("shadow", "shadow", Mode.SHADOW),
        ("shadow", "off", None),
        ("off", "enforce", None),
        ("off", "shadow", None),
        ("off", "off", None),
    ],
)
def test_milder_mode_wins(tables: Tables, global_mode: str, own_mode: str, mode: Mode | None) -> None:
    """The mode of the node is a ceiling for that of each limit, and of each cap."""
    settings = {"MODE": global_mode, "LIMITS__WORDS__MODE": own_mode}
    profile = granted(policy(tables, settings), "192.0.2.1")
    limit, cap = profile.limits[OperationClass.WORDS], profile.caps[OperationClass.WORDS]
    assert (limit and limit.mode) == mode
    assert (cap and cap.enforced) == (None if mode is None else mode is Mode.ENFORCE)


def test_caps(tables: Tables) -> None:
    """Classes without a cap have none; one of the two numbers makes one."""
    settings = {"LIMITS__IDENTITY__CONCURRENT_TOTAL": "7", "NETWORKS": NETWORKS}
    caps = granted(policy(tables, settings), "192.0.2.1").caps
    assert caps[CERT] is None
    assert caps[STATS] is None
    assert caps[OperationClass.IDENTITY] == Cap(client=0, total=7, queue_ns=0, enforced=True)
    assert caps[OperationClass.WORDS] == Cap(client=5, total=8, queue_ns=2 * SECOND, enforced=True)


def test_generation_is_kept(tables: Tables) -> None:
    """A policy knows which reload made it."""
    assert Policy(Config.from_env({}), tables, 7).generation == 7


@hypothesis.settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    burst=st.integers(1, 1_000_000) | st.integers(0, 6).map(lambda power: 10**power),
    count=st.integers(1, 1_000_000) | st.integers(0, 6).map(lambda power: 10**power),
    days=st.integers(1, 366),
    profile=st.sampled_from(["default", "strict"]),
)
def test_what_the_settings_accept_can_be_compiled(
    tables: Tables, burst: int, count: int, days: int, profile: str
) -> None:
    """Whatever stands in a limit, a budget or a network: the settings refuse it, or there is a policy of it."""
    values = {"burst": burst, "count": count, "period": f"{days}d"}
    network = {"cidr": "192.0.2.0/24", "limits": {"cert": values}, "budgets": {"distinct_identities": values}}
    environ = {"PROFILE": profile, "NETWORKS": json.dumps([network])}
    for name in ("LIMITS__CERT", "BUDGETS__DISTINCT_CERTS", "BUDGETS__NEW_CERTS"):
        environ |= {f"{name}__{key.upper()}": str(value) for key, value in values.items()}
    with suppress(ConfigError):
        policy(tables, environ)


def test_class_without_a_bucket_is_found_at_the_start(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that somebody adds, and no bucket for it, must not shift the limits of the others."""
    monkeypatch.setattr(module, "CLASS_NAMES", CLASS_NAMES[:-1])
    with pytest.raises(AssertionError, match="11 limits for 12 buckets"):
        policy(tables)
