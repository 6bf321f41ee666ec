"""Takes the rows of a list one by one, whatever its format is, and gives what can be believed of them.

Each row is counted once: as taken, as left out for a reason that is nobody's fault, or as bad. What can be told of all
prefixes at once - bits beyond the prefix, reserved networks, width, doubles - is told at the end with NumPy, so a row
costs a microsecond.
"""

from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxy.intel.formats.addresses import BadAddress, Prefix, prefixes_of, range_of
from proxy.intel.formats.public import judge
from proxy.intel.formats.reading import NotAList, Parsed, Reading
from proxy.intel.listing import HOST_MASKS, NEVER, USUAL_SEVERITY, Listings, Prefixes

MOST_REASONS: Final = 5
MOST_NOTES: Final = 4096
_LONGEST_NOTE: Final = 64
_LONGEST_QUOTE: Final = 48


class Collector:
    """The listings of one body, as they are found.

    Attributes:
        now_s: Wall time of the answer.

    """

    def __init__(self, reading: Reading) -> None:
        """Begin with none."""
        self.now_s = reading.now_s
        self._limits = reading.limits
        self._rows = 0
        self._bad = 0
        self._reasons: list[str] = []
        self._left: Counter[str] = Counter()
        self._prefixes: list[Prefix] = []
        self._severities: list[float] = []
        self._until_s: list[float] = []
        self._note_numbers: list[int] = []
        self._notes = {"": 0}
        self._withdrawn: list[Prefix] = []

    def take(self, text: str, *, severity: float = USUAL_SEVERITY, until_s: float = NEVER, note: str = "") -> None:
        """Take a row with an address, a CIDR or a range.

        Args:
            text: As the list has it.
            severity: 0..1.
            until_s: Wall time when it ends; what is over is left out.
            note: Anything; what is not printable is shown as Python does.

        """
        try:
            prefixes = prefixes_of(text, self._limits)
        except BadAddress as fault:
            self.refuse(text, str(fault))
        else:
            self._add(prefixes, severity, until_s, note)

    def take_range(self, first: str, last: str, *, note: str = "") -> None:
        """Take a row with two addresses, both of which belong to the range."""
        try:
            prefixes = range_of(first, last, self._limits)
        except BadAddress as fault:
            self.refuse(f"{first}-{last}", str(fault))
        else:
            self._add(prefixes, USUAL_SEVERITY, NEVER, note)

    def withdraw(self, text: str) -> None:
        """Take a row that says what is no longer listed."""
        try:
            self._withdrawn += prefixes_of(text, self._limits)
        except BadAddress as fault:
            self.refuse(text, str(fault))
        else:
            self._count()
            self._check_prefixes()

    def leave(self, reason: str) -> None:
        """Count a row that is right, and nothing that can be listed."""
        self._count()
        self._left[reason] += 1

    def refuse(self, text: object, fault: str) -> None:
        """Count a row that is wrong; the fault begins with a verb."""
        self._count()
        self._note_fault(text, fault)

    def parsed(self) -> Parsed:
        """Return what was found.

        Raises:
            NotAList: Too much of it was wrong.

        """
        found, masked = self._columns()
        judged = judge(found.prefixes, self._limits)
        self._note_wide(found, np.flatnonzero(judged.wide))
        if self._bad > self._limits.most_bad * self._rows:
            raise NotAList(f"{self._bad} of {self._rows} rows are bad: {'; '.join(self._reasons)}")
        fit = ~(judged.wide | judged.reserved)
        listings = found.chosen(fit).ordered()
        self._left["not public"] += int(np.count_nonzero(judged.reserved & ~judged.wide))
        self._left["with bits beyond the prefix"] += masked
        self._left["double"] += int(np.count_nonzero(fit)) - len(listings)
        return Parsed(
            listings=listings,
            withdrawn=_masked(self._withdrawn)[0],
            rows=self._rows,
            left=+self._left,
            bad=self._bad,
            reasons=tuple(self._reasons),
        )

    def _columns(self) -> tuple[Listings, int]:
        """Return what was taken, in its order and without bits beyond the prefixes, and how many had such bits."""
        prefixes, masked = _masked(self._prefixes)
        found = Listings(
            networks=prefixes.networks,
            lengths=prefixes.lengths,
            severities=np.array(self._severities, np.float32),
            until_s=np.array(self._until_s, np.float64),
            note_numbers=np.array(self._note_numbers, np.uint32),
            notes=tuple(self._notes),
        )
        return found, masked

    def _count(self) -> None:
        self._rows += 1
        if self._rows > self._limits.most_rows:
            raise NotAList(f"more than {self._limits.most_rows} rows")

    def _add(self, prefixes: list[Prefix], severity: float, until_s: float, note: str) -> None:
        if until_s <= self.now_s:
            self.leave("expired")
            return
        self._count()
        number = self._note_number(note) if note else 0
        self._prefixes += prefixes
        for _ in prefixes:
            self._severities.append(severity)
            self._until_s.append(until_s)
            self._note_numbers.append(number)
        self._check_prefixes()

    def _check_prefixes(self) -> None:
        """Ranges become several prefixes each."""
        if len(self._prefixes) + len(self._withdrawn) > self._limits.most_rows:
            raise NotAList(f"more than {self._limits.most_rows} prefixes")

    def _note_number(self, note: str) -> int:
        """Return the number of a note; of the one that is empty if there are too many."""
        short = printable(note, _LONGEST_NOTE)
        if len(self._notes) < MOST_NOTES:
            self._notes.setdefault(short, len(self._notes))
        return self._notes.get(short, 0)

    def _note_wide(self, found: Listings, rows: NDArray[np.intp]) -> None:
        named = rows[: MOST_REASONS - len(self._reasons)]
        for row in named:
            self._note_fault(found[row].network, "is too wide")
        self._bad += len(rows) - len(named)

    def _note_fault(self, text: object, fault: str) -> None:
        self._bad += 1
        if len(self._reasons) < MOST_REASONS:
            self._reasons.append(f"{printable(str(text), _LONGEST_QUOTE)!r} {fault}")


def printable(text: str, longest: int) -> str:
    """Return hostile text as short printable ASCII."""
    return text[:longest].encode("unicode_escape").decode("ascii")[:longest]


def _masked(prefixes: list[Prefix]) -> tuple[Prefixes, int]:
    """Return prefixes without bits beyond their lengths, and how many had such bits."""
    written = np.frombuffer(b"".join(network for network, _ in prefixes), np.uint8).reshape(-1, 16)
    lengths = np.array([length for _, length in prefixes], np.uint8)
    networks = written & ~HOST_MASKS[lengths]
    return Prefixes(networks, lengths), int(np.count_nonzero((networks != written).any(axis=1)))
