"""
The step `judge`: facts in, verdict out. Plain synchronous code: no clock of its own, no I/O, no logging.

A verdict is a value; the step `act` carries it out. Checks are a tuple built once, ordered cheap to costly, and the
first objection that binds wins. A refused request has paid nothing: the only check that takes anything is the last,
and it takes all or nothing.
"""

from fastpath.bans cimport DELAYED, LIMITED, TARPIT, WELCOME, BanTable
from fastpath.buckets cimport mix

from fastpath import BUCKETS, Limit, network_key
from fastpath import Mode as GcraMode
from fastpath.origin import RULE_SHIFT as _RULE_SHIFT
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason
from proxy.policy.budgets import TEXTS, BudgetKind
from proxy.policy import origins

cdef enum:
    STATUS_FORBIDDEN = 403
    STATUS_NOT_FOUND = 404
    STATUS_LIMITED = 429

cdef int SUSPECT_TIMES = 4  # what the requests of a suspect cost in their class
cdef int64_t SUSPECT_WAIT_NS = 2 * <int64_t>1_000_000_000  # of one who is delayed: half a request a second on each connection
cdef int64_t KNOWN_NS = 12 * 3600 * <int64_t>1_000_000_000  # what a network asked for costs it nothing so long
cdef int64_t COLD_NS = 26 * 86_400 * <int64_t>1_000_000_000  # nearly as long as a sighting can be told from none
# Subjects that are new to its network and that a client may ask for before it counts as one that has had much.
cdef Budget _SHARE = Budget(
    Limit(name="share", burst=60, count=60, period_ns=86_400 * <int64_t>1_000_000_000, mode=GcraMode.ENFORCE), 255
)

# The same of certificates that are new to everybody, and of a network of a pool.
cdef Budget _COLD_SHARE = Budget(
    Limit(name="cold-share", burst=10, count=10, period_ns=86_400 * <int64_t>1_000_000_000, mode=GcraMode.ENFORCE), 253
)

# Plain integers: a look-up in an enumeration would be most of the work here.
cdef int _ALLOW = Action.ALLOW
cdef int _DELAY = Action.DELAY
cdef int _LIMIT = Action.LIMIT
cdef int _DENY = Action.DENY
cdef int _TARPIT = Action.TARPIT
cdef int _BY_VERDICT = Reason.VERDICT
cdef int _BY_LIMIT = Reason.LIMIT
cdef int _BY_BUDGET = Reason.BUDGET
cdef int _BY_ORIGIN = Reason.ORIGIN
cdef int _TRAP = Reason.TRAP
cdef int _CANARY = Reason.CANARY
cdef dict _TEXTS = dict(TEXTS)
cdef int _UNKNOWN = OperationClass.UNKNOWN
cdef int _SYNC = OperationClass.SYNC
cdef int _CERT = OperationClass.CERT
cdef int _IDENTITY = OperationClass.IDENTITY
cdef int _PREFIXLOG = OperationClass.PREFIXLOG
cdef int _FIRST_BUDGET = BudgetKind.DISTINCT_CERTS
cdef int _DISTINCT_IDENTITIES = BudgetKind.DISTINCT_IDENTITIES - BudgetKind.DISTINCT_CERTS
cdef int _NETWORK_PREFIXLOGS = BudgetKind.NETWORK_PREFIXLOGS - BudgetKind.DISTINCT_CERTS
cdef int _DOMAIN = BudgetKind.DOMAIN - BudgetKind.DISTINCT_CERTS
cdef int RULE_SHIFT = _RULE_SHIFT
cdef int _CLASSES = BUCKETS
cdef uint64_t _ANYBODY = mix(_CERT, 0, 0)  # as if it were a network that asks for whatever any network asks for
cdef dict _REASONS = {400: Reason.MALFORMED, 404: Reason.UNKNOWN, 405: Reason.METHOD, 501: Reason.NOT_OFFERED}


