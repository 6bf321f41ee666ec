"""Which buckets records tell of: those that may have changed, and are of one client or of all nodes.

    a client's     the total, and the one of the class
    its network's  new certificates, new e-mail addresses, uploads, lists of what changed on a day
    its provider's cold certificates; or those of all exits of Tor
    a subject's    searches of a mail domain, updates of a certificate and signatures on it
    everybody's    new certificates, uploads through shared exits

Not followed, so every node counts them for itself: certificates with one user ID and mails to one address, for no
record has these; an upload of several certificates, for its record names none; how the members of a budget of
everybody share it (`proxy.policy.sharing`), and what a client misses (`proxy.policy.misses`).

What a network has asked for before it knows per node. A certificate that is asked for through two nodes is new to
both, and counts for two in the budget of the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from fastpath import bucket_key, network_key
from fastpath.record import SUBJECT_BYTES, records
from proxy.cluster.ledger import Place, Size
from proxy.hkp.classes import PRICES, OperationClass
from proxy.policy.budgets import BudgetKind
from proxy.policy.sharing import everybody

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastpath import Limit, Record
    from proxy.policy.policy import Policy, Profile
    from proxy.policy.subjects import Subjects

CERT, IDENTITY, UPLOAD = OperationClass.CERT, OperationClass.IDENTITY, OperationClass.UPLOAD
DISTINCT: Final = {CERT: BudgetKind.DISTINCT_CERTS, IDENTITY: BudgetKind.DISTINCT_IDENTITIES}
MAPPED: Final = bytes(10) + b"\xff\xff"  # before an IPv4 address in 16 bytes


class Seen(NamedTuple):
    """A bucket that records tell of.

    Args:
        place: Which.
        size: Of its limit.
        since_ns: When the first of the requests began.
        tokens: What they cost, at the least.

    """

    place: Place
    size: Size
    since_ns: int
    tokens: int


class Alike(NamedTuple):
    """Requests that take from the same buckets.

    Args:
        one: Any of them.
        since_ns: When the first began.
        admitted: How many were let through.

    """

    one: Record
    since_ns: int
    admitted: int


def alike(block: bytes) -> Iterable[Alike]:
    """Return the requests in a block of records (`Ring.take`) by what they take from."""
    found: dict[tuple[int, int, bytes], Alike] = {}
    for record in records(block):
        subject = record.subject if record.operation in {IDENTITY, UPLOAD} else b""
        began_ns, admitted = max(0, record.time_ns - 1000 * record.total_us), not record.refused
        before = found.get(key := (record.client, record.operation, subject))
        if before is None:
            found[key] = Alike(record, began_ns, int(admitted))
        else:
            found[key] = Alike(record, min(before.since_ns, began_ns), before.admitted + admitted)
    return found.values()


def buckets_of(requests: Alike, policy: Policy, subjects: Subjects) -> Iterator[Seen]:
    """Yield the buckets that requests may have taken from."""
    record = requests.one
    profile = policy.profile(record.address[12:] if record.address.startswith(MAPPED) else record.address)
    if profile.exempt:
        return
    kind = record.operation
    names = [(0, record.client, PRICES.get(OperationClass(kind), 0)), (kind, record.client, 1)]
    names += [(budget, key, 1) for budget, key in _budgets(record, profile, subjects)]
    for number, key, tokens in names:
        limit = profile.limits[number]
        if limit is not None:
            yield Seen(Place(key, number), size_of(limit), requests.since_ns, tokens * requests.admitted)


def size_of(limit: Limit) -> Size:
    """Return what the ledger knows of a limit."""
    return Size(limit.emission_interval_ns, limit.burst_offset_ns + limit.max_delay_ns)


def _budgets(record: Record, profile: Profile, subjects: Subjects) -> Iterator[tuple[int, int]]:
    """Yield the budgets that a request may have taken from, and the keys of their buckets."""
    kind, subject = OperationClass(record.operation), record.subject.decode("utf-8", "replace")
    yield from _of_network(kind, network_key(record.address), profile)
    if kind == CERT and profile.pool is not None:
        yield profile.pool.budget.kind, profile.pool.key
    if kind == IDENTITY and len(record.subject) < SUBJECT_BYTES:  # else it may be cut
        domain = subjects.domain_of(kind, subject)
        if domain:
            yield BudgetKind.DOMAIN, bucket_key(BudgetKind.DOMAIN, domain)
    if kind == UPLOAD:
        yield BudgetKind.NEW_CERTS, everybody(BudgetKind.NEW_CERTS)
        if profile.anonymous:
            yield BudgetKind.EXIT_UPLOADS, everybody(BudgetKind.EXIT_UPLOADS)
        if subject:
            word = subjects.counted_as(CERT, subject)
            for budget in (BudgetKind.CERT_UPDATES, BudgetKind.CERT_GROWTH):
                yield budget, bucket_key(budget, word)


def _of_network(kind: OperationClass, network: int, profile: Profile) -> Iterator[tuple[int, int]]:
    if kind in DISTINCT:
        yield DISTINCT[kind], bucket_key(kind, network)
    if kind == OperationClass.PREFIXLOG:
        yield BudgetKind.NETWORK_PREFIXLOGS, bucket_key(BudgetKind.NETWORK_PREFIXLOGS, network)
    if kind == UPLOAD and not (profile.anonymous or profile.peer):
        yield BudgetKind.NETWORK_UPLOADS, bucket_key(BudgetKind.NETWORK_UPLOADS, network)
