"""The step `judge`: facts in, verdict out; the theory is in `judge.pyx`."""

from fastpath import (
    BanTable,
    BucketTable,
    Budget,
    ClientTable,
    DistinctTable,
    Limit,
    LimitSet,
    Sightings,
    Spending,
    Tariff,
)
from proxy.policy.policy import Cap, Profile

class Verdict:
    """Outcome for a request; immutable.

    Attributes:
        action: An `Action`. ALLOW: now; DELAY: after `wait_ns`; LIMIT: 429; DENY: `status`.
        reason: A `Reason`, for records and explain.
        status: HTTP status of a refusal; 0 where the request goes on.
        wait_ns: Of a delay, ns.
        spending: Figures of the limit that decided, if one did.
        shadow: The `Action` that a limit in shadow mode would have taken; 0 if none.
        allow: Methods that the path knows, for 405.
        text: What the client is told; empty: the usual text of the status.

    """

    @property
    def action(self) -> int: ...
    @property
    def reason(self) -> int: ...
    @property
    def status(self) -> int: ...
    @property
    def wait_ns(self) -> int: ...
    @property
    def spending(self) -> Spending | None: ...
    @property
    def shadow(self) -> int: ...
    @property
    def allow(self) -> str: ...
    @property
    def text(self) -> str: ...
    def __init__(
        self,
        action: int,
        reason: int = 0,
        status: int = 0,
        wait_ns: int = 0,
        spending: Spending | None = None,
        shadow: int = 0,
        allow: str = "",
        text: str = "",
    ) -> None: ...
    def because(self, reason: int, status: int = 0) -> Verdict:
        """Return the same action and wait, with the reason why it came to nothing."""

ALLOW: Verdict
EXEMPT: Verdict

class Client:
    """Who asks; immutable.

    Attributes:
        address: Network order, 4 or 16 bytes.
        key: IPv4 /32 or IPv6 /64 (`fastpath.keys`).
        source: Where the address came from (`proxy.http.address.Source`).
        profile: What the policy grants it; the other attributes are its parts.

    """

    @property
    def address(self) -> bytes: ...
    @property
    def key(self) -> int: ...
    @property
    def source(self) -> int: ...
    @property
    def profile(self) -> Profile: ...
    @property
    def compiled(self) -> LimitSet: ...
    @property
    def limits(self) -> tuple[Limit | None, ...]: ...
    @property
    def caps(self) -> tuple[Cap | None, ...]: ...
    @property
    def network(self) -> int: ...
    @property
    def budgets(self) -> tuple[Budget | None, ...]: ...
    @property
    def frugal(self) -> tuple[Budget | None, ...]: ...
    @property
    def shared_exit(self) -> bool: ...
    @property
    def anonymous(self) -> bool: ...
    @property
    def origin(self) -> int: ...
    @property
    def pool(self) -> int: ...
    @property
    def exempt(self) -> bool: ...
    @property
    def peer(self) -> bool: ...
    def __init__(self, address: bytes, key: int, source: int, profile: Profile) -> None: ...

class Facts:
    """All that a check may look at: who asks, the class and price of what is asked, and whether it is offered."""

    @property
    def client(self) -> Client: ...
    @property
    def kind(self) -> int: ...
    @property
    def price(self) -> int:
        """What the request costs, tokens of the total."""
    @property
    def times(self) -> int:
        """What it costs in its class, tokens: more than one for a suspect, and under attack; `decide` finds out."""
    def __init__(
        self,
        client: Client,
        kind: int,
        price: int,
        refusal: int = 0,
        allow: str = "",
        trap: int = 0,
        subject: int = 0,
        domain: int = 0,
    ) -> None:
        """`refusal`: status with which the operation is refused whoever asks, or 0; `allow`: see Verdict.

        `trap`: Reason.TRAP or Reason.CANARY if that is what was asked for, else 0.
        `subject`: A word for what is asked for, as `Subjects.counted_as` gives it; 0: nothing to count.
        `domain`: That of an identity's mail domain, as `Subjects.domain_of` gives it; 0: there is none.
        """

class Check:
    """One reason to object; the base class has none."""

    def judge(self, facts: Facts, now_ns: int) -> Verdict | None:
        """Return the verdict, or None for no objection; `now_ns` is CLOCK_MONOTONIC."""

class NotBanned(Check):
    """Refuses who is banned, or whose network is; see `fastpath.bans`. Allowed networks and peers never are.

    A learnt peer is refused all but reconciling: the keyserver, or a peer's DNS entry, can make one of any address.
    """

    def __init__(self, bans: BanTable, enforced: bool = True) -> None: ...

class NotTrapped(Check):
    """Sends who asks for a trap to the tarpit. A canary is answered like anything else, and noted."""

    def __init__(self, enforced: bool = True) -> None: ...

class NotSuspected(Check):
    """Acts on the verdicts of the analyst (`fastpath.Standing`), except on allowed networks and peers.

    PRICED: requests cost four tokens of their class. DELAYED: they also wait for 2 s. LIMITED: they get 429.
    TARPIT: the same, but for requests that no client of a keyserver sends; these are held.
    """

    def __init__(self, verdicts: BanTable, enforced: bool = True) -> None: ...

class OperationOffered(Check):
    """Refuses what no keyserver offers, or what this one does not."""

class AllowedNetwork(Check):
    """Lets the networks of HKPGUARD_ALLOW pass all that follows."""

class PeersOnly(Check):
    """Keeps reconciliation traffic to peers: a tiny request there costs the server seconds (HKP.md 0, finding 8)."""

class AllowedOrigin(Check):
    """Acts on the rules by origin and on lists of networks: refuses with 403, or prices as for a suspect.

    Who is exempt or a peer has no rule in its origin.
    """

    def __init__(self, says: bytes) -> None:
        """`says`: of `proxy.policy.origins.sayings`."""

class WithinLimits(Check):
    """The token buckets, all or nothing.

    Of the client: `price` tokens of the total and one of the operation's class, or as many as the tariff says. Of its
    network: what the subject is worth if the network has not asked for it lately. Of the mail domain: one token,
    likewise. Of the pool of its hosting company, or of Tor: one token for a certificate that nobody has asked for
    lately.
    """

    def __init__(
        self,
        clients: ClientTable,
        buckets: BucketTable,
        distinct: DistinctTable,
        sightings: Sightings,
        tariff: Tariff,
    ) -> None: ...

def decide(facts: Facts, checks: tuple[Check, ...], now_ns: int) -> Verdict:
    """Return the first objection, ALLOW if there is none. A refused request has paid nothing.

    A check in shadow mode never has the last word: the others are asked, and if none objects its verdict is returned.
    """
