"""What can be wrong with settings that are each valid: conflicts (errors) and warnings."""

import ssl
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from fastpath._buckets_py import MOST_OFFSET_NS
from proxy.policy.networks import Network
from proxy.settings.addresses import Address
from proxy.settings.cluster import cluster_file_problems, cluster_problems
from proxy.settings.intel import FEEDS, MOST_FEEDS
from proxy.settings.key_file import read_keys
from proxy.settings.kinds import DAY, SECOND, Duration
from proxy.settings.limits import LONGEST_PERIOD_NS
from proxy.settings.sources import SettingPath
from proxy.shared_exits import networks_in

BODY_PARTS: Final = 8  # one client may have one of so many parts of the memory for bodies
YEAR: Final = 365 * DAY
READS: Final = ("distinct_certs", "distinct_identities", "domain")  # budgets for whose tokens a reader waits
TWO_REFRESHES: Final = 2300  # tokens for 2 x 1000 certificates, and the eighth that is left to others

if TYPE_CHECKING:
    from proxy.config import Config
    from proxy.settings.limits import BudgetConfig, NetworkConfig

# OpenKeychain gives up when it has read nothing for 25 s; leave time for the upstream's answer.
LONG_DELAY_NS: Final = 20 * SECOND


class Conflict(NamedTuple):
    """Settings that do not fit together; the fault is reported under the first path."""

    paths: tuple[SettingPath, ...]
    problem: str


def conflicts(config: "Config") -> list[Conflict]:
    """Return every conflict between settings, as far as no file has to be opened."""
    return [
        *_sizes(config),
        *_slow_buckets(config),
        *_strict_period(config),
        *_sockets(config),
        *_upstreams(config),
        *_networks(config),
        *_tls(config),
        *_trust(config),
        *_admin(config),
        *_webhook(config),
        *_feeds(config),
        *(Conflict(*problem) for problem in cluster_problems(config)),
    ]


def file_conflicts(config: "Config") -> list[Conflict]:
    """Return what is wrong with files that settings name: no node must start, or be reloaded, with such."""
    of_cluster = (Conflict(*problem) for problem in cluster_file_problems(config))
    return [*_certificate(config), *_key_files(config), *of_cluster]


def _certificate(config: "Config") -> Iterator[Conflict]:
    if not config.tls_cert or not config.tls_key:
        return
    try:
        for path in (config.tls_cert, config.tls_key):
            Path(path).open("rb").close()  # for an error that names the file: that of `ssl` does not
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.tls_cert, config.tls_key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        yield Conflict((("tls_cert",), ("tls_key",)), f"cannot be used with HKPGUARD_TLS_KEY: {error}")


def _key_files(config: "Config") -> Iterator[Conflict]:
    for word in ("reporters_file", "bouncers_file"):
        path = getattr(config.intel, word)
        try:
            read_keys(path)
        except (OSError, ValueError) as error:
            yield Conflict((("intel", word),), f"cannot be used: {error}")


def warnings(config: "Config") -> list[str]:
    """Return what is allowed but probably not meant, in sentences for `hkpguard check`."""
    return [
        *_long_delays(config),
        *_short_delays(config),
        *_public_admin(config),
        *_trusting_all(config),
        *_store_in_clear(config),
        *_files(config),
    ]


def _files(config: "Config") -> Iterator[str]:
    """Tell of files without which a guard starts all the same: what somebody else writes keeps no node down."""
    for kind in ("city", "country", "asn", "anonymous"):
        for path in getattr(config, f"geoip_{kind}"):
            try:
                Path(path).open("rb").close()
            except OSError as error:
                yield f"HKPGUARD_GEOIP_{kind.upper()}={path} would not be in use: {error}."
    if config.shared_exits_file is None:
        return
    try:
        networks_in(Path(config.shared_exits_file))
    except (OSError, ValueError) as error:
        yield f"HKPGUARD_SHARED_EXITS_FILE={config.shared_exits_file} would not be in use: {error}."


def _sizes(config: "Config") -> Iterator[Conflict]:
    if config.http.head_bytes <= config.http.target_bytes:
        paths = (("http", "head_bytes"), ("http", "target_bytes"))
        yield Conflict(
            paths,
            f"must be larger than the target in it: head_bytes is {config.http.head_bytes}, "
            f"target_bytes {config.http.target_bytes} bytes",
        )
    if config.http.body_store_bytes < BODY_PARTS * config.http.body_bytes:
        yield Conflict(
            (("http", "body_store_bytes"), ("http", "body_bytes")),
            f"must be {BODY_PARTS} times as large as one body, of which one client may have so many-th: "
            f"body_store_bytes is {config.http.body_store_bytes}, body_bytes {config.http.body_bytes} bytes",
        )