cdef class Verdict:

    def __init__(
        self, int action, int reason=0, int status=0, int64_t wait_ns=0, Spending spending=None, int shadow=0, str allow="",
        str text=""
    ):
        self.action = action
        self.reason = reason
        self.status = status
        self.wait_ns = wait_ns
        self.spending = spending
        self.shadow = shadow
        self.allow = allow
        self.text = text

    cpdef Verdict because(self, int reason, int status=0):
        return Verdict(self.action, reason, status, self.wait_ns)

    def __repr__(self):
        return f"Verdict({Action(self.action).name}, {Reason(self.reason).name}, {self.status}, {self.wait_ns} ns)"


allowed = ALLOW = Verdict(_ALLOW)
exempted = EXEMPT = Verdict(_ALLOW, Reason.ALLOWED_NETWORK)
cdef Verdict _PEERS_ONLY = Verdict(_DENY, Reason.PEERS_ONLY, STATUS_FORBIDDEN)
cdef Verdict _BANNED = Verdict(_DENY, Reason.BANNED, STATUS_FORBIDDEN)
cdef Verdict _BANNED_SHADOW = Verdict(_ALLOW, Reason.BANNED, 0, 0, None, _DENY)
cdef Verdict _TRAPPED = Verdict(_TARPIT, _TRAP, STATUS_NOT_FOUND)
cdef Verdict _TRAPPED_SHADOW = Verdict(_ALLOW, _TRAP, 0, 0, None, _TARPIT)

cdef Verdict _SUSPECTED = Verdict(_LIMIT, _BY_VERDICT, STATUS_LIMITED)
cdef Verdict _HELD = Verdict(_TARPIT, _BY_VERDICT, STATUS_NOT_FOUND)
cdef int _PRICED = origins.PRICED
cdef dict _BY_SAYING = {
    origins.DENIED: Verdict(
        _DENY, _BY_ORIGIN, STATUS_FORBIDDEN, 0, None, 0, "", "This server does not take such requests from this network."
    ),
    origins.PRICED_SHADOW: Verdict(_ALLOW, _BY_ORIGIN, 0, 0, None, _DELAY),
    origins.DENIED_SHADOW: Verdict(_ALLOW, _BY_ORIGIN, 0, 0, None, _DENY),
}
cdef Verdict _SLOWED_SHADOW = Verdict(_ALLOW, _BY_VERDICT, 0, 0, None, _DELAY)
cdef Verdict _SUSPECTED_SHADOW = Verdict(_ALLOW, _BY_VERDICT, 0, 0, None, _LIMIT)


cdef class Client:

    def __init__(self, bytes address not None, uint64_t key, int source, profile):
        self.address = address
        self.key = key
        self.network = network_key(address)
        self.source = source
        self.profile = profile
        self.compiled = profile.compiled
        self.limits = profile.limits
        self.caps = profile.caps
        self.budgets = profile.budgets
        self.frugal = profile.frugal
        self.shared_exit = profile.shared_exit
        self.anonymous = profile.anonymous
        self.origin = profile.origin
        if profile.pool is not None:
            self.pool, self.of_pool, self.frugal_of_pool = profile.pool
        self.exempt = profile.exempt
        self.peer = profile.peer


cdef class Facts:

    def __init__(
        self, Client client not None, int kind, int price, int refusal=0, str allow="", int trap=0, uint64_t subject=0,
        uint64_t domain=0
    ):
        self.client = client
        self.kind = kind
        self.price = price
        self.times = 1
        self.refusal = refusal
        self.allow = allow
        self.trap = trap
        self.subject = subject
        self.domain = domain


cdef Facts facts_of(
    Client client, int kind, int price, int refusal, str allow, int trap, uint64_t subject, uint64_t domain
):
    """Make Facts without the detour over Python's arguments."""
    cdef Facts facts = Facts.__new__(Facts)
    facts.client = client
    facts.kind = kind
    facts.price = price
    facts.times = 1
    facts.refusal = refusal
    facts.allow = allow
    facts.trap = trap
    facts.subject = subject
    facts.domain = domain
    return facts


cdef class Check:

    cpdef Verdict judge(self, Facts facts, int64_t now_ns):
        return None


