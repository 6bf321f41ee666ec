"""What this node has spent of each bucket and not told the others yet; the theory is in `ledger.pyx`."""

from typing import Final, NamedTuple, Protocol

from fastpath import BucketTable, ClientTable
from models.steps import Steps

KEPT: Final = 8
"""One part in so many of a node's share is spent without a word."""
MOST_ACCOUNTS: Final = 65_536
MOST_SWEPT: Final = 64
LINGER_NS: Final[int]
"""A bucket is looked at so long after anything was heard of it."""
SETTLE_NS: Final[int]
"""Until all workers use other limits."""
WAIT_NS: Final[int]
"""For a record: so long a turn leaves a change to it of a bucket that is not hot."""
LOOKS_AT_ONCE: Final = 512
MICROSECOND: Final = 1_000
MOST_LEVEL_NS: Final[int]
"""Of an answer, and of anything that is reckoned with: 36 years."""

MOST_MARK: Final[int]
"""Of a record in the store, from 1 on."""
RECALLED_AT_ONCE: Final = 4096

class Place(NamedTuple):
    """A bucket. `number`: 0..11 of the client `key`; from 12 on a `BudgetKind`, and `key` is that of the bucket."""

    key: int
    number: int

class Size(NamedTuple):
    """How long one token takes to come back, and how much of them a client may take at once, ns.

    The latter is the burst and the longest delay: tokens of requests that wait are taken already.
    """

    token_ns: int
    full_ns: int

class Known(NamedTuple):
    """What is known of a bucket: see `Account` in `ledger.pyx`."""

    seen_ns: int = 0
    own_ns: int = 0
    agreed_ns: int = 0
    untold_ns: int = 0
    hot: bool = False

class Levels(Protocol):
    """The buckets of a node."""

    def tat(self, place: Place, /) -> int:
        """Return the TAT, ns; 0 if there is no such bucket."""

    def add(self, place: Place, delta_ns: int, most_ns: int, now_ns: int, /) -> None:
        """See `ClientTable.add`."""

class SharedLevels:
    """The buckets in the shared memory of a node, which a `Ledger` reads without a detour."""

    def __init__(self, clients: ClientTable, buckets: BucketTable) -> None:
        """Take the tables."""

    def tat(self, place: Place, /) -> int:
        """See `Levels`."""

    def add(self, place: Place, delta_ns: int, most_ns: int, now_ns: int, /) -> None:
        """See `Levels`."""

class Question:
    """What is told of a bucket; the answer is its level."""

    @property
    def place(self) -> Place:
        """Which."""
    @property
    def told_ns(self) -> int:
        """Spent here, or given back if negative; whole microseconds, as the store reckons."""
    @property
    def base_ns(self) -> int:
        """The level on which the cluster agreed, which the store may have lost; below 0 it is past, at a second try."""
    @property
    def most_ns(self) -> int:
        """The highest level that can be."""
    @property
    def mark(self) -> int:
        """The mark of the record in which it agreed; 0 if there is none, or the bucket was full again since."""

class Ledger:
    """The accounts of one node."""

    def __init__(self, levels: Levels, now_ns: int, *, successor: bool = False, most: int = 65_536) -> None:
        """Begin with no accounts.

        Args:
            levels: The buckets of this node.
            now_ns: Monotonic, as in all methods.
            successor: Another ledger was kept of them before: what is in a bucket was told, perhaps.
            most: Accounts, rounded up to a multiple of eight; 112 bytes each, once used.

        """

    hostile: int
    """Answers that were no levels."""
    @property
    def dropped(self) -> int:
        """Accounts that were forgotten while they mattered, for want of room."""
    @property
    def active(self) -> int:
        """How many buckets are looked at in each turn."""
    def __len__(self) -> int:
        """Return the number of accounts."""
    def account(self, place: Place) -> Known:
        """Return what is known of a bucket: nothing, of most."""
    def stand(self, nodes: int, *, alone: bool, now_ns: int) -> int:
        """Take note of how many nodes there are, and whether the store is away; return by what limits are divided."""
    def note(self, place: Place, size: Size, since_ns: int, tokens: int, now_ns: int) -> None:
        """Look at a bucket of which something was heard.

        Args:
            place: The bucket.
            size: Of its limit.
            since_ns: When the first of the requests that are told of began.
            tokens: What they cost, at the least.
            now_ns: Now.

        """
    def questions(self, most: int, now_ns: int) -> Steps[list[Question]]:
        """Look at all that may have changed; return what is to be told: the fullest first, if there is more."""
    def question(self, place: Place, most_ns: int) -> Question:
        """Return what is untold of one bucket, up to `most_ns`; all is told of it from now on.

        KeyError: There is no account of it; there is one of what was noted just now.
        """
    def ask(self, question: Question, now_ns: int) -> None:
        """Fill in how the bucket stands; again if the question is asked again, for its answer never came."""
    def answered(self, question: Question, level_ns: int, mark: int, now_ns: int) -> None:
        """Fold an answer into the bucket; `mark`: of the record that it came from."""
    def keep(self, question: Question, ns: int) -> None:
        """Keep a part of what was to be told, before its answer is folded: the cluster had no room for it."""
    def recall(self) -> None:
        """Tell again, in the next turns, all on which the cluster agreed: the store may have lost it."""
    def take_back(self, question: Question) -> None:
        """Keep what was to be told: it certainly was not."""
