"""What answers cost the keyserver: measured on Hockeypuck with 20,000 keys (HKP.md, finding 7)."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from proxy.hkp.classes import OperationClass


class Cost(NamedTuple):
    """Of one answer."""

    service_us: int
    size_bytes: int
    found: bool = True


FAT: Final = Cost(74_000, 484_000)  # a certificate with 3,000 signatures
MISSING: Final = Cost(960, 200, found=False)
NOTHING: Final = Cost(0, 0)
COSTS: Final[Mapping[int, Cost]] = {
    OperationClass.CERT: Cost(1000, 1700),
    OperationClass.IDENTITY: Cost(960, 1700),
    OperationClass.WORDS: Cost(62_000, 12_000),
    OperationClass.UPLOAD: Cost(1400, 200),
}


class Upstream:
    """A keyserver that is asked and reckons.

    Attributes:
        requests: How many have come.
        spent_us: What they took in all.

    """

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.requests = 0
        self.spent_us = 0
        self._special: dict[str, Cost] = {}

    def fatten(self, subject: str) -> None:
        """Let somebody have poisoned a certificate; `subject` as the classifier gives it."""
        self._special[subject] = FAT

    def lose(self, subject: str) -> None:
        """Let there be nothing of that name; `subject` as the classifier gives it."""
        self._special[subject] = MISSING

    def cost(self, kind: int, subject: str) -> Cost:
        """Return what an answer costs."""
        return self._special.get(subject) or COSTS.get(kind, NOTHING)

    def answer(self, kind: int, subject: str) -> Cost:
        """Answer one request, and return what that cost."""
        cost = self.cost(kind, subject)
        self.requests += 1
        self.spent_us += cost.service_us
        return cost