cdef class NotBanned(Check):
    cdef BanTable bans
    cdef Verdict verdict

    def __init__(self, BanTable bans not None, bint enforced=True):
        self.bans = bans
        self.verdict = _BANNED if enforced else _BANNED_SHADOW

    cpdef Verdict judge(self, Facts facts, int64_t now_ns):
        cdef Client client = facts.client
        if not self.bans.look_up(client.address, now_ns) or client.exempt:
            return None
        if client.peer and (facts.kind == _SYNC or not client.profile.learnt):
            return None
        return self.verdict


cdef class NotTrapped(Check):
    cdef bint enforced

    def __init__(self, bint enforced=True):
        self.enforced = enforced

    cpdef Verdict judge(self, Facts facts, int64_t now_ns):
        if facts.trap != _TRAP or facts.client.exempt or facts.client.peer:
            return None
        return _TRAPPED if self.enforced else _TRAPPED_SHADOW


cdef class OperationOffered(Check):

    cpdef Verdict judge(self, Facts facts, int64_t now_ns):
        if facts.refusal == 0:
            return None
        return Verdict(_DENY, _REASONS.get(facts.refusal, 0), facts.refusal, 0, None, 0, facts.allow)


cdef class AllowedNetwork(Check):

    cpdef Verdict judge(self, Facts facts, int64_t now_ns):
        return exempted if facts.client.exempt else None


cdef class PeersOnly(Check):

    cpdef Verdict judge(self, Facts facts, int64_t now_ns):
        if facts.kind != _SYNC:
            return None
        return exempted if facts.client.peer else _PEERS_ONLY


cdef class NotSuspected(Check):
    cdef BanTable verdicts
    cdef bint enforced

    def __init__(self, BanTable verdicts not None, bint enforced=True):
        self.verdicts = verdicts
        self.enforced = enforced

    cpdef Verdict judge(self, Facts facts, int64_t now_ns):
        cdef int standing = self.verdicts.look_up(facts.client.address, now_ns)
        if standing == WELCOME or facts.client.exempt or facts.client.peer:
            return None
        if facts.client.shared_exit:
            standing = min(standing, DELAYED)  # many people are behind it
        if not self.enforced:
            return _SLOWED_SHADOW if standing <= DELAYED else _SUSPECTED_SHADOW
        if standing >= LIMITED:
            return _HELD if standing == TARPIT and facts.kind == _UNKNOWN else _SUSPECTED
        facts.times = SUSPECT_TIMES
        if standing == DELAYED:
            facts.least_wait_ns = SUSPECT_WAIT_NS
        return None


cdef class AllowedOrigin(Check):
    cdef bytes says

    def __init__(self, bytes says not None):
        if len(says) != origins.RULES * _CLASSES:
            raise ValueError(f"{len(says)} bytes, not {origins.RULES * _CLASSES}")
        self.says = says

    cpdef Verdict judge(self, Facts facts, int64_t now_ns):
        cdef uint32_t rule = facts.client.origin >> RULE_SHIFT
        cdef int said
        if rule == 0:
            return None
        said = (<const unsigned char *><const char *>self.says)[rule * _CLASSES + facts.kind]
        if said == _PRICED:
            facts.times = SUSPECT_TIMES
            return None
        return _BY_SAYING.get(said)