def _slow_buckets(config: "Config") -> Iterator[Conflict]:
    """Find buckets that fill up in more years than the arithmetic of `fastpath` has room for."""
    yield from _slow("limits", config.limits_for().items())
    yield from _slow("budgets", config.budgets_for().items())
    for network in config.networks:
        for name, limit in _of_network(config, network):
            if problem := _years_to_fill(limit):
                yield Conflict((("networks",),), f"{name} of {network.cidr}: {problem}")


def _slow(group: str, limits: Iterable[tuple[str, "BudgetConfig"]]) -> Iterator[Conflict]:
    for name, limit in limits:
        if problem := _years_to_fill(limit):
            yield Conflict(tuple((group, name, field) for field in ("period", "burst", "count")), problem)


def _of_network(config: "Config", network: "NetworkConfig") -> Iterator[tuple[str, "BudgetConfig"]]:
    """List the limits and budgets that differ in a network, as they are there."""
    yield from ((name, limit) for name, limit in config.limits_for(network).items() if name in network.limits)
    yield from ((name, budget) for name, budget in config.budgets_for(network).items() if name in network.budgets)


def _years_to_fill(limit: "BudgetConfig") -> str:
    """Return what is wrong with a limit or budget; empty if nothing is."""
    fill_ns = limit.burst * limit.token_ns
    if fill_ns <= MOST_OFFSET_NS:
        return ""
    return (
        f"an empty bucket must fill up within {MOST_OFFSET_NS // YEAR} years, and burst {limit.burst} at "
        f"{limit.count} in {_text(limit.period_ns)} takes {fill_ns // YEAR}"
    )