cdef class WithinLimits(Check):
    cdef ClientTable clients
    cdef BucketTable buckets
    cdef DistinctTable distinct
    cdef Sightings sightings
    cdef Tariff tariff

    def __init__(
        self, ClientTable clients not None, BucketTable buckets not None, DistinctTable distinct not None,
        Sightings sightings not None, Tariff tariff not None,
    ):
        self.clients = clients
        self.buckets = buckets
        self.distinct = distinct
        self.sightings = sightings
        self.tariff = tariff

    cpdef Verdict judge(self, Facts facts, int64_t now_ns):
        cdef Client client = facts.client
        cdef Spending own, shared
        if facts.subject != 0:
            self.sightings.approach(mix(facts.kind, client.network, 0), facts.subject)
        facts.times = max(facts.times, self.tariff.times(facts.kind, now_ns))
        own = self.clients.spend(client.compiled, client.key, facts.kind, facts.price, now_ns, facts.times)
        if own is not None and not own.allowed:
            return _verdict(own)
        shared = self._spend_of_budgets(facts, now_ns)
        if shared is None:
            return None if own is None else _verdict(own)
        if not shared.allowed:
            self.clients.refund(client.compiled, client.key, facts.kind, facts.price, now_ns, facts.times)
        return _verdict(_weightier(own, shared))

    cdef Spending _spend_of_budgets(self, Facts facts, int64_t now_ns):
        """
        Let the network of the client pay for a subject that it has not asked for lately, or nobody for anything.

        What is refused is not remembered, so a retry costs the same again. What is admitted is, and stays paid
        even if the client leaves: the next attempt is free.
        """
        cdef Spending of_wider, spending
        cdef uint64_t asker
        if facts.subject == 0 or facts.kind > _IDENTITY:
            return self._spend_of_prefixlogs(facts.client, now_ns) if facts.kind == _PREFIXLOG else None
        asker = mix(facts.kind, facts.client.network, 0)
        if self.sightings.seen(asker, facts.subject, KNOWN_NS, now_ns):
            return None
        of_wider = self._spend_of_domain(facts, now_ns) if facts.domain else self._spend_of_pool(facts, now_ns)
        if of_wider is not None and not of_wider.allowed:
            return of_wider
        spending = self._spend_of_network(asker, facts, now_ns)
        if spending is not None and not spending.allowed:
            self._refund_wider(facts, of_wider, now_ns)
            return spending
        self.sightings.add(asker, facts.subject, now_ns)
        self.distinct.add(asker, facts.subject, now_ns)
        if facts.client.origin != 0 and facts.kind == _CERT:  # else nobody has a pool
            self.sightings.add(_ANYBODY, facts.subject, now_ns)
        return _weightier(spending, of_wider)

    cdef Spending _spend_of_network(self, uint64_t asker, Facts facts, int64_t now_ns):
        """Take a token of the network, of which its clients are the members."""
        cdef Client client = facts.client
        cdef Budget budget = client.budgets[0 if facts.kind == _CERT else _DISTINCT_IDENTITIES]
        if budget is None:
            return None
        return self._take(budget, client.frugal[facts.kind - _CERT], asker, _SHARE, client.key, now_ns)

    cdef Spending _spend_of_prefixlogs(self, Client client, int64_t now_ns):
        """Let the network of the client pay for a list of what changed on a day, also for one that it had before."""
        cdef Budget budget = client.budgets[_NETWORK_PREFIXLOGS]
        return None if budget is None else self.buckets.spend(budget, mix(budget.kind, client.network, 0), 1, now_ns)

    cdef bint _is_cold(self, Facts facts, int64_t now_ns) except -1:
        """Whether the client's pool has to pay: for a certificate that nobody, anywhere, has asked for lately."""
        if facts.client.pool == 0 or facts.kind != _CERT:
            return False
        return not self.sightings.seen(_ANYBODY, facts.subject, COLD_NS, now_ns)

    cdef Spending _spend_of_pool(self, Facts facts, int64_t now_ns):
        """Take a token of the pool, of which networks are the members."""
        cdef Client client = facts.client
        if not self._is_cold(facts, now_ns):
            return None
        return self._take(client.of_pool, client.frugal_of_pool, client.pool, _COLD_SHARE, client.network, now_ns)

    cdef Spending _take(
        self, Budget budget, Budget frugal, uint64_t of_all, Budget much, uint64_t member, int64_t now_ns
    ):
        """
        Take a token of what many have together.

        Who has had much already leaves an eighth of the burst to those who have not, so that the neighbours of a
        scraper still get their keys.
        """
        cdef uint64_t own = mix(much.kind, of_all, member)
        cdef Spending share = self.buckets.spend(much, own, 1, now_ns), spending
        if share is None:
            spending = self.buckets.spend(budget, of_all, 1, now_ns)
            if spending is not None and not spending.allowed:
                self.buckets.refund(much, own, 1, now_ns)
            return spending
        spending = self.buckets.spend(frugal, of_all, 1, now_ns)
        if spending is None or spending.allowed:  # it goes on having much; else it would jump the queue now and then
            self.buckets.charge(much, own, 1, now_ns)
        return spending

    cdef Spending _spend_of_domain(self, Facts facts, int64_t now_ns):
        """Let the mail domain that is searched pay for one more address, whoever asks."""
        cdef Budget budget = facts.client.budgets[_DOMAIN]
        if budget is None:
            return None
        return self.buckets.spend(budget, mix(budget.kind, facts.domain, 0), 1, now_ns)

    cdef int _refund_wider(self, Facts facts, Spending said, int64_t now_ns) except -1:
        """Give back what the domain or the pool paid: nothing if the budget is in shadow mode and was empty, as `said`."""
        cdef Client client = facts.client
        cdef Budget budget = client.budgets[_DOMAIN] if facts.domain else client.of_pool
        if budget is None or (said is not None and said.retry_after_ns):
            return 0
        if facts.domain:
            self.buckets.refund(budget, mix(budget.kind, facts.domain, 0), 1, now_ns)
        elif self._is_cold(facts, now_ns):
            self.buckets.refund(budget, client.pool, 1, now_ns)
            self.buckets.refund(_COLD_SHARE, mix(_COLD_SHARE.kind, client.pool, client.network), 1, now_ns)
        return 0