def _strict_period(config: "Config") -> Iterator[Conflict]:
    usual_ns, strict_ns = config.budgets.distinct_certs.period_ns, config.budgets_for()["distinct_certs"].period_ns
    if strict_ns > LONGEST_PERIOD_NS:
        longest = _text(LONGEST_PERIOD_NS * usual_ns // strict_ns)
        paths = (("budgets", "distinct_certs", "period"), ("profile",))
        yield Conflict(paths, f"must be at most {longest} with the strict profile, which makes it longer")


def _sockets(config: "Config") -> Iterator[Conflict]:
    if not config.listen:
        yield Conflict((("listen",),), "must name at least one address")
    addresses = tuple(each.address for each in config.listen)
    for address in _doubles(addresses):
        yield Conflict((("listen",),), f"names {address} twice")
    for address in addresses:
        if _reaches(config.admin, address):
            yield Conflict((("admin",), ("listen",)), f"must not be an address to listen on ({address})")


def _upstreams(config: "Config") -> Iterator[Conflict]:
    for address in _doubles(config.upstream):
        yield Conflict((("upstream",),), f"names {address} twice")
    own_sockets = [*(("listen", each.address) for each in config.listen), ("admin", config.admin)]
    for address in config.upstream:
        for name, own in own_sockets:
            if _reaches(address, own):
                yield Conflict((("upstream",), (name,)), f"{address} is hkpguard itself ({name} is {own})")


def _networks(config: "Config") -> Iterator[Conflict]:
    for cidr in _doubles(tuple(network.cidr for network in config.networks)):
        yield Conflict((("networks",),), f"names {cidr} twice")


def _tls(config: "Config") -> Iterator[Conflict]:
    encrypted = [each for each in config.listen if each.scheme != "http"]
    for name in ("tls_cert", "tls_key"):
        if encrypted and not getattr(config, name):
            yield Conflict(((name,), ("listen",)), f"must be set: HKPGUARD_LISTEN has {encrypted[0]}")


def _trust(config: "Config") -> Iterator[Conflict]:
    """Find listeners that nobody could use, because only trusted proxies may."""
    if config.trusted_proxies:
        return
    for each in config.listen:
        required = config.proxy_protocol == "require" if each.proxy_protocol is None else each.proxy_protocol
        if required or not each.direct:
            what = "expects PROXY headers" if required else "denies direct connections"
            problem = f"must name who may connect: {each} {what}"
            yield Conflict((("trusted_proxies",), ("listen",), ("proxy_protocol",)), problem)


def _admin(config: "Config") -> Iterator[Conflict]:
    if not _is_loopback(config.admin.host) and not config.admin_token:
        yield Conflict((("admin_token",), ("admin",)), f"must be set: {config.admin} is not a loopback address")


def _webhook(config: "Config") -> Iterator[Conflict]:
    webhook = config.events.webhook
    if webhook.url is None:
        return
    if webhook.secret is None:
        paths = (("events", "webhook", "secret"), ("events", "webhook", "url"))
        yield Conflict(paths, "must be set: events go out signed")
    url = urlsplit(webhook.url)
    if url.scheme != "https" and not webhook.insecure and not _is_loopback(url.hostname or ""):
        paths = (("events", "webhook", "url"), ("events", "webhook", "insecure"))
        yield Conflict(paths, "must be https:// where it is no loopback address, unless WEBHOOK__INSECURE is on")


def _feeds(config: "Config") -> Iterator[Conflict]:
    if len(config.feeds) > MOST_FEEDS:
        yield Conflict((FEEDS.path("<name>", "url"),), f"there are {len(config.feeds)} feeds, {MOST_FEEDS} are allowed")
    if config.intel.price > config.intel.deny:
        paths = (("intel", "price"), ("intel", "deny"))
        yield Conflict(paths, f"must not be above HKPGUARD_INTEL__DENY, which is {config.intel.deny}")
    for name, feed in config.feeds.items():
        if feed.url is None:
            yield Conflict((FEEDS.path(name, "url"),), "must be set: where the list is")
            continue
        url = urlsplit(feed.url)
        if url.scheme == "http" and not feed.insecure and not _is_loopback(url.hostname or ""):
            problem = "must be https:// where it is no loopback address, unless INSECURE of the feed is on"
            yield Conflict((FEEDS.path(name, "url"), FEEDS.path(name, "insecure")), problem)
        if feed.local and feed.format == "taxii":
            yield Conflict((FEEDS.path(name, "url"), FEEDS.path(name, "format")), "must be a URL: TAXII is no file")
        if feed.bounds.start >= feed.bounds.stop:
            yield Conflict((FEEDS.path(name, "least"), FEEDS.path(name, "most")), "must not be above MOST of the feed")


def _long_delays(config: "Config") -> Iterator[str]:
    """Find what a program that reads does not wait for; who uploads may wait longer, and does by default."""
    read = [(name, budget) for name, budget in config.budgets_for().items() if name in READS]
    places: list[tuple[str, Iterable[tuple[str, BudgetConfig]]]] = [
        ("LIMITS", config.limits_for().items()),
        ("BUDGETS", read),
    ]
    places += [(f"NETWORKS ({network.cidr})", _of_network(config, network)) for network in config.networks]
    for place, limits in places:
        slow = [name for name, limit in limits if limit.max_delay_ns > LONG_DELAY_NS]
        if slow:
            yield (
                f"HKPGUARD_{place}: max_delay of {', '.join(slow)} is above 20s; "
                "OpenKeychain gives up after 25 s without an answer"
            )


def _short_delays(config: "Config") -> Iterator[str]:
    """Find networks in which two people cannot refresh their keys at the same time.

    Each asks for one key after the other, so that of two the second waits for two tokens (`bench.scenarios`). The
    strict profile wants it so.
    """
    if config.mode != "enforce" or config.profile == "strict":
        return
    places = [("BUDGETS", config.budgets_for()["distinct_certs"])]
    places += [
        (f"NETWORKS ({network.cidr})", config.budgets_for(network)["distinct_certs"])
        for network in config.networks
        if "distinct_certs" in network.budgets
    ]
    for place, certs in places:
        if certs.mode == "enforce" and certs.burst < TWO_REFRESHES and certs.max_delay_ns < 2 * certs.token_ns:
            yield (
                f"HKPGUARD_{place}: max_delay of distinct_certs is less than the time of two tokens; where two people "
                "of a network refresh 1,000 keys each at the same time, gpg skips some without a word"
            )


def _public_admin(config: "Config") -> Iterator[str]:
    if not _is_loopback(config.admin.host):
        yield f"HKPGUARD_ADMIN={config.admin}: the token goes over the network in clear; put TLS in front"


def _trusting_all(config: "Config") -> Iterator[str]:
    if any(network.prefixlen == 0 for network in config.trusted_proxies):
        yield "HKPGUARD_TRUSTED_PROXIES has every address in it: clients can choose how they are counted"


def _store_in_clear(config: "Config") -> Iterator[str]:
    url = config.redis_url
    if url and not url.tls and any(not _is_loopback(each.host) for each in url.hosts):
        yield "HKPGUARD_REDIS_URL: addresses of clients and the password go over the network in clear; use rediss://"


def _text(time_ns: int) -> str:
    return Duration(0, time_ns).render(time_ns)


def _doubles(items: tuple[Address, ...] | tuple[Network, ...]) -> list[Address | Network]:
    """Return what is named more than once; port 0 is another port each time."""
    return [
        item
        for item in dict.fromkeys(items)
        if items.count(item) > 1 and not (isinstance(item, Address) and item.port == 0)
    ]


def _reaches(target: Address, listener: Address) -> bool:
    """Tell whether a connection to `target` arrives at `listener`, as far as is known without a resolver."""
    if target.port != listener.port or target.port == 0:
        return False
    if _is_any(listener.host) or _is_any(target.host):
        return _is_local(target.host) and _is_local(listener.host)
    return _plain(target.host) == _plain(listener.host)


def _plain(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def _is_any(host: str) -> bool:
    return host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


def _is_local(host: str) -> bool:
    return _is_any(host) or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(_plain(host)).is_loopback
    except ValueError:
        return False