cdef Spending _weightier(Spending one, Spending other):
    """Return what says more: an enforced refusal, an enforced wait, one in shadow mode; of two waits the longer."""
    if one is None or other is None:
        return other if one is None else one
    if one.allowed != other.allowed:
        return other if one.allowed else one
    if one.shadow != other.shadow:
        return other if one.shadow else one
    return one if one.wait_ns + one.retry_after_ns >= other.wait_ns + other.retry_after_ns else other


cdef Verdict _verdict(Spending spending):
    cdef Verdict verdict = Verdict.__new__(Verdict)
    verdict.reason = _BY_LIMIT if spending.bucket < _FIRST_BUDGET else _BY_BUDGET
    verdict.spending = spending
    verdict.allow = ""
    verdict.text = _TEXTS.get(spending.bucket, "") if spending.bucket >= _FIRST_BUDGET else ""
    if spending.shadow:
        verdict.action = _ALLOW
        verdict.shadow = _LIMIT if spending.retry_after_ns else _DELAY
    elif spending.allowed:
        verdict.action = _DELAY
        verdict.wait_ns = spending.wait_ns
    else:
        verdict.action = _LIMIT
        verdict.status = STATUS_LIMITED
    return verdict


cdef Verdict _first_objection(Facts facts, tuple checks, int64_t now_ns):
    """
    Return the first check's verdict that binds, else the first one that would but for shadow mode, else ALLOW.

    A trap in shadow mode is mostly refused as an unknown path: the verdict tells of both.
    """
    cdef Verdict verdict, noted = allowed
    cdef Check check
    for check in checks:
        verdict = check.judge(facts, now_ns)
        if verdict is None:
            continue
        if not verdict.shadow:
            if noted is _TRAPPED_SHADOW:
                return Verdict(verdict.action, _TRAP, verdict.status, verdict.wait_ns, verdict.spending, _TARPIT)
            return verdict
        if noted is allowed:
            noted = verdict
    return noted


cpdef Verdict decide(Facts facts, tuple checks, int64_t now_ns):
    cdef Verdict verdict = _first_objection(facts, checks, now_ns)
    if facts.least_wait_ns > verdict.wait_ns and verdict.action <= _DELAY:
        verdict = Verdict(_DELAY, _BY_VERDICT, 0, facts.least_wait_ns, verdict.spending, verdict.shadow)
    if facts.trap == _CANARY and verdict.action <= _DELAY and verdict is not exempted:
        return verdict.because(_CANARY)  # it is answered like any other: nobody learns which ones are canaries
    return verdict
